package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is one of the log. Of Changes, Watermark and Reset one is set, as Kind says.
type Message struct {
	// Cursor is the place to go on after.
	Cursor Cursor
	Kind   Kind
	// Stored is when the stream took it, by the clock of the NATS server.
	Stored time.Time

	Changes   *Changes
	Watermark *Watermark
	Reset     *Reset

	Subject string
	Header  nats.Header
	// Data is the body as it is in the stream.
	Data []byte
}

// Subscription says which part of a log to read.
type Subscription struct {
	JetStream jetstream.JetStream
	Source    string
	// Tables are those whose changes to read; none: all. Watermarks and resets come in any case.
	Tables []Table
	// From is where to begin; the zero Start is the oldest message that there is.
	From Start
	// ToEnd ends the reading at the end that the log has when it begins.
	ToEnd bool
	// Retrying, if set, is told of an outage, and when it is tried again.
	Retrying func(err error, in time.Duration)
}

// ErrStop from the function that Consume calls ends the reading without an error.
var ErrStop = errors.New("enough was read")

// handlerError is an error that no other try mends: of the function that Consume calls, or of a message that cannot be read.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// Consume calls each with every message of the subscription, one after another: at least once, and again from the same place whatever
// happens to NATS. It reads ahead some 500 messages at most.
//
// It returns nil at the end (ToEnd, ErrStop); the error of each; an ExpiredError or a GapError, after which a copy of the data must be made
// anew; the cause of ctx. To go on after a restart, keep the Cursor of the last message that was dealt with, best in the same transaction
// as what was done with it, and begin From it.
func Consume(ctx context.Context, s Subscription, each func(context.Context, *Message) error) error {
	c := &consumption{Subscription: s, each: each}
	var retry time.Duration
	for {
		began := time.Now()
		err := c.run(ctx)
		if done, result := c.ended(ctx, err); done {
			return result
		}
		if time.Since(began) > quietLife {
			retry = 0
		}
		retry = min(max(firstRetry, 2*retry), lastRetry)
		if s.Retrying != nil {
			s.Retrying(err, retry)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
	// quietLife is how long a reading must have lived for its end to be the first failure, and not the next one.
	quietLife = 5 * time.Second
)

// consumption is a Subscription that is read.
type consumption struct {
	Subscription
	each func(context.Context, *Message) error

	begun bool
	at    Cursor    // everything up to it was handed on
	since time.Time // what was committed before it is left out
	end   uint64    // with ToEnd
}

// run reads until something fails.
func (c *consumption) run(ctx context.Context) error {
	if !c.begun {
		if err := c.begin(ctx); err != nil {
			return err
		}
		c.begun = true
	}
	if c.ToEnd && c.at.Sequence >= c.end {
		return ErrStop
	}
	t := Tail{JetStream: c.JetStream, Source: c.Source, After: c.at.Sequence, Tables: c.Tables}
	return t.Run(ctx, func(ctx context.Context, batch []jetstream.Msg) error {
		for _, m := range batch {
			if err := c.handle(ctx, m); err != nil {
				return err
			}
			if c.ToEnd && c.at.Sequence >= c.end {
				return ErrStop
			}
		}
		return nil
	})
}

// begin finds the place to begin at, and the one to end at.
func (c *consumption) begin(ctx context.Context) error {
	l := locator{js: c.JetStream, source: c.Source}
	if err := l.open(ctx); err != nil {
		return err
	}
	var err error
	if c.at, c.since, err = c.From.locate(ctx, &l); err != nil {
		return err
	}
	if c.ToEnd {
		c.end, err = l.last(ctx, subjectsOf(c.Source, c.Tables))
	}
	return err
}

// handle hands on one message.
func (c *consumption) handle(ctx context.Context, raw jetstream.Msg) error {
	meta, err := raw.Metadata()
	if err != nil {
		return fmt.Errorf("read a message's metadata: %w", err)
	}
	m, err := decodeMessage(meta.Sequence.Stream, raw)
	if err != nil {
		return &handlerError{fmt.Errorf("cannot read the message at stream sequence %d: %w", meta.Sequence.Stream, err)}
	}
	m.Stored = meta.Timestamp
	previous := raw.Headers().Get(HeaderPrevious)
	if known := c.at.Session; known != "" && m.Cursor.Session != known && m.Kind != KindReset && previous != known {
		return &GapError{fmt.Sprintf("the message at stream sequence %d is of session %s, which does not follow %s", m.Cursor.Sequence, m.Cursor.Session, known)}
	}
	if !m.time().Before(c.since) {
		if err := c.each(ctx, m); err != nil {
			return &handlerError{err}
		}
	}
	c.at = m.Cursor
	return nil
}

// decodeMessage decodes a message of the stream.
func decodeMessage(sequence uint64, raw jetstream.Msg) (m *Message, err error) {
	m = &Message{
		Cursor:  Cursor{Sequence: sequence, Session: raw.Headers().Get(HeaderSession)},
		Subject: raw.Subject(), Header: raw.Headers(), Data: raw.Data(),
	}
	if m.Kind, err = SubjectKind(m.Subject); err != nil {
		return nil, err
	}
	switch m.Kind {
	case KindChange:
		m.Changes, err = DecodeChanges(m.Data)
	case KindWatermark:
		m.Watermark, err = DecodeWatermark(m.Data)
	case KindReset:
		m.Reset, err = DecodeReset(m.Data)
	}
	return m, err
}

// time is what the message is about, by the clock of the Postgres server.
func (m *Message) time() time.Time {
	switch m.Kind {
	case KindWatermark:
		return m.Watermark.At
	case KindReset:
		return m.Reset.At
	case KindChange:
	}
	return m.Changes.Committed
}

// ended tells whether an error is no outage, and what Consume returns then.
func (c *consumption) ended(ctx context.Context, err error) (done bool, result error) {
	var handler *handlerError
	var gap *GapError
	var expired *ExpiredError
	switch {
	case errors.Is(err, ErrStop):
		return true, nil
	case errors.As(err, &handler):
		return true, handler.err
	case errors.As(err, &gap), errors.As(err, &expired):
		return true, err
	case ctx.Err() != nil:
		return true, context.Cause(ctx)
	case !c.begun && errors.Is(err, jetstream.ErrStreamNotFound):
		return true, fmt.Errorf("there is no log of the source %q: `freshet cdc` makes it when it starts (stream %s)", c.Source, StreamName(c.Source))
	}
	return false, nil
}
