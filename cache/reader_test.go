package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

func TestBypass(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(r *rig, req *Request)
		reason string
	}{
		{"no watermark", func(r *rig, _ *Request) { r.client.Del(r.t.Context(), r.store.watermark()) }, ReasonNoWatermark},
		{"the shape is not active", func(_ *rig, req *Request) { req.Tags = []Tag{users.Tag("1")} }, ReasonInactive},
		{"the second shape is not active", func(_ *rig, req *Request) { req.Tags = append(req.Tags, users.Tag("1")) }, ReasonInactive},
		{"the shape is retired", func(r *rig, _ *Request) { r.apply(Batch{Retire: []string{byID.String()}}) }, ReasonInactive},
		{"the watermark is too old", func(_ *rig, req *Request) { req.MaxStaleness = time.Nanosecond }, ReasonStale},
		{"no staleness is tolerated", func(_ *rig, req *Request) { req.MaxStaleness = 0 }, ReasonStale},
		{"no watermark message was applied yet", func(r *rig, _ *Request) {
			next := r.state
			next.Stamp = NewToken()
			next.At = time.Time{}
			ok, err := r.store.Begin(r.t.Context(), r.state, next)
			require.NoError(r.t, err)
			require.True(r.t, ok)
		}, ReasonStale},
		{"the clock of Postgres was set back", func(r *rig, _ *Request) {
			next := r.state
			next.Stamp = NewToken()
			next.At = time.Now().Add(time.Minute)
			ok, err := r.store.Begin(r.t.Context(), r.state, next)
			require.NoError(r.t, err)
			require.True(r.t, ok)
		}, ReasonStale},
		{"the cache is another source's", func(r *rig, _ *Request) {
			require.NoError(r.t, r.client.HSet(r.t.Context(), r.store.watermark(), fieldSource, "other").Err())
		}, ReasonForeign},
		{"a definition has changed", func(r *rig, req *Request) {
			req.Catalog = "before"
			require.NoError(r.t, r.client.HSet(r.t.Context(), r.store.watermark(), fieldCatalog, "after").Err())
		}, ReasonSchema},
		{"whether a definition has changed is not known", func(_ *rig, req *Request) { req.Catalog = "before" }, ReasonSchema},
		{"the caller has a reason", func(_ *rig, req *Request) { req.Bypass = "a reason" }, "a reason"},
		{"the caller has a reason, and no tags", func(_ *rig, req *Request) { req.Bypass, req.Tags = "a reason", nil }, "a reason"},
		{"it depends on nothing", func(_ *rig, req *Request) { req.Tags = nil }, ReasonUntagged},
		{"Redis is gone", func(r *rig, _ *Request) { require.NoError(r.t, r.server.Server.Kill()) }, ReasonUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			req := blog("1")
			require.Equal(t, Miss, r.get(req, "first").Status)
			tt.do(r, &req)
			for _, body := range []string{"second", "third"} {
				got := r.get(req, body)
				require.Equal(t, Bypass, got.Status)
				require.Equal(t, tt.reason, got.Reason)
				require.Equal(t, body, string(got.Body))
				require.False(t, got.Stored)
			}
		})
	}
}

// A bypass neither opens nor fills a bucket.
func TestBypassStoresNothing(t *testing.T) {
	r := newRig(t)
	r.get(blog("1"), "x")
	keys, err := r.client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{r.store.watermark()}, keys)
}

func TestEmptyResultIsCached(t *testing.T) {
	r := newRig(t, byID)
	empty := func(context.Context) (Result, error) { return Result{}, nil }
	got, err := r.reader.Get(t.Context(), blog("1"), empty)
	require.NoError(t, err)
	require.False(t, got.Found)
	require.True(t, got.Stored)
	got = r.get(blog("1"), "never run")
	require.Equal(t, Hit, got.Status)
	require.False(t, got.Found)
	require.Empty(t, got.Body)
	r.clear(byID.Tag("1"))
	require.Equal(t, "there now", string(r.get(blog("1"), "there now").Body))
}

