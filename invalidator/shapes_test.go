package invalidator

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
)

// Rule 5: the list of shapes is read when a change of it comes by in the log.
func TestShapesComeAndGoWithTheLog(t *testing.T) {
	r := newRig(t)
	v := r.start()
	first := r.caughtUp()
	require.Len(t, first.Generations, 1, "the catalog's")
	require.Equal(t, cache.ReasonInactive, r.get("1", "x").Reason)

	r.register(events.Insert, "", "f")
	r.watermark()
	r.caughtUp()
	require.Equal(t, cache.ReasonInactive, r.get("1", "x").Reason)
	r.setShapes(byID)
	r.register(events.Update, "f", "t")
	active := r.caughtUp()
	require.NotEmpty(t, active.Generations[byID.String()])
	r.fill("old", "1")
	r.hit("1", "old")
	r.update("1")
	r.caughtUp()
	r.miss("1")

	r.setShapes()
	r.register(events.Delete, "t", "")
	require.NotContains(t, r.caughtUp().Generations, byID.String())
	require.Equal(t, cache.ReasonInactive, r.get("1", "x").Reason)
	r.update("1") // which nobody matches

	r.setShapes(byID)
	r.register(events.Insert, "", "t")
	again := r.caughtUp()
	require.NotEmpty(t, again.Generations[byID.String()])
	require.NotEqual(t, active.Generations, again.Generations)
	r.miss("1")
	require.Len(t, v.reasons(), 1)
}

// Read when the change comes by, the list may be ahead of it. A shape that was deleted and is there again had a time in which
// its table's changes need not have been published: what was cached before is of no use.
func TestShapeDeletedAndRegisteredAgain(t *testing.T) {
	for name, op := range map[string]events.Op{"deleted": events.Delete, "waiting again": events.Update} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID, users)
			r.start()
			first := r.caughtUp()
			r.fill("old", "1")
			if op == events.Delete {
				r.register(op, "t", "")
			} else {
				r.register(op, "t", "f")
			}
			s := r.caughtUp()
			require.NotEqual(t, first.Generations[byID.String()], s.Generations[byID.String()])
			require.Equal(t, first.Generations[users.String()], s.Generations[users.String()])
			r.miss("1")
			r.register(events.Update, "t", "t") // a renewal
			require.Equal(t, s.Generations, r.caughtUp().Generations)
		})
	}
}

func TestShapeRegisteredWhileTheInvalidatorIsAway(t *testing.T) {
	r := newRig(t, users)
	v := r.start()
	r.caughtUp()
	require.NoError(t, v.stop())
	r.register(events.Insert, "", "f")
	r.setShapes(users, byID)
	r.register(events.Update, "f", "t")
	r.watermark()
	r.start()
	require.Len(t, r.caughtUp().Generations, 3)
	r.miss("1")
}

// applier is one that has not begun to consume.
func (r *rig) applier(ready ...[]cache.Shape) *applier {
	r.t.Helper()
	cfg := r.config()
	cfg.Log = slog.New(slog.NewTextHandler(r.t.Output(), nil))
	cfg.Ready = func(context.Context) ([]cache.Shape, error) {
		now := ready[0]
		if len(ready) > 1 {
			ready = ready[1:]
		}
		return now, nil
	}
	a := &applier{Invalidator: New(cfg), registry: events.ChangeSubject(source, cache.RegistrySchema, cache.RegistryTable)}
	state, found := r.state()
	require.True(r.t, found)
	a.state, a.received = state, state.Sequence
	require.NoError(r.t, a.load(r.t.Context()))
	return a
}

// messages reads the log after a sequence, to its end.
func (r *rig) messages(after uint64) (batch []jetstream.Msg) {
	r.t.Helper()
	c, err := r.js.OrderedConsumer(r.t.Context(), events.StreamName(source), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	require.NoError(r.t, err)
	got, err := c.Fetch(int(r.last - after))
	require.NoError(r.t, err)
	for m := range got.Messages() {
		batch = append(batch, m)
	}
	require.Len(r.t, batch, int(r.last-after))
	return batch
}

// The other invalidator has activated a shape that this one comes to know in the middle of a batch. What stands before that in
// the batch was not matched against the shape, though entries of it are in the cache: they must go.
func TestShapeKnownInTheMiddleOfABatch(t *testing.T) {
	for name, first := range map[string][]cache.Shape{"not there when it moves up": nil, "there when it moves up": {byID}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.start()
			r.caughtUp()
			require.NoError(t, v.stop())
			// It reads the list at its start, in its first try, when it moves up, and in its second try.
			slow := r.applier(nil, nil, first, []cache.Shape{byID})
			quick := r.applier([]cache.Shape{byID})

			from := r.last
			r.watermark()
			require.NoError(t, quick.apply(t.Context(), r.messages(from)))
			r.fill("old", "1")
			r.update("1")
			r.register(events.Update, "f", "t")
			r.watermark()
			require.NoError(t, slow.apply(t.Context(), r.messages(from)))
			s, _ := r.state()
			require.Equal(t, r.last, s.Sequence)
			r.miss("1")
		})
	}
}

// Whoever has an older list of shapes retires what it does not know in the very step in which it would not have matched it.
func TestShapeUnknownToTheOtherInvalidator(t *testing.T) {
	r := newRig(t)
	v := r.start()
	r.caughtUp()
	require.NoError(t, v.stop())
	slow, quick := r.applier(nil), r.applier([]cache.Shape{byID})
	from := r.last
	r.watermark()
	require.NoError(t, quick.apply(t.Context(), r.messages(from)))
	r.fill("old", "1")
	r.update("1")
	require.NoError(t, slow.apply(t.Context(), r.messages(from)))
	require.Equal(t, cache.ReasonInactive, r.get("1", "x").Reason)
	at := quick.state.Sequence
	r.watermark()
	require.NoError(t, quick.apply(t.Context(), r.messages(at)))
	r.miss("1")
}

// A batch that is larger than a step is applied in several.
func TestManyTags(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	r.caughtUp()
	r.fill("old", "0", "5001", "12000")
	b := events.Builder{Source: source}
	r.position += 16
	b.Begin(r.position, 7, time.Now(), 0)
	for i := range 12001 {
		id := strconv.Itoa(i)
		done := b.Add(blogTable, &events.Change{Op: events.Delete, Old: row("id", id)})
		if done != nil {
			r.publish(done.Message(source, r.session))
		}
	}
	r.publish(b.Flush(true).Message(source, r.session))
	r.watermark()
	r.caughtUp()
	for _, id := range []string{"0", "5001", "12000"} {
		r.miss(id)
	}
	require.Len(t, v.reasons(), 1)
}
