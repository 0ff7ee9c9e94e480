package events

import (
	"slices"
	"strconv"
	"time"
)

// Builder writes change messages: it splits the changes of one transaction into bodies of at most MaxMessageBytes, a new
// one whenever the table changes. It holds one unfinished body, so its memory does not grow with the transaction.
//
// Begin a transaction with Begin, Add its changes in order, end it with Flush(true). Add returns a finished body when it
// has to begin another. The zero Builder is not usable: set Source.
type Builder struct {
	// Source is the name of the source, printed in each message.
	Source string
	// Limit is the size of the largest body in bytes; 0 means MaxMessageBytes.
	Limit int

	position  Position
	xid       uint32
	committed time.Time
	sequence  int64 // changes of this transaction that are in finished bodies

	table   Table
	pending int // changes in body
	body    []byte
	scratch []byte
}

// Table names the table of a change.
type Table struct {
	Schema, Name string
	// Identity is the replica identity: default, full, index or nothing; empty where no row is meant.
	Identity string
}

// Body is a finished change message.
type Body struct {
	Table    Table
	Position Position
	XID      uint32
	// Committed is the commit time of the transaction.
	Committed time.Time
	// Sequence is that of the first change in the message, Count the number of changes.
	Sequence int64
	Count    int
	Data     []byte
}

// Begin starts a transaction, whose first skip changes will not be given to Add (they are in the log already).
func (b *Builder) Begin(position Position, xid uint32, committed time.Time, skip int64) {
	b.position, b.xid, b.committed, b.sequence = position, xid, committed, skip
	b.pending, b.body = 0, nil
}

// Add appends a change. If it belongs into another message than the changes before it, that one is returned, finished.
// A change that is too large alone loses its largest values to Unknown; c is modified then.
func (b *Builder) Add(t Table, c *Change) *Body {
	b.scratch = appendChange(b.scratch[:0], c)
	if len(b.scratch) > b.limit()/2 {
		b.shrink(t, c)
	}
	var done *Body
	if b.pending > 0 && (b.table != t || len(b.body)+1+len(b.scratch)+len(`]}`) > b.limit()) {
		done = b.Flush(false)
	}
	if b.pending == 0 {
		b.table = t
		// The header is written with the longer of `true` and `false`; Flush corrects it.
		b.body = b.header(make([]byte, 0, min(b.limit(), max(1024, 2*len(b.scratch)))), t, false)
	} else {
		b.body = append(b.body, ',')
	}
	b.body = append(b.body, b.scratch...)
	b.pending++
	return done
}

// Flush finishes the pending message, or returns nil if there is none. last says that the transaction ends with it.
func (b *Builder) Flush(last bool) *Body {
	if b.pending == 0 {
		return nil
	}
	if last {
		// Same length, so that nothing moves: "true " is as valid as "false".
		at := len(b.prefix(nil))
		copy(b.body[at:], "true ")
	}
	done := &Body{
		Table: b.table, Position: b.position, XID: b.xid, Committed: b.committed,
		Sequence: b.sequence, Count: b.pending, Data: append(b.body, `]}`...),
	}
	b.sequence += int64(b.pending)
	b.pending, b.body = 0, nil
	return done
}

// shrink drops values until the change fits into a message of its own.
func (b *Builder) shrink(t Table, c *Change) {
	// The message may begin after the one that is pending now: with a sequence of more digits.
	const digits = len("9223372036854775807")
	room := b.limit() - len(b.header(nil, t, false)) - digits - len(`]}`)
	for len(b.scratch) > room && dropLargest(c) {
		b.scratch = appendChange(b.scratch[:0], c)
	}
}

func (b *Builder) limit() int {
	if b.Limit > 0 {
		return b.Limit
	}
	return MaxMessageBytes
}

// prefix appends the header up to the value of "last".
func (b *Builder) prefix(to []byte) []byte {
	to = append(to, `{"version":`...)
	to = strconv.AppendInt(to, Version, 10)
	to = append(to, `,"source":`...)
	to = appendString(to, b.Source)
	to = append(to, `,"position":"`...)
	to = append(to, b.position.String()...)
	to = append(to, `","xid":`...)
	to = strconv.AppendUint(to, uint64(b.xid), 10)
	to = append(to, `,"committed":"`...)
	to = b.committed.UTC().AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","sequence":`...)
	to = strconv.AppendInt(to, b.sequence, 10)
	return append(to, `,"last":`...)
}

func (b *Builder) header(to []byte, t Table, last bool) []byte {
	to = b.prefix(to)
	to = strconv.AppendBool(to, last)
	to = append(to, `,"schema":`...)
	to = appendString(to, t.Schema)
	to = append(to, `,"table":`...)
	to = appendString(to, t.Name)
	to = append(to, `,"identity":`...)
	to = appendString(to, t.Identity)
	return append(to, `,"changes":[`...)
}

func appendChange(b []byte, c *Change) []byte {
	b = append(b, `{"op":"`...)
	b = append(b, c.Op...)
	b = append(b, '"')
	for _, part := range []struct {
		name string
		row  Row
	}{{`,"key":`, c.Key}, {`,"old":`, c.Old}, {`,"new":`, c.New}} {
		if len(part.row) > 0 {
			b = append(b, part.name...)
			b = part.row.appendJSON(b)
		}
	}
	if len(c.Unknown) > 0 {
		b = append(b, `,"unknown":[`...)
		for i, name := range c.Unknown {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, name)
		}
		b = append(b, ']')
	}
	if c.Reason != "" {
		b = append(b, `,"reason":`...)
		b = appendString(b, c.Reason)
	}
	return append(b, '}')
}

// dropLargest moves the column with the longest value, in any of the rows, to Unknown. It returns false if none is left.
func dropLargest(c *Change) bool {
	name, size := "", -1
	for _, row := range []Row{c.Key, c.Old, c.New} {
		for i := range row {
			if len(row[i].Value) > size {
				name, size = row[i].Name, len(row[i].Value)
			}
		}
	}
	if size < 0 {
		return false
	}
	c.MarkUnknown(name)
	return true
}

// MarkUnknown takes a column out of the change's rows and lists it as unknown.
func (c *Change) MarkUnknown(name string) {
	drop := func(r Row) Row {
		return slices.DeleteFunc(r, func(f Field) bool { return f.Name == name })
	}
	c.Key, c.Old, c.New = drop(c.Key), drop(c.Old), drop(c.New)
	if !slices.Contains(c.Unknown, name) {
		c.Unknown = append(c.Unknown, name)
	}
}