func TestConcurrentMissesRunTheFillOnce(t *testing.T) {
	const readers = 20
	r := newRig(t, byID)
	s := newSlow("x")
	var runs atomic.Int32
	fill := func(ctx context.Context) (Result, error) {
		runs.Add(1)
		return s.fill(ctx)
	}
	outs := []<-chan outcome{r.start(t.Context(), blog("1"), fill)}
	<-s.began
	for range readers {
		outs = append(outs, r.start(t.Context(), blog("1"), fill))
	}
	r.joined(readers)
	close(s.release)
	for _, out := range outs {
		got := <-out
		require.NoError(t, got.err)
		require.Equal(t, "x", string(got.answer.Body))
	}
	require.EqualValues(t, 1, runs.Load())
}

// Also when a miss has looked just before the entry was stored, and would run the fill just after.
func TestMissesInAHurryRunTheFillOnce(t *testing.T) {
	r := newRig(t, byID)
	for round := range 300 {
		var runs atomic.Int32
		fill := func(context.Context) (Result, error) {
			runs.Add(1)
			return Result{Found: true, Body: []byte("x")}, nil
		}
		var outs []<-chan outcome
		for range 6 {
			outs = append(outs, r.start(t.Context(), blog(fmt.Sprint(round)), fill))
		}
		for _, out := range outs {
			require.NoError(t, (<-out).err)
		}
		require.EqualValues(t, 1, runs.Load())
	}
}

// Two entries, and two readers in two processes, do not wait for one another.
func TestOtherEntriesDoNotWait(t *testing.T) {
	r := newRig(t, byID)
	finish := r.delayed(blog("1"), "x")
	require.Equal(t, "y", string(r.get(blog("2"), "y").Body))
	other, err := r.newReader().Get(t.Context(), blog("1"), constant("z"))
	require.NoError(t, err)
	require.Equal(t, "z", string(other.Body))
	finish()
}

// A miss that arrives after an invalidation must not get what a statement read before it.
func TestMissAfterAnInvalidationDoesNotJoinTheOlderFill(t *testing.T) {
	for name, invalidate := range map[string]func(r *rig){
		"bucket":     func(r *rig) { r.clear(byID.Tag("1")) },
		"generation": func(r *rig) { r.renew(byID) },
		"chain":      func(r *rig) { r.begin(byID) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID)
			finish := r.delayed(blog("1"), "old")
			invalidate(r)
			got := r.get(blog("1"), "new")
			require.Equal(t, "new", string(got.Body))
			require.Equal(t, Miss, got.Status)
			require.Equal(t, "old", string(finish().Body), "who asked before may have it")
			got = r.get(blog("1"), "newer")
			require.NotEqual(t, "old", string(got.Body))
		})
	}
}

func TestFillErrorGoesToAllAndIsNotCached(t *testing.T) {
	r := newRig(t, byID)
	failure := errors.New("relation does not exist")
	began, release := make(chan struct{}), make(chan struct{})
	var runs atomic.Int32
	fill := func(context.Context) (Result, error) {
		if runs.Add(1) == 1 {
			close(began)
		}
		<-release
		return Result{Found: true, Body: []byte("x")}, failure
	}
	outs := []<-chan outcome{r.start(t.Context(), blog("1"), fill)}
	<-began
	for range 5 {
		outs = append(outs, r.start(t.Context(), blog("1"), fill))
	}
	r.joined(5)
	close(release)
	for _, out := range outs {
		got := <-out
		require.ErrorIs(t, got.err, failure)
		require.Nil(t, got.answer)
	}
	got := r.get(blog("1"), "mended")
	require.Equal(t, Miss, got.Status)
	require.Equal(t, "mended", string(got.Body))
}

