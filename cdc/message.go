package cdc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"freshet/events"
	"freshet/internal/postgres"
)

const (
	// maxContent bounds what is read of a logical message: well below events.MaxMessageBytes, so that it always fits.
	maxContent = 64 << 10
	// maxName bounds a table's and a schema's name. A standard server's have at most 63 bytes; a longer one would make a
	// subject that NATS refuses.
	maxName = 255
	// maxReason bounds the text for people.
	maxReason = 200
)

// operation is what one of our messages means. ok is false for what is none of the log's business: messages of others,
// those that only flush, and those outside of transactions, which have no place in the order of the log.
func (m logicalMessage) operation() (op events.Op, ok bool) {
	switch {
	case !m.transactional:
		return "", false
	case m.prefix == postgres.DDLPrefix:
		return events.Define, true
	case m.prefix == postgres.ClearPrefix:
		return events.Clear, true
	}
	return "", false
}

// names tells whether the message names the request that made its transaction.
func (m logicalMessage) names() bool { return m.transactional && m.prefix == postgres.TracePrefix }

// foreign tells whether the decoder will ignore this pgoutput message, so that it need not be kept: somebody else's logical
// messages can be as large as a gigabyte.
func foreign(data []byte) bool {
	if len(data) == 0 || data[0] != 'M' {
		return false
	}
	parsed, err := parseMessage(data)
	if err != nil {
		return false
	}
	m, is := parsed.(logicalMessage)
	if !is {
		return false
	}
	_, ours := m.operation()
	return !ours && !(m.names() && len(m.content) <= maxTraceparent)
}

// readContent makes a change of the content of one of our messages. Anybody who may write to the database may emit messages
// under our prefixes: content that cannot be read is about everything, which is coarser and never wrong, and comes with the
// reason why, but it never stops cdc.
func readContent(op events.Op, data []byte) (events.Table, *events.Change, error) {
	var content struct {
		Schema string     `json:"schema"`
		Table  string     `json:"table"`
		Values events.Row `json:"values"`
		Reason string     `json:"reason"`
	}
	err := errors.New("it is not UTF-8")
	switch {
	case len(data) > maxContent:
		err = fmt.Errorf("it has %d bytes, more than %d", len(data), maxContent)
	case utf8.Valid(data): // json.Unmarshal would put other characters into a name
		err = json.Unmarshal(data, &content)
	}
	named := content.Schema != "" && content.Table != ""
	switch {
	case err != nil:
	case (content.Schema == "") != (content.Table == ""):
		err = errors.New("it needs both schema and table, or neither")
	case len(content.Schema) > maxName || len(content.Table) > maxName:
		err = fmt.Errorf("a name has more than %d bytes", maxName)
	case len(content.Values) > 0 && !named:
		err = errors.New("it has values, and does not say of which table")
	}
	if err != nil {
		return events.Everything, &events.Change{Op: op, Reason: "a message that cannot be read"}, err
	}
	change := &events.Change{Op: op, Reason: clip(content.Reason)}
	if !named {
		return events.Everything, change, nil
	}
	if op == events.Clear && len(content.Values) > 0 {
		change.Old = content.Values
	}
	return events.Table{Schema: content.Schema, Name: content.Table}, change, nil
}

func clip(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason], "") + "…"
}
