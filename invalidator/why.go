package invalidator

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/cache"
	"freshet/events"
)

// Cause is a change that cleared a bucket.
type Cause struct {
	// Sequence is that of the message in the stream.
	Sequence  uint64
	Position  events.Position
	XID       uint32
	Committed time.Time
	Op        events.Op
	Key       events.Row
	// Whole is true if the shape was cleared as a whole: TRUNCATE, a change of a definition, or a row that did not tell all.
	Whole  bool
	Reason string
}

// Why reads the log since a time, or as far as it reaches back, and tells which changes cleared the bucket of a tag, in their order. The
// tag's shape says which columns updates are matched by. each is called for every cause; an error of it ends the reading.
func Why(ctx context.Context, js jetstream.JetStream, source string, tag cache.Tag, since time.Time, each func(Cause) error) error {
	w := &why{tag: tag, matcher: newMatcher([]cache.Shape{tag.Shape}), each: each}
	s := events.Subscription{
		JetStream: js, Source: source, From: events.Since(since), ToEnd: true,
		Tables: []events.Table{
			{Schema: tag.Shape.Schema, Name: tag.Shape.Table},
			{Schema: cache.RegistrySchema, Name: cache.RegistryTable}, // what is about everything
		},
	}
	err := events.Consume(ctx, s, w.read)
	if _, expired := errors.AsType[*events.ExpiredError](err); expired { // before anything was read
		s.From = events.FromOldest()
		err = events.Consume(ctx, s, w.read)
	}
	return err
}

type why struct {
	tag     cache.Tag
	matcher *matcher
	each    func(Cause) error
}

func (w *why) read(_ context.Context, m *events.Message) error {
	switch m.Kind {
	case events.KindReset:
		r := m.Reset
		return w.each(Cause{Sequence: m.Cursor.Sequence, Position: r.Position, Committed: r.At, Op: "reset", Whole: true, Reason: r.Reason})
	case events.KindWatermark:
		return nil
	case events.KindChange:
	}
	msg := m.Changes
	for i := range msg.Changes {
		one := *msg
		one.Changes = msg.Changes[i : i+1]
		c := newClearing()
		if one.Schema == cache.RegistrySchema && one.Table == cache.RegistryTable {
			w.matcher.interrupt(&one, c)
		} else {
			w.matcher.match(&one, c)
		}
		_, whole := c.shapes[w.tag.Shape.String()]
		if _, cleared := c.tags[w.tag.Name]; !cleared && !whole {
			continue
		}
		change := one.Changes[0]
		cause := Cause{
			Sequence: m.Cursor.Sequence, Position: msg.Position, XID: msg.XID, Committed: msg.Committed, Op: change.Op, Key: change.Key,
			Whole: whole, Reason: change.Reason,
		}
		if err := w.each(cause); err != nil {
			return err
		}
	}
	return nil
}