// Who goes away leaves the fill to the others.
func TestCancelledRequest(t *testing.T) {
	r := newRig(t, byID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSlow("x")
	first := r.start(ctx, blog("1"), s.fill)
	<-s.began
	second := r.start(t.Context(), blog("1"), constant("x"))
	r.joined(1)
	cancel()
	got := <-first
	require.ErrorIs(t, got.err, context.Canceled)
	close(s.release)
	got = <-second
	require.NoError(t, got.err)
	require.Equal(t, "x", string(got.answer.Body))
	testenv.Eventually(t, 5*time.Second, func() (bool, string) {
		return r.get(blog("1"), "x").Status == Hit, "the abandoned fill should be stored"
	})

	// Who is gone already begins none.
	_, err := r.reader.Get(ctx, blog("2"), func(context.Context) (Result, error) {
		t.Error("a statement for nobody")
		return Result{}, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

func TestFillIsBounded(t *testing.T) {
	r := newRig(t, byID)
	r.reader = NewReader(ReaderConfig{Store: r.store, Now: time.Now, MaxTTL: time.Hour, FillTimeout: 20 * time.Millisecond})
	defer r.reader.Close()
	_, err := r.reader.Get(t.Context(), blog("1"), newSlow("x").fill)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRedisDownAndBack(t *testing.T) {
	r := newRig(t, byID)
	require.Equal(t, Miss, r.get(blog("1"), "x").Status)
	require.NoError(t, r.server.Server.Kill())
	require.Equal(t, Bypass, r.get(blog("1"), "y").Status)
	require.True(t, r.reader.breaker.open(), "the next request does not wait for Redis")

	// Those that come together share a statement.
	s := newSlow("shared")
	var runs atomic.Int32
	fill := func(ctx context.Context) (Result, error) {
		runs.Add(1)
		return s.fill(ctx)
	}
	outs := []<-chan outcome{r.start(t.Context(), blog("1"), fill)}
	<-s.began
	for range 5 {
		outs = append(outs, r.start(t.Context(), blog("1"), fill))
	}
	r.joined(5)
	close(s.release)
	for _, out := range outs {
		got := <-out
		require.NoError(t, got.err)
		require.Equal(t, ReasonUnavailable, got.answer.Reason)
	}
	require.EqualValues(t, 1, runs.Load())
	require.NoError(t, r.server.Server.Restart(t.Context()))
	ok, err := r.store.Begin(t.Context(), State{}, State{Chain: "c", Stamp: "s", At: time.Now(), Generations: map[string]string{byID.String(): "g"}})
	require.NoError(t, err)
	require.True(t, ok)
	testenv.Eventually(t, 5*time.Second, func() (bool, string) {
		got := r.get(blog("1"), "z")
		return got.Status == Hit, fmt.Sprintf("the cache should be used again: %s %s", got.Status, got.Reason)
	})
}

// An answer that is an error of Redis's own is as quick as any: other entries are still served.
func TestErrorRepliesDoNotOpenTheBreaker(t *testing.T) {
	r := newRig(t, byID)
	r.get(blog("1"), "x")
	require.NoError(t, r.client.Set(t.Context(), r.store.Bucket(byID.Tag("2")), "not a bucket", 0).Err())
	got := r.get(blog("2"), "y")
	require.Equal(t, Bypass, got.Status)
	require.Equal(t, ReasonUnavailable, got.Reason)
	require.Equal(t, Hit, r.get(blog("1"), "z").Status)
	r.clear(byID.Tag("2"))
	require.Equal(t, Miss, r.get(blog("2"), "y").Status)
}

// A full Redis serves what it has.
func TestRedisFull(t *testing.T) {
	r := newRig(t, byID)
	r.get(blog("1"), "x")
	require.NoError(t, r.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Equal(t, Bypass, r.get(blog("2"), "y").Status)
	require.Equal(t, Hit, r.get(blog("1"), "z").Status)
}

// Sharing must not weaken a promise: a bounded request joins only a statement that is younger than its bound.
func TestBypassJoinsOnlyYoungStatements(t *testing.T) {
	r := newRig(t) // the shape is inactive: every request is a bypass
	req := blog("1")
	finish := r.delayed(req, "old")
	joined := r.start(t.Context(), req, constant("never run"))
	r.joined(1)
	strict := req
	strict.MaxStaleness = time.Microsecond
	require.Equal(t, "new", string(r.get(strict, "new").Body), "the statement is older than that")
	require.Equal(t, "old", string(finish().Body))
	late := (<-joined).answer
	require.Equal(t, "old", string(late.Body))
	require.Positive(t, late.Age, "it joined a statement that ran already")

	none := req
	none.MaxStaleness = 0
	finish = r.delayed(none, "old")
	require.Equal(t, "new", string(r.get(none, "new").Body), "it began before the request arrived")
	finish()
}
