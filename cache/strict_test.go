package cache

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// with gives the rig a reader of other settings, and of some patience.
func (r *rig) with(edit ...func(*ReaderConfig)) *rig {
	patient := func(cfg *ReaderConfig) { cfg.Patience = 10 * time.Second }
	r.reader = r.newReader(append([]func(*ReaderConfig){patient}, edit...)...)
	return r
}

// endsAt is a primary whose WAL ends there.
func endsAt(m Mark) func(*ReaderConfig) {
	return func(cfg *ReaderConfig) { cfg.End = func(context.Context) (Mark, error) { return m, nil } }
}

func impatient(cfg *ReaderConfig) { cfg.Patience = 20 * time.Millisecond }

// beforePipeline calls do before each pipeline of the rig's client, with the names of its commands.
type beforePipeline struct{ do func(names []string) }

func (b *beforePipeline) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (b *beforePipeline) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *beforePipeline) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		names := make([]string, len(cmds))
		for i, cmd := range cmds {
			names[i] = cmd.Name()
		}
		b.do(names)
		return next(ctx, cmds)
	}
}

// waiters waits until so many requests wait for the watermark.
func (r *rig) waiters(want int) {
	r.t.Helper()
	eventually(r.t, func() (int, int) {
		w := &r.reader.watch
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.waiters), want
	})
}

// Sharing must not weaken a promise: what a statement that began before the request arrived has seen may lack what the request
// asks for. Bounded requests go on sharing it.
func TestStrictRequestsDoNotJoinAnOlderStatement(t *testing.T) {
	for name, active := range map[string][]Shape{"miss": {byID}, "bypass": nil} {
		for kind, strict := range map[string]Request{
			"linearizable": strictly("1", linearizable), "at least": strictly("1", atLeast(Mark{Position: 1})),
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				r := newRig(t, active...).with(endsAt(Mark{Position: 1}))
				finish := r.delayed(blog("1"), "old")
				finishStrict := r.delayed(strict, "new")
				joined := r.start(t.Context(), blog("1"), r.unwanted)
				r.joined(1)
				require.Equal(t, "newest", string(r.get(strict, "newest").Body), "nor one that another strict request began")
				require.Equal(t, "new", string(finishStrict().Body))
				require.Equal(t, "old", string(finish().Body))
				require.NoError(t, (<-joined).err)
			})
		}
	}
}

// Those that had all arrived before a statement began share it.
func TestStrictRequestsShareAStatementThatBeganAfterThem(t *testing.T) {
	const readers = 6
	r := newRig(t, byID).with(endsAt(Mark{Position: 1}))
	opened := make(chan struct{})
	var opening atomic.Int32
	r.client.AddHook(&beforePipeline{func(names []string) {
		if slices.Contains(names, "hsetnx") {
			if opening.Add(1) == readers {
				close(opened)
			}
			<-opened
		}
	}})
	s := newSlow("x")
	var outs []<-chan outcome
	for range readers {
		outs = append(outs, r.start(t.Context(), strictly("1", linearizable), s.fill)) // a second call would close s.began twice
	}
	r.joined(readers - 1)
	close(s.release)
	for _, out := range outs {
		got := <-out
		require.NoError(t, got.err)
		require.Equal(t, "x", string(got.answer.Body))
	}
}

// A strict request is answered from the cache if the watermark has passed what it asks for; if not, it waits for that.
func TestStrictHit(t *testing.T) {
	for _, tt := range []struct {
		name string
		req  Request
		end  Mark
		wait bool
	}{
		{"linearizable, and nothing was written", strictly("1", linearizable), Mark{Position: 100}, false},
		{"linearizable, and something is on its way", strictly("1", linearizable), Mark{Position: 101}, true},
		{"at least what the cache has", strictly("1", atLeast(Mark{Position: 100})), Mark{}, false},
		{"at least more than the cache has", strictly("1", atLeast(Mark{Position: 101})), Mark{}, true},
		{"both, and nothing was written", strictly("1", func(req *Request) {
			linearizable(req)
			atLeast(Mark{Position: 100})(req)
		}), Mark{Position: 100}, false},
		{"both, and the end is further away", strictly("1", func(req *Request) {
			linearizable(req)
			atLeast(Mark{Position: 90})(req)
		}), Mark{Position: 101}, true},
		{"both, and the position is further away", strictly("1", func(req *Request) {
			linearizable(req)
			atLeast(Mark{Position: 101})(req)
		}), Mark{Position: 90}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(endsAt(tt.end))
			r.get(blog("1"), "x")
			out := r.start(t.Context(), tt.req, r.unwanted)
			if tt.wait {
				r.waiters(1)
				require.Empty(t, out)
				r.clear(byID.Tag("2")) // moves the watermark to 200
			}
			got := <-out
			require.NoError(t, got.err)
			require.Equal(t, Hit, got.answer.Status)
			require.Equal(t, "x", string(got.answer.Body))
			require.Equal(t, r.state.Mark, got.answer.Mark)
		})
	}
}

// What arrives while a strict request waits is seen by it.
func TestStrictRequestSeesWhatClearsTheEntryWhileItWaits(t *testing.T) {
	r := newRig(t, byID).with(endsAt(Mark{Position: 150}))
	r.get(blog("1"), "old")
	out := r.start(t.Context(), strictly("1", linearizable), constant("new"))
	r.waiters(1)
	r.clear(byID.Tag("1"))
	got := <-out
	require.NoError(t, got.err)
	require.Equal(t, Miss, got.answer.Status)
	require.Equal(t, "new", string(got.answer.Body))
}

