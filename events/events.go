// Package events owns the contract of the log: the subjects, the JSON schema of the messages, their headers and the
// settings of the JetStream stream that keeps them. cdc writes by it; the invalidator and every other consumer read by it.
//
// It knows nothing of Postgres connections, caches or HTTP, and it must never import another package of Freshet: a
// service that only wants to read the log imports this package and gets nothing else with it.
//
// A stream holds three kinds of messages for its source:
//
//	cdc.<source>.change.<schema>.<table>   Changes:   what ONE transaction did to ONE table, in order
//	cdc.<source>.watermark                 Watermark: everything at or below its position stands before it in the stream
//	cdc.<source>.reset                     Reset:     continuity was lost; whoever caches must clear everything
//
// What every consumer may rely on (rule 1): when a change is received, a SELECT in a new snapshot sees it.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is the version of the JSON schema. A reader refuses a message with another one.
const Version = 1

// MaxMessageBytes bounds the body of one message. A transaction with more is split; a single row with more travels with
// its largest values listed as unknown.
const MaxMessageBytes = 256 << 10

// Op says what happened to a row, or to the whole table.
type Op string

// The operations of a Change.
const (
	Insert   Op = "insert"
	Update   Op = "update"
	Delete   Op = "delete"
	Truncate Op = "truncate"
	// Define says that the definition of the table, or of something that stands behind queries of it, has changed: what was
	// read of the table, or derived from its columns, may be wrong.
	Define Op = "ddl"
	// Clear says that somebody asks by hand to clear what depends on rows whose columns have the values in Old; a column that
	// Old lacks may have any value, so that an empty Old means every row.
	Clear Op = "clear"
)

// Everything is the table that a change with the operation Define or Clear names when it is not about one table: a Define of
// it says that anything in the database may have been defined anew, a Clear of it that all that is cached is to be cleared.
// It is the registry of the shapes, whose subject every cache follows.
var Everything = Table{Schema: "freshet", Name: "shapes"}

// Changes is the body of a change message: consecutive changes that one transaction made in one table.
type Changes struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	// Position is that of the transaction's commit record. The transaction has been applied by whoever reports a
	// watermark above it (its end position, the first that a watermark can have, is always greater).
	Position Position `json:"position"`
	XID      uint32   `json:"xid"`
	// Committed is the commit time by the clock of the Postgres server.
	Committed time.Time `json:"committed"`
	// Sequence counts the changes of the transaction that stand before this message, in all tables: (Position,
	// Sequence) identifies a message for good.
	Sequence int64 `json:"sequence"`
	// Last is true in the last message of the transaction.
	Last   bool   `json:"last"`
	Schema string `json:"schema"`
	Table  string `json:"table"`
	// Identity is the table's replica identity: default, full, index or nothing. It is empty in a message whose changes are of
	// no row (Define, Clear).
	Identity string   `json:"identity"`
	Changes  []Change `json:"changes"`
}

// Change is one row inserted, updated or deleted; or the table truncated or defined anew (then it has no rows); or somebody's
// wish that caches are cleared (then Old says of which rows).
//
// Values are the texts that Postgres prints (DateStyle ISO, TimeZone UTC, extra_float_digits 3), each a JSON string, so
// that no digit is lost; SQL NULL is JSON null.
type Change struct {
	Op Op `json:"op"`
	// Key holds the primary key of the row (of the old row, where there is one), or its replica identity if the table has no
	// primary key. For people and for consumers that need a key; a row too large may lack it.
	Key Row `json:"key,omitempty"`
	// Old holds what is known of the row before the change: all its columns with REPLICA IDENTITY FULL, otherwise
	// those of the replica identity. Empty for an insert.
	Old Row `json:"old,omitempty"`
	// New holds the row after the change. Empty for a delete.
	New Row `json:"new,omitempty"`
	// Unknown lists columns whose values are not in the message, neither in Old nor in New: TOAST values that the update did
	// not change, values that are not UTF-8, and the largest values of a row that would not fit into a message. The row is
	// visible, so that they can be read back.
	Unknown []string `json:"unknown,omitempty"`
	// Reason says why there is a Define or a Clear, for people: the command, or the function that was called.
	Reason string `json:"reason,omitempty"`
}

// Watermark is the body of a watermark message: every transaction that ended at or below Position and touched a
// published table stands before this message in the stream.
type Watermark struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	// Timeline is that of the WAL. After a failover to a server that lacked the last transactions, positions are given out again.
	Timeline uint32   `json:"timeline,omitempty"`
	Position Position `json:"position"`
	// At is a time by the clock of the Postgres server; every transaction that was visible at it ended at or below Position.
	At time.Time `json:"at"`
}

// Reset is the body of a reset message.
type Reset struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	// Reason is for people: what was lost.
	Reason string `json:"reason"`
	// Timeline and Position are where the log begins again.
	Timeline uint32    `json:"timeline,omitempty"`
	Position Position  `json:"position"`
	At       time.Time `json:"at"`
}

// ErrVersion is wrapped by the error of a decoder that meets another version of the schema.
var ErrVersion = errors.New("unsupported version of the event schema")

// DecodeChanges parses the body of a change message.
func DecodeChanges(body []byte) (*Changes, error) {
	var c Changes
	if err := decode(body, &c); err != nil {
		return nil, fmt.Errorf("decode change message: %w", err)
	}
	if err := checkVersion(c.Version); err != nil {
		return nil, err
	}
	for i := range c.Changes {
		switch c.Changes[i].Op {
		case Insert, Update, Delete, Truncate, Define, Clear:
		default:
			return nil, fmt.Errorf("decode change message: change %d has the unknown operation %q", i, c.Changes[i].Op)
		}
	}
	return &c, nil
}

// DecodeWatermark parses the body of a watermark message.
func DecodeWatermark(body []byte) (*Watermark, error) {
	var w Watermark
	if err := decode(body, &w); err != nil {
		return nil, fmt.Errorf("decode watermark message: %w", err)
	}
	return &w, checkVersion(w.Version)
}

// DecodeReset parses the body of a reset message.
func DecodeReset(body []byte) (*Reset, error) {
	var r Reset
	if err := decode(body, &r); err != nil {
		return nil, fmt.Errorf("decode reset message: %w", err)
	}
	return &r, checkVersion(r.Version)
}

func checkVersion(v int) error {
	if v != Version {
		return fmt.Errorf("%w: the message has %d, this program reads %d", ErrVersion, v, Version)
	}
	return nil
}

// decode is json.Unmarshal; unknown members are ignored, so that a later version may add some without a new number.
func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the body is empty")
	}
	return json.Unmarshal(body, into)
}
