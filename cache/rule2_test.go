package cache

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// Rule 2: a fill that has read the old row and is stored after the invalidation must not be served, whatever it was that
// cleared.
func TestDelayedFillIsNotServed(t *testing.T) {
	two := Request{
		Field: "list@1?", Tags: []Tag{byStatus.Tag("published"), users.Tag("7")}, TTL: time.Minute, MaxStaleness: time.Minute,
	}
	for _, tt := range []struct {
		name  string
		req   Request
		clear func(r *rig)
	}{
		{"its bucket is cleared", blog("1"), func(r *rig) { require.Equal(r.t, 1, r.clear(byID.Tag("1"))) }},
		{"the first of two buckets is cleared", two, func(r *rig) { r.clear(two.Tags[0]) }},
		{"the second of two buckets is cleared", two, func(r *rig) { r.clear(two.Tags[1]) }},
		{"cleared, and opened again by another miss", blog("1"), func(r *rig) {
			r.clear(byID.Tag("1"))
			other := blog("1")
			other.Field = "other@1?1"
			r.get(other, "other")
		}},
		{"a new chain", blog("1"), func(r *rig) { r.begin(byID, byStatus, users) }},
		{"a new generation", blog("1"), func(r *rig) { r.renew(byID) }},
		{"a new generation of the second shape", two, func(r *rig) { r.renew(users) }},
		{"everything flushed, and the same state stored again", blog("1"), func(r *rig) {
			require.NoError(r.t, r.client.FlushAll(r.t.Context()).Err())
			ok, err := r.store.Begin(r.t.Context(), State{}, r.state)
			require.NoError(r.t, err)
			require.True(r.t, ok)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID, byStatus, users)
			finish := r.delayed(tt.req, "old")
			tt.clear(r)
			late := finish()
			require.Equal(t, Miss, late.Status)
			require.True(t, late.Stored, "the fill lands late, and lands")

			got := r.get(tt.req, "new")
			require.Equal(t, "new", string(got.Body))
			require.Equal(t, Miss, got.Status)
			got = r.get(tt.req, "never run")
			require.Equal(t, "new", string(got.Body))
			require.Equal(t, Hit, got.Status)
		})
	}
}

func TestEntryIsServedWhileEverythingItIsBoundToIsAlive(t *testing.T) {
	req := Request{
		Field: "list@1?", Tags: []Tag{byStatus.Tag("published"), users.Tag("7")}, TTL: time.Minute, MaxStaleness: time.Minute,
	}
	for _, tt := range []struct {
		name string
		do   func(r *rig)
		hit  bool
	}{
		{"nothing happens", func(*rig) {}, true},
		{"another bucket is cleared", func(r *rig) { r.clear(byStatus.Tag("draft"), users.Tag("8")) }, true},
		{"another shape has a new generation", func(r *rig) { r.renew(byID) }, true},
		{"the first bucket is cleared", func(r *rig) { r.clear(req.Tags[0]) }, false},
		{"the second bucket is cleared", func(r *rig) { r.clear(req.Tags[1]) }, false},
		{"the first shape has a new generation", func(r *rig) { r.renew(byStatus) }, false},
		{"the second shape has a new generation", func(r *rig) { r.renew(users) }, false},
		{"a new chain with the same generations", func(r *rig) {
			next := r.state
			next.Chain, next.Stamp = NewToken(), NewToken()
			ok, err := r.store.Begin(r.t.Context(), r.state, next)
			require.NoError(r.t, err)
			require.True(r.t, ok)
		}, false},
		{"a token is lost", func(r *rig) { r.client.HDel(r.t.Context(), r.store.Bucket(req.Tags[1]), fieldToken) }, false},
		{"the entry is lost", func(r *rig) { r.client.HDel(r.t.Context(), r.store.Bucket(req.Tags[0]), req.Field) }, false},
		{"garbage in the field", func(r *rig) { r.client.HSet(r.t.Context(), r.store.Bucket(req.Tags[0]), req.Field, "\x01garbage") }, false},
		{"an entry of another version", func(r *rig) {
			key := r.store.Bucket(req.Tags[0])
			raw, err := r.client.HGet(r.t.Context(), key, req.Field).Bytes()
			require.NoError(r.t, err)
			raw[0]++
			r.client.HSet(r.t.Context(), key, req.Field, raw)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID, byStatus, users)
			require.Equal(t, Miss, r.get(req, "first").Status)
			tt.do(r)
			got := r.get(req, "second")
			if tt.hit {
				require.Equal(t, Hit, got.Status)
				require.Equal(t, "first", string(got.Body))
				require.Equal(t, `"e"`, got.ETag)
				require.GreaterOrEqual(t, got.Mark.Position, r.state.Position)
			} else {
				require.Equal(t, Miss, got.Status)
				require.Equal(t, "second", string(got.Body))
			}
		})
	}
}

func TestExpiredEntryIsAMiss(t *testing.T) {
	r := newRig(t, byID)
	req := blog("1")
	req.TTL = 30 * time.Millisecond
	r.get(req, "first")
	testenv.Eventually(t, 5*time.Second, func() (bool, string) {
		got := r.get(req, "second")
		if got.Status == Hit && string(got.Body) == "first" {
			require.LessOrEqual(t, got.TTL, req.TTL)
			return false, "the entry is still served"
		}
		require.Equal(t, Miss, got.Status)
		return true, ""
	})
}

// A hit says a position that it reflects at least: the watermark's, read before the buckets.
func TestPositionOfAnAnswer(t *testing.T) {
	r := newRig(t, byID)
	at := r.state.Position
	require.Equal(t, at, r.get(blog("1"), "x").Mark.Position)
	r.clear(byID.Tag("2"))
	require.Equal(t, r.state.Position, r.get(blog("1"), "x").Mark.Position)
	require.Greater(t, r.state.Position, at)
}

// order records the keys of the HMGETs of a pipeline.
type order struct{ keys []string }

func (o *order) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (o *order) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (o *order) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "hmget" {
				o.keys = append(o.keys, cmd.Args()[1].(string))
			}
		}
		return next(ctx, cmds)
	}
}

// Rule 2: the watermark is read before the buckets. The other way round, a bucket that was still there may have been cleared by
// what the watermark says was applied: Position, and all that is promised by it, would be wrong. The moment between the two
// commands cannot be hit by a test, so that their order is what is looked at.
func TestWatermarkIsReadBeforeTheBuckets(t *testing.T) {
	r := newRig(t, byID, byStatus)
	o := &order{}
	r.client.AddHook(o)
	tags := []Tag{byID.Tag("1"), byStatus.Tag("draft")}
	want := []string{r.store.watermark(), r.store.Bucket(tags[0]), r.store.Bucket(tags[1])}
	_, err := r.store.lookup(t.Context(), tags, "x")
	require.NoError(t, err)
	require.Equal(t, want, o.keys)
	o.keys = nil
	_, err = r.store.open(t.Context(), tags, "x", time.Hour)
	require.NoError(t, err)
	require.Equal(t, want, o.keys)
}
