// Package replay reads the log for people and for programs that are not written in Go: what was changed, since when, in which table, of
// which rows; or all rows of a table as they are and then every change after it.
//
// It owns the selection (Where), the forms in which changes are printed, and the fence between a table's rows and its changes
// (Snapshot). It must never print a change twice or leave one out: reading the log itself is package events' part.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
)

// Snapshotted is the operation of a row that was there when the reading began.
const Snapshotted events.Op = "snapshot"

// Event is one change of a row, or a reset of the log.
type Event struct {
	// Cursor is the place in the log of the message that the change is in; a snapshot has the one at which it was taken.
	Cursor   events.Cursor   `json:"cursor"`
	Position events.Position `json:"position"`
	// Committed is the commit time by the clock of the Postgres server; of a snapshot, when it was taken.
	Committed time.Time `json:"committed"`
	XID       uint32    `json:"xid,omitempty"`
	Schema    string    `json:"schema,omitempty"`
	Table     string    `json:"table,omitempty"`
	events.Change
}

// resetOp is the operation of an Event that says that the log began anew: what was changed before it may be missing.
const resetOp events.Op = "reset"

// Options say what to replay.
type Options struct {
	JetStream jetstream.JetStream
	Source    string
	From      events.Start
	// Until ends the replay with what was committed at that time or later, if it is not the zero time.
	Until  time.Time
	Tables []events.Table
	Where  Where
	// Follow goes on when the end of the log has been reached.
	Follow bool
	// Retrying is told of outages.
	Retrying func(err error, in time.Duration)
}

// Sink takes what is replayed, in order. raw is the message of the log that the events are of, nil for a snapshot.
type Sink interface {
	Write(ctx context.Context, raw *events.Message, selected []Event) error
}

// Tally counts what was replayed.
type Tally struct {
	Messages, Changes, Selected int64
	// Last is the place to go on after.
	Last events.Cursor
}

// Run replays. It returns at the end of the log, or when ctx ends: then with the cause of that.
func Run(ctx context.Context, o Options, to Sink, tally *Tally) error {
	return o.run(ctx, nil, to, tally)
}

// run is Run; skip, if not nil, tells of a transaction whether it is left out.
func (o Options) run(ctx context.Context, skip func(xid uint32) bool, to Sink, tally *Tally) error {
	s := events.Subscription{JetStream: o.JetStream, Source: o.Source, Tables: o.Tables, From: o.From, ToEnd: !o.Follow, Retrying: o.Retrying}
	var selected []Event
	return events.Consume(ctx, s, func(ctx context.Context, m *events.Message) error {
		tally.Messages++
		if !o.Until.IsZero() && o.past(m) {
			return events.ErrStop
		}
		selected = selected[:0]
		switch m.Kind {
		case events.KindChange:
			tally.Changes += int64(len(m.Changes.Changes))
			if skip == nil || !skip(m.Changes.XID) {
				selected = o.pick(selected, m)
			}
		case events.KindReset:
			selected = append(selected, Event{
				Cursor: m.Cursor, Position: m.Reset.Position, Committed: m.Reset.At, Change: events.Change{Op: resetOp, Reason: m.Reset.Reason},
			})
		case events.KindWatermark:
		}
		if len(selected) > 0 {
			if err := to.Write(ctx, m, selected); err != nil {
				return err
			}
			tally.Selected += int64(len(selected))
		}
		tally.Last = m.Cursor
		return nil
	})
}

// commitMargin is how long after its commit time a transaction may come: it is taken before the commit waits for a synchronous standby.
const commitMargin = time.Minute

// past tells whether everything that was committed before the end that was asked for has come: a watermark tells up to when all has.
func (o Options) past(m *events.Message) bool {
	return m.Kind == events.KindWatermark && m.Watermark.At.After(o.Until.Add(commitMargin))
}

// pick appends the changes of a message that are selected.
func (o Options) pick(to []Event, m *events.Message) []Event {
	c := m.Changes
	if !o.Until.IsZero() && !c.Committed.Before(o.Until) {
		return to
	}
	for i := range c.Changes {
		if o.Where == nil || o.Where(&c.Changes[i]) {
			to = append(to, Event{
				Cursor: m.Cursor, Position: c.Position, Committed: c.Committed, XID: c.XID, Schema: c.Schema, Table: c.Table, Change: c.Changes[i],
			})
		}
	}
	return to
}

// Publisher is a Sink that publishes each message again, with what was selected of its changes.
type Publisher struct {
	JetStream jetstream.JetStream
	Subject   string
}

// Write publishes, and waits until it is stored. A message that was published before is not stored again within the stream's window
// for duplicates.
func (p *Publisher) Write(ctx context.Context, raw *events.Message, selected []Event) error {
	for _, e := range selected {
		body, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode a change: %w", err)
		}
		options := []jetstream.PublishOpt{}
		if raw != nil && len(selected) == 1 {
			options = append(options, jetstream.WithMsgID(e.Cursor.String()))
		}
		if _, err := p.JetStream.Publish(ctx, p.Subject, body, options...); err != nil {
			if errors.Is(err, jetstream.ErrNoStreamResponse) {
				return fmt.Errorf("publish to %s: no stream takes it: make one with this subject first", p.Subject)
			}
			return fmt.Errorf("publish to %s: %w", p.Subject, err)
		}
	}
	return nil
}
