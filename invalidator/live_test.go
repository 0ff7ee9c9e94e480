package invalidator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/testenv"
)

// heard are the steps that a listener was told of.
type heard struct {
	r    *rig
	told <-chan cache.Live
}

// listen subscribes, and waits until the invalidator knows of it.
func (r *rig) listen() *heard {
	r.t.Helper()
	subscription := r.store.SubscribeLive(r.t.Context())
	r.t.Cleanup(func() { require.NoError(r.t, subscription.Close()) })
	_, err := subscription.Receive(r.t.Context())
	require.NoError(r.t, err)
	told := make(chan cache.Live, 1000)
	go func() { // ends when the subscription is closed
		for m := range subscription.Channel() {
			var l cache.Live
			if json.Unmarshal([]byte(m.Payload), &l) == nil {
				told <- l
			}
		}
	}()
	h := &heard{r, told}
	testenv.Eventually(r.t, patience, func() (bool, string) {
		r.update("7")
		r.caughtUp()
		return len(told) > 0, "the invalidator should tell of a change"
	})
	return h
}

// next waits for a step of which ok says that it is the right one.
func (h *heard) next(ok func(cache.Live) bool) cache.Live {
	h.r.t.Helper()
	over := time.After(patience)
	for {
		select {
		case l := <-h.told:
			if ok(l) {
				return l
			}
		case <-over:
			require.Fail(h.r.t, "not told")
		}
	}
}

func TestLive(t *testing.T) {
	r := newRig(t, byID)
	r.start()
	r.caughtUp()
	h := r.listen()

	r.fill("x", "42")
	before := time.Now()
	r.change(blogTable, events.Change{
		Op: events.Update, Key: row("id", "43"), Old: row("id", "42", "status", "draft"), New: row("id", "43", "status", "draft"),
	})
	got := h.next(func(l cache.Live) bool { return len(l.Changes) > 0 && l.Changes[0].Key == "id=43" })
	require.Equal(t, 1, got.Cleared, "only one of the buckets was there")
	require.Equal(t, r.caughtUp().Sequence, got.Sequence)
	c := got.Changes[0]
	require.Equal(t, "public.blogs", c.Table)
	require.Equal(t, "update", c.Op)
	require.Equal(t, []string{byID.Tag("42").Name, byID.Tag("43").Name}, c.Buckets)
	require.GreaterOrEqual(t, c.Milliseconds, 0.0)
	require.LessOrEqual(t, c.Milliseconds, float64(time.Since(before).Milliseconds()+1))

	r.reset("another session")
	reset := h.next(func(l cache.Live) bool { return l.Reset != "" })
	require.Contains(t, reset.Reset, "the slot was lost")
}

// What is told has its bounds, whatever is changed.
func TestLiveBounds(t *testing.T) {
	l := newLive(nil, time.Now)
	l.listening.Store(true)
	m := newMatcher([]cache.Shape{byID})
	msg := &events.Changes{Schema: "public", Table: "blogs", Committed: time.Now()}
	for i := range 3 * liveChanges {
		key := row("id", strings.Repeat("é", 1000)+fmt.Sprint(i))
		msg.Changes = append(msg.Changes, events.Change{Op: events.Insert, Key: key, New: key})
	}
	var w watched
	l.note(&w, m, msg)
	require.Len(t, w.changes, liveChanges)
	require.Equal(t, 2*liveChanges, w.more)
	require.LessOrEqual(t, len(w.changes[0].Key), 2*liveText+len("…"))
	require.True(t, strings.HasSuffix(w.changes[0].Key, "é…"))

	// The apply path does not wait for whoever publishes.
	for range liveQueue + 3 {
		l.applied(&w, cache.State{}, nil)
	}
	require.Equal(t, uint64(3), l.dropped.Load())
}

// While nobody listens nothing is matched a second time, and nothing waits to be told.
func TestLiveUnheard(t *testing.T) {
	l := newLive(nil, time.Now)
	var w watched
	l.note(&w, nil, &events.Changes{Changes: make([]events.Change, 3)})
	l.applied(&w, cache.State{}, nil)
	l.cleared(cache.State{}, "a reason")
	require.Empty(t, w.changes)
	require.Empty(t, l.queue)
}
