package invalidator

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/testenv"
)

// What the log has lost is found out, and everything is cleared. In each case the invalidator was away while blog 1 changed, and
// the change cannot be read any more.
func TestGapsClearEverything(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(r *rig, at uint64) // the log was applied up to at
	}{
		{"purged, and written since", func(r *rig, _ uint64) {
			r.update("1")
			require.NoError(r.t, r.stream().Purge(r.t.Context()))
			r.watermark()
		}},
		{"purged, and silent", func(r *rig, _ uint64) {
			r.update("1")
			require.NoError(r.t, r.stream().Purge(r.t.Context()))
		}},
		{"a message deleted in the middle", func(r *rig, _ uint64) {
			r.watermark()
			gone := r.update("1")
			r.watermark()
			require.NoError(r.t, r.stream().DeleteMsg(r.t.Context(), gone))
		}},
		{"the next message deleted", func(r *rig, at uint64) {
			r.update("1")
			r.watermark()
			require.NoError(r.t, r.stream().DeleteMsg(r.t.Context(), at+1))
		}},
		{"created again, and shorter", func(r *rig, at uint64) {
			r.recreate()
			r.session = "s2"
			require.Less(r.t, r.watermark(), at)
		}},
		{"created again, and as long", func(r *rig, at uint64) {
			r.recreate()
			r.session = "s2"
			for r.watermark() < at {
			}
			r.watermark()
		}},
		{"created again, and longer", func(r *rig, at uint64) {
			r.recreate()
			r.session = "s2"
			for r.watermark() < at+20 {
			}
		}},
		// The storage lost its tail; two sessions later the numbers are beyond what was applied.
		{"numbers given out again", func(r *rig, at uint64) {
			r.recreate()
			for r.watermark() < at-1 {
			}
			r.previous, r.session = r.session, "s2"
			for r.update("1") < at+5 {
			}
			r.watermark()
		}},
		{"numbers given out again, by a third session at the next one", func(r *rig, at uint64) {
			r.recreate()
			for r.watermark() < at-1 {
			}
			r.previous, r.session = r.session, "s2"
			require.Equal(r.t, at, r.update("1"))
			r.previous, r.session = r.session, "s3"
			require.Equal(r.t, at+1, r.watermark())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			v, first := r.applied("old")
			require.NoError(t, v.stop())
			tt.do(r, first.Sequence)
			v = r.start()
			s := r.newChain(first)
			begun(t, 1, v)
			require.NotEqual(t, first.Generations, s.Generations)
			r.goesOn()
		})
		// Running, it may have received the message before it was gone: then its bucket is cleared, which will do.
		t.Run(tt.name+", under its eyes", func(t *testing.T) {
			r := newRig(t, byID)
			_, first := r.applied("old")
			r.holdUp(func() { tt.do(r, first.Sequence) })
			testenv.Eventually(t, patience, func() (bool, string) {
				return string(r.get("1", "new").Body) != "old", "the change of blog 1 should be noticed"
			})
			r.goesOn()
		})
	}
}

// applied starts an invalidator that has applied a few messages, and fills blogs 1 and 2.
func (r *rig) applied(body string) (*running, cache.State) {
	r.t.Helper()
	v := r.start()
	for range 5 {
		r.watermark()
	}
	s := r.caughtUp()
	r.fill(body, "1", "2")
	return v, s
}

// goesOn requires that changes are applied, with nothing cleared but what they touch.
func (r *rig) goesOn() {
	r.t.Helper()
	r.watermark()
	r.caughtUp()
	for _, id := range []string{"1", "2"} {
		require.NotEqual(r.t, cache.Bypass, r.get(id, "new").Status)
	}
	r.update("1")
	r.watermark()
	r.caughtUp()
	r.miss("1")
	require.Equal(r.t, cache.Hit, r.get("2", "").Status)
}

// holdUp keeps writes from Redis while do runs.
func (r *rig) holdUp(do func()) {
	r.t.Helper()
	require.NoError(r.t, r.client.Do(r.t.Context(), "CLIENT", "PAUSE", 60000, "WRITE").Err())
	do()
	require.NoError(r.t, r.client.Do(r.t.Context(), "CLIENT", "UNPAUSE").Err())
}

// recreate replaces the stream by an empty one of the same name.
func (r *rig) recreate() {
	r.t.Helper()
	require.NoError(r.t, r.js.DeleteStream(r.t.Context(), events.StreamName(source)))
	r.create()
}