// Where the promise cannot be kept from the cache in time the answer comes from Postgres.
func TestStrictBypass(t *testing.T) {
	for _, tt := range []struct {
		name   string
		req    Request
		edit   func(*ReaderConfig)
		reason string
	}{
		{"the watermark does not come", strictly("1", linearizable), endsAt(Mark{1, 201}), ReasonBehind},
		{"the watermark does not come to the position", strictly("1", atLeast(Mark{Position: 201})), impatient, ReasonBehind},
		{"the position is of a later timeline", strictly("1", atLeast(Mark{2, 50})), impatient, ReasonBehind},
		{"the primary's WAL is of a later timeline", strictly("1", linearizable), endsAt(Mark{2, 50}), ReasonBehind},
		{"the primary does not say", strictly("1", linearizable), func(cfg *ReaderConfig) {
			cfg.End = func(context.Context) (Mark, error) { return Mark{}, errors.New("no connection") }
		}, ReasonNoMark},
		{"there is nobody who says", strictly("1", linearizable), func(*ReaderConfig) {}, ReasonNoMark},
		{"the watermark is too old all the same", strictly("1", func(req *Request) {
			linearizable(req)
			req.MaxStaleness = 0
		}), endsAt(Mark{Position: 1}), ReasonStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			r.state.Timeline = 1
			r.apply(Batch{})
			require.Equal(t, Mark{1, 200}, r.state.Mark)
			r.with(impatient, tt.edit)
			r.get(blog("1"), "old")
			got := r.get(tt.req, "new")
			require.Equal(t, Bypass, got.Status)
			require.Equal(t, tt.reason, got.Reason)
			require.Equal(t, "new", string(got.Body))
		})
	}
}

// The end must have been asked for after the request arrived: a question that is under way says nothing of what has been acknowledged
// since it was answered.
func TestLinearizableHitNeedsAnEndAskedForAfterItArrived(t *testing.T) {
	p := newPrimary(Mark{Position: 100})
	r := newRig(t, byID).with(impatient, func(cfg *ReaderConfig) { cfg.End = p.ask })
	r.get(blog("1"), "old")
	first := r.start(t.Context(), strictly("1", linearizable), r.unwanted)
	eventually(t, func() (int, int) {
		asked, _ := p.questions()
		return asked, 1
	})
	p.commit(Mark{Position: 101}) // somebody is told that his write is done
	second := r.start(t.Context(), strictly("1", linearizable), constant("new"))
	eventually(t, func() (int, int) {
		e := &r.reader.ends
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.next == nil {
			return 0, 1
		}
		return 1, 1
	})
	p.answer <- struct{}{}
	got := <-first
	require.NoError(t, got.err)
	require.Equal(t, Hit, got.answer.Status)
	p.answer <- struct{}{}
	got = <-second
	require.NoError(t, got.err)
	require.Equal(t, ReasonBehind, got.answer.Reason)
	require.Equal(t, "new", string(got.answer.Body))
}

// What the watch has seen may be gone a moment later, with the server that it saw it on.
func TestStrictRequestLooksAgainAfterItHasWaited(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(r *rig)
		reason string
	}{
		{"a server that lags takes over", func(r *rig) { r.client.HSet(r.t.Context(), r.store.watermark(), fieldPosition, "0/64") }, ReasonBehind},
		{"the watermark is lost", func(r *rig) { r.client.Del(r.t.Context(), r.store.watermark()) }, ReasonNoWatermark},
		{"a shape is retired", func(r *rig) { r.client.HDel(r.t.Context(), r.store.watermark(), fieldShape+byID.String()) }, ReasonInactive},
		{"its watermark is an old one", func(r *rig) { r.client.HSet(r.t.Context(), r.store.watermark(), fieldAt, "1") }, ReasonStale},
		{"Redis is gone", func(r *rig) { require.NoError(r.t, r.server.Server.Kill()) }, ReasonUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(endsAt(Mark{Position: 101}))
			r.get(blog("1"), "old")
			var lookups atomic.Int32
			applied := make(chan struct{})
			r.client.AddHook(&beforePipeline{func(names []string) {
				if slices.Contains(names, "hmget") && lookups.Add(1) == 2 {
					<-applied // its answer has come
					tt.do(r)
				}
			}})
			out := r.start(t.Context(), strictly("1", linearizable), constant("new"))
			r.waiters(1)
			r.apply(Batch{})
			close(applied)
			got := <-out
			require.NoError(t, got.err)
			require.Equal(t, Bypass, got.answer.Status)
			require.Equal(t, tt.reason, got.answer.Reason)
			require.Equal(t, "new", string(got.answer.Body))
		})
	}
}

// Who goes away while he waits begins no statement.
func TestStrictRequestIsCancelledWhileItWaits(t *testing.T) {
	for name, strict := range map[string]func(*ReaderConfig){
		"for the watermark": endsAt(Mark{Position: 101}),
		"for the primary": func(cfg *ReaderConfig) {
			cfg.End = newPrimary(Mark{}).ask
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID).with(strict)
			r.get(blog("1"), "x")
			ctx, cancel := context.WithCancel(t.Context())
			out := r.start(ctx, strictly("1", linearizable), r.unwanted)
			if name == "for the watermark" {
				r.waiters(1)
			}
			cancel()
			require.ErrorIs(t, (<-out).err, context.Canceled)
		})
	}
}
