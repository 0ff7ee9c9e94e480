package invalidator

import (
	"context"
	"fmt"
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

// whyIdle is how long no message may come before the end of the log is taken to be reached.
const whyIdle = 2 * time.Second

// Why reads the log since a time and tells which changes cleared the bucket of a tag, in their order. The tag's shape says which
// columns updates are matched by. each is called for every cause; an error of it ends the reading.
func Why(ctx context.Context, js jetstream.JetStream, source string, tag cache.Tag, since time.Time, each func(Cause) error) error {
	stream, err := js.Stream(ctx, events.StreamName(source))
	if err != nil {
		return fmt.Errorf("find the stream: %w", err)
	}
	subjects := []string{
		events.ChangeSubject(source, tag.Shape.Schema, tag.Shape.Table),
		events.ChangeSubject(source, cache.RegistrySchema, cache.RegistryTable), // what is about everything
		events.ResetSubject(source),
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.AllSubjects(source)))
	if err != nil {
		return fmt.Errorf("read the state of the stream: %w", err)
	}
	last := uint64(0) // of our subjects
	for _, subject := range subjects {
		if m, err := stream.GetLastMsgForSubject(ctx, subject); err == nil {
			last = max(last, m.Sequence)
		}
	}
	if last == 0 || info.State.LastTime.Before(since) {
		return nil
	}
	consumer, err := js.OrderedConsumer(ctx, events.StreamName(source), jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	})
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	w := &why{tag: tag, matcher: newMatcher([]cache.Shape{tag.Shape}), each: each, registry: subjects[1], reset: subjects[2]}
	for {
		m, err := consumer.Next(jetstream.FetchMaxWait(whyIdle))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return nil // nothing more since the end was looked up: it is older than since
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read a message's metadata: %w", err)
		}
		if err := w.read(m, meta.Sequence.Stream); err != nil {
			return err
		}
		if meta.Sequence.Stream >= last {
			return nil
		}
	}
}

type why struct {
	tag             cache.Tag
	matcher         *matcher
	each            func(Cause) error
	registry, reset string
}

func (w *why) read(m jetstream.Msg, sequence uint64) error {
	if m.Subject() == w.reset {
		r, err := events.DecodeReset(m.Data())
		if err != nil {
			return &decodeError{sequence, err}
		}
		return w.each(Cause{Sequence: sequence, Position: r.Position, Committed: r.At, Op: "reset", Whole: true, Reason: r.Reason})
	}
	msg, err := events.DecodeChanges(m.Data())
	if err != nil {
		return &decodeError{sequence, err}
	}
	for i := range msg.Changes {
		one := *msg
		one.Changes = msg.Changes[i : i+1]
		c := newClearing()
		if m.Subject() == w.registry {
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
			Sequence: sequence, Position: msg.Position, XID: msg.XID, Committed: msg.Committed, Op: change.Op, Key: change.Key,
			Whole: whole, Reason: change.Reason,
		}
		if err := w.each(cause); err != nil {
			return err
		}
	}
	return nil
}