func (r *rig) create() {
	r.t.Helper()
	testenv.Eventually(r.t, patience, func() (bool, string) { // the server removes its files in the background
		_, err := events.EnsureStream(r.t.Context(), r.js, events.StreamSettings{Source: source})
		return err == nil, fmt.Sprint(err)
	})
	r.last = 0
}

// A session that goes on where another one ended is no gap.
func TestSessionsFollowOneAnother(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	first := r.caughtUp()
	r.fill("old", "1", "2")
	for i := range 3 {
		r.previous, r.session = r.session, fmt.Sprint("next", i)
		r.watermark()
		if i == 1 {
			r.caughtUp()
		}
	}
	r.update("1")
	require.Equal(t, first.Chain, r.caughtUp().Chain)
	r.miss("1")
	r.hit("2", "old")
	require.Len(t, v.reasons(), 1)
}

func TestResetClearsEverything(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	first := r.caughtUp()
	r.fill("old", "1", "2")
	r.setShapes(byID, users) // registered in the part of the log that was lost
	at := r.reset("s9")
	s := r.newChain(first)
	require.Equal(t, at, s.Sequence)
	require.Equal(t, r.position, s.Position, "which may be behind the old one")
	require.Equal(t, "s9", s.Session)
	require.Len(t, s.Generations, 3, "byID, users and the catalog's")
	r.miss("1")
	r.miss("2")
	r.update("1")
	r.watermark()
	r.caughtUp()
	r.miss("1")
	require.Equal(t, []string{"there is no watermark", "reset: the slot was lost"}, v.reasons())
}

// A reset in the middle of a batch: what stands before it is cleared anyway, what stands after it is applied.
func TestResetAmongOthers(t *testing.T) {
	r := newRig(t, byID)
	r.start()
	first := r.caughtUp()
	r.fill("old", "1")
	r.holdUp(func() {
		r.update("1")
		r.reset("s2")
		r.update("2")
		r.reset("s3")
		r.update("3")
		r.watermark()
	})
	s := r.newChain(first)
	require.Equal(t, "s3", s.Session)
	require.Equal(t, r.position, s.Position)
	r.miss("1")
}

// A message that cannot be read stops the invalidator; the watermark does not pass it.
func TestUndecodableMessage(t *testing.T) {
	headers := func(session string) nats.Header { return nats.Header{events.HeaderSession: []string{session}} }
	change := events.ChangeSubject(source, "public", "blogs")
	for name, m := range map[string]*nats.Msg{
		"a change that is no JSON":          {Subject: change, Data: []byte("{")},
		"an empty change":                   {Subject: change},
		"a change of another version":       {Subject: change, Data: []byte(`{"version":2,"schema":"public","table":"blogs","changes":[]}`)},
		"a change of an unknown operation":  {Subject: change, Data: []byte(`{"version":1,"schema":"public","table":"blogs","changes":[{"op":"merge"}]}`)},
		"a shape that is no JSON":           {Subject: events.ChangeSubject(source, cache.RegistrySchema, cache.RegistryTable), Data: []byte("x")},
		"a watermark without a position":    {Subject: events.WatermarkSubject(source), Data: []byte(`{"version":1,"position":"x"}`)},
		"a watermark of another version":    {Subject: events.WatermarkSubject(source), Data: []byte(`{"version":99,"position":"0/1"}`)},
		"a reset of another version":        {Subject: events.ResetSubject(source), Data: []byte(`{"version":99}`)},
		"a subject that is none of the log": {Subject: "cdc." + source + ".schema", Data: []byte(`{}`)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID)
			v := r.start()
			first := r.caughtUp()
			r.fill("old", "1")
			before := r.last
			m.Header = headers(r.session)
			bad := r.publish(m)
			r.update("1")
			r.watermark()

			err := v.wait()
			require.ErrorContains(t, err, fmt.Sprintf("stream sequence %d", bad))
			s, found := r.state()
			require.True(t, found)
			require.LessOrEqual(t, s.Sequence, before)
			require.Equal(t, first.Chain, s.Chain)

			err = r.start().wait()
			require.ErrorContains(t, err, fmt.Sprintf("stream sequence %d", bad), "nor after a restart")
			s, _ = r.state()
			require.Equal(t, before, s.Sequence)

			// Whoever takes the message out of the log has made a gap, and that is one.
			require.NoError(t, r.stream().DeleteMsg(t.Context(), bad))
			r.start()
			r.newChain(first)
			r.miss("1")
		})
	}
}

