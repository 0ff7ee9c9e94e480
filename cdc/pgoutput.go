package cdc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet/events"
)

// The messages of pgoutput, protocol version 1 ("Logical Replication Message Formats" in the Postgres manual;
// src/backend/replication/logical/proto.c). pglogrepl has a decoder too, but it panics on truncated input and allocates
// whatever length the input claims; this one never reads or allocates past the message.
type (
	beginMessage struct {
		final  events.Position // LSN of the commit record
		commit time.Time
		xid    uint32
	}
	commitMessage struct {
		commit, end events.Position
	}
	relationMessage struct {
		id           uint32
		schema, name string
		identity     byte // 'd', 'n', 'f', 'i': pg_class.relreplident
		columns      []relationColumn
	}
	relationColumn struct {
		key      bool // part of the replica identity
		name     string
		kind     uint32 // OID of its type
		modifier int32  // of the type: pg_attribute.atttypmod
	}
	// rowMessage is an insert, an update or a delete.
	rowMessage struct {
		op       events.Op
		relation uint32
		oldKind  byte // 0: no old tuple; 'K': only the replica identity; 'O': the whole row
		old, new []tupleColumn
	}
	// tupleColumn aliases the message's bytes.
	tupleColumn struct {
		kind  byte // 'n' NULL, 'u' unchanged TOAST value, 't' text
		value []byte
	}
	truncateMessage struct {
		relations []uint32
	}
	// logicalMessage is what somebody emitted with pg_logical_emit_message. Its content aliases the message's bytes.
	logicalMessage struct {
		transactional bool
		prefix        string
		content       []byte
	}
)

var errTruncatedMessage = errors.New("the message ends early")

// parseMessage decodes one pgoutput message. It returns nil, nil for a kind that carries nothing that the log needs
// (origin and type messages).
func parseMessage(data []byte) (any, error) {
	if len(data) == 0 {
		return nil, errTruncatedMessage
	}
	c := cursor{data: data[1:]}
	var m any
	switch kind := data[0]; kind {
	case 'B':
		m = beginMessage{final: events.Position(c.uint64()), commit: c.time(), xid: c.uint32()}
	case 'C':
		c.byte() // flags, unused
		m = commitMessage{commit: events.Position(c.uint64()), end: events.Position(c.uint64())}
		c.time()
	case 'R':
		m = c.relation()
	case 'I', 'U', 'D':
		m = c.row(kind)
	case 'T':
		m = c.truncate()
	case 'M':
		m = c.logicalMessage()
	case 'O', 'Y':
		return nil, nil
	default:
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
	if c.err == nil && len(c.data) > 0 {
		c.err = fmt.Errorf("%d bytes too many", len(c.data))
	}
	if c.err != nil {
		return nil, fmt.Errorf("message of kind %q: %w", data[0], c.err)
	}
	return m, nil
}

// cursor reads big-endian fields. After the first failure it returns zeros, and err says what was wrong.
type cursor struct {
	data []byte
	err  error
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n > len(c.data) {
		if c.err == nil {
			c.err = errTruncatedMessage
		}
		c.data = nil
		return nil
	}
	out := c.data[:n:n]
	c.data = c.data[n:]
	return out
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// postgresEpoch is 2000-01-01 UTC in Unix microseconds; the protocol's times count from it.
const postgresEpoch = 946_684_800_000_000

func (c *cursor) time() time.Time {
	return time.UnixMicro(postgresEpoch + int64(c.uint64())).UTC()
}

// sized reads a length and that many bytes.
func (c *cursor) sized() []byte {
	size := c.uint32()
	if uint64(size) > uint64(len(c.data)) { // not all of it fits into an int everywhere
		c.take(len(c.data) + 1)
		return nil
	}
	return c.take(int(size))
}

func (c *cursor) str() string {
	end := bytes.IndexByte(c.data, 0)
	if end < 0 {
		c.take(len(c.data) + 1)
		return ""
	}
	s := string(c.take(end))
	c.take(1)
	return s
}

func (c *cursor) relation() relationMessage {
	m := relationMessage{id: c.uint32(), schema: c.str(), name: c.str(), identity: c.byte()}
	if m.schema == "" {
		m.schema = "pg_catalog" // sent as an empty string: logicalrep_write_namespace
	}
	for range c.uint16() {
		if c.err != nil {
			break
		}
		col := relationColumn{key: c.byte()&1 != 0, name: c.str(), kind: c.uint32(), modifier: int32(c.uint32())}
		m.columns = append(m.columns, col)
	}
	return m
}

// same tells whether another description of the table says the same.
func (m relationMessage) same(other relationMessage) bool {
	return m.schema == other.schema && m.name == other.name && m.identity == other.identity && slices.Equal(m.columns, other.columns)
}

func (c *cursor) row(kind byte) rowMessage {
	m := rowMessage{relation: c.uint32()}
	tuple := c.byte()
	switch kind {
	case 'I':
		m.op = events.Insert
	case 'U':
		m.op = events.Update
	case 'D':
		m.op = events.Delete
	}
	if kind != 'I' && (tuple == 'K' || tuple == 'O') {
		m.oldKind = tuple
		m.old = c.tuple()
		if kind == 'D' {
			return m
		}
		tuple = c.byte()
	}
	if tuple != 'N' || kind == 'D' {
		if c.err == nil {
			c.err = fmt.Errorf("unexpected tuple of kind %q", tuple)
		}
		return m
	}
	m.new = c.tuple()
	return m
}

func (c *cursor) tuple() []tupleColumn {
	n := int(c.uint16())
	if n > len(c.data) { // each column has at least its kind
		c.take(len(c.data) + 1)
		return nil
	}
	columns := make([]tupleColumn, 0, n)
	for range n {
		col := tupleColumn{kind: c.byte()}
		switch col.kind {
		case 'n', 'u':
		case 't':
			col.value = c.sized()
		default:
			if c.err == nil {
				c.err = fmt.Errorf("unexpected column of kind %q", col.kind)
			}
		}
		if c.err != nil {
			return nil
		}
		columns = append(columns, col)
	}
	return columns
}

func (c *cursor) truncate() truncateMessage {
	n := int(c.uint32())
	c.byte() // CASCADE, RESTART IDENTITY: the tables that it reached are all listed
	if n > len(c.data)/4 {
		c.take(len(c.data) + 1)
		return truncateMessage{}
	}
	m := truncateMessage{relations: make([]uint32, 0, n)}
	for range n {
		m.relations = append(m.relations, c.uint32())
	}
	return m
}

// logicalMessage reads what logicalrep_write_message wrote. The position in it is that of the message, which is known.
func (c *cursor) logicalMessage() logicalMessage {
	m := logicalMessage{transactional: c.byte()&1 != 0}
	c.uint64()
	m.prefix = c.str()
	m.content = c.sized()
	return m
}
