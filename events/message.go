package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers that Freshet adds to the ones of NATS and CloudEvents (ce-*, binary content mode of the NATS protocol binding). A message of a
// transaction that is traced has traceparent too (W3C Trace Context): whoever consumes it may go on with the trace.
const (
	// HeaderSession names the cdc session that published the message. A session publishes each sequence number of the
	// stream at most once, so (session, sequence) identifies a prefix of the log for good, even if the stream's storage
	// lost its tail and the numbers were given out again.
	HeaderSession = "Freshet-Session"
	// HeaderPrevious stands in the first message of a session that goes on where another one ended; its value is that
	// session. The message just before it in the stream is of that session.
	HeaderPrevious = "Freshet-Previous-Session"
	// HeaderPublished stands in the first message of a session, a watermark, when the session goes on in the middle of a
	// transaction: how many changes of the transaction whose commit record is at the watermark's position stand before it.
	HeaderPublished = "Freshet-Published"

	headerID      = "ce-id"
	headerSpec    = "ce-specversion"
	headerType    = "ce-type"
	headerSource  = "ce-source"
	headerTime    = "ce-time"
	headerSubject = "ce-subject"
	headerContent = "Content-Type"
)

// ID identifies the message: the position alone would not, as a transaction can have many messages.
func (b *Body) ID() string { return b.Position.String() + "-" + strconv.FormatInt(b.Sequence, 10) }

// Message makes the NATS message of a finished body.
func (b *Body) Message(source, session string) *nats.Msg {
	m := message(ChangeSubject(source, b.Table.Schema, b.Table.Name), source, session, "change", b.ID(), b.Committed, b.Data)
	// With the session: after a reset a position may come again, with other changes, and must not be taken for a duplicate.
	m.Header[nats.MsgIdHdr] = []string{b.ID() + "@" + session}
	m.Header[headerSubject] = []string{b.Table.Schema + "." + b.Table.Name}
	return m
}

// Message makes the NATS message of a watermark.
func (w Watermark) Message(session string) (*nats.Msg, error) {
	w.Version = Version
	body, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode watermark: %w", err)
	}
	id := w.Position.String() + "@" + strconv.FormatInt(w.At.UnixMicro(), 10)
	return message(WatermarkSubject(w.Source), w.Source, session, "watermark", id, w.At, body), nil
}

// Message makes the NATS message of a reset.
func (r Reset) Message(session string) (*nats.Msg, error) {
	r.Version = Version
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode reset: %w", err)
	}
	return message(ResetSubject(r.Source), r.Source, session, "reset", "reset-"+session, r.At, body), nil
}

func message(subject, source, session, kind, id string, at time.Time, body []byte) *nats.Msg {
	// The map is filled directly: Header.Set would canonicalize the keys, and CloudEvents' are lower case.
	return &nats.Msg{Subject: subject, Data: body, Header: nats.Header{
		HeaderSession: []string{session},
		headerContent: []string{"application/json"},
		headerSpec:    []string{"1.0"},
		headerID:      []string{id},
		headerType:    []string{"freshet." + kind + ".v" + strconv.Itoa(Version)},
		headerSource:  []string{"freshet/" + source},
		headerTime:    []string{at.UTC().Format(time.RFC3339Nano)},
	}}
}