// A cache belongs to one source: another one's is left alone.
func TestCacheOfAnotherSource(t *testing.T) {
	r := newRig(t, byID)
	theirs := cache.State{Source: "other", Chain: cache.NewToken(), Session: "s", Sequence: 7, Stamp: cache.NewToken()}
	ok, err := r.store.Begin(t.Context(), cache.State{}, theirs)
	require.NoError(t, err)
	require.True(t, ok)
	require.ErrorContains(t, r.start().wait(), `holds the cache of the source "other"`)
	s, found := r.state()
	require.True(t, found)
	require.Equal(t, theirs.Chain, s.Chain)
}

// The processes may be started in any order: the stream comes when cdc does.
func TestStreamMissingAtTheStart(t *testing.T) {
	r := newRig(t, byID)
	require.NoError(t, r.js.DeleteStream(t.Context(), events.StreamName(source)))
	r.start()
	r.create()
	r.watermark()
	r.caughtUp()
	r.miss("1")
}

func TestEmptyStreamAtTheStart(t *testing.T) {
	r := newRig(t, byID)
	r.recreate()
	r.start()
	testenv.Eventually(t, patience, func() (bool, string) {
		_, found := r.state()
		return found, "a chain should begin"
	})
	require.Equal(t, cache.ReasonStale, r.get("1", "x").Reason, "nobody knows yet how old the cache is")
	r.watermark()
	r.caughtUp()
	r.miss("1")
}

// follow is the rule by which messages are taken: the next one, of a session that goes on with the one before.
func TestFollow(t *testing.T) {
	const at = 10
	for _, tt := range []struct {
		name     string
		received uint64 // before it
		sequence uint64
		kind     events.Kind
		session  string
		previous string
		known    string
		applied  bool
		gap      bool
	}{
		{name: "the next", received: at, sequence: at + 1, session: "a", known: "a"},
		{name: "one missing", received: at, sequence: at + 2, session: "a", known: "a", gap: true},
		{name: "one again", received: at, sequence: at, session: "a", known: "a", gap: true},
		{name: "of the session that follows", received: at, sequence: at + 1, session: "b", previous: "a", known: "a"},
		{name: "of another session", received: at, sequence: at + 1, session: "b", known: "a", gap: true},
		{name: "of a session that follows another", received: at, sequence: at + 1, session: "c", previous: "b", known: "a", gap: true},
		{name: "without a session", received: at, sequence: at + 1, known: "a", gap: true},
		{name: "the first that is applied", received: at, sequence: at + 1, session: "b", known: ""},
		{name: "a reset of another session", received: at, sequence: at + 1, kind: events.KindReset, session: "b", known: "a"},
		{name: "applied by another invalidator", received: at - 2, sequence: at - 1, session: "a", known: "a", applied: true},
		{name: "applied, of the session before", received: at - 2, sequence: at - 1, session: "x", known: "a", applied: true},
		{name: "the last that was applied", received: at - 1, sequence: at, session: "a", known: "a", applied: true},
		{name: "in the place of the last that was applied", received: at - 1, sequence: at, session: "b", previous: "a", known: "a", gap: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind := tt.kind
			if kind == "" {
				kind = events.KindChange
			}
			a := &applier{received: tt.received}
			s := &step{next: cache.State{Chain: "c", Session: tt.known, Sequence: at}, clear: newClearing()}
			h := nats.Header{}
			if tt.session != "" {
				h[events.HeaderSession] = []string{tt.session}
			}
			if tt.previous != "" {
				h[events.HeaderPrevious] = []string{tt.previous}
			}
			applied, err := a.follow(s, tt.sequence, kind, h)
			if tt.gap {
				var gap *events.GapError
				require.ErrorAs(t, err, &gap)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.applied, applied)
			require.Equal(t, tt.sequence, a.received)
			if !applied {
				require.Equal(t, tt.session, s.next.Session)
				require.Equal(t, tt.sequence, s.next.Sequence)
			}
		})
	}
}

// Between the beginning of a chain and the first message another stream takes the place of the one that the chain began on.
func TestStreamReplacedAfterTheChainBegan(t *testing.T) {
	r := newRig(t, byID)
	for range 5 {
		r.watermark()
	}
	cfg := r.config()
	a := &applier{Invalidator: New(cfg), registry: events.ChangeSubject(source, cache.RegistrySchema, cache.RegistryTable)}
	require.NoError(t, a.begin(t.Context(), clearGap, "test"))
	at := r.last
	r.recreate()
	r.session = "s2"
	for r.watermark() < at+5 {
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var gap *events.GapError
	require.ErrorAs(t, a.consume(ctx), &gap)
}
