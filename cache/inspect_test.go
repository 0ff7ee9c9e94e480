package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What Inspect calls valid is what Get answers from the cache, whatever has happened to the entry.
func TestInspectAgreesWithGet(t *testing.T) {
	two := Request{Field: "list@1?", Tags: []Tag{byStatus.Tag("published"), users.Tag("7")}, TTL: time.Minute, MaxStaleness: time.Minute, OnlyIfCached: true}
	for name, tt := range map[string]struct {
		change func(r *rig)
		valid  bool
		reason string
	}{
		"nothing":                {func(*rig) {}, true, ""},
		"another bucket cleared": {func(r *rig) { r.clear(users.Tag("8")) }, true, ""},
		"first bucket cleared":   {func(r *rig) { r.clear(two.Tags[0]) }, false, ""},
		"second bucket cleared":  {func(r *rig) { r.clear(two.Tags[1]) }, false, ""},
		"a new generation":       {func(r *rig) { r.renew(users) }, false, ""},
		"a new chain":            {func(r *rig) { r.begin(byStatus, users) }, false, ""},
		"a shape retired":        {func(r *rig) { r.apply(Batch{Retire: []string{users.String()}}) }, false, ReasonInactive},
		"no watermark":           {func(r *rig) { r.client.Del(r.t.Context(), "freshet:watermark") }, false, ReasonNoWatermark},
		"an old watermark": {func(r *rig) {
			r.client.HSet(r.t.Context(), "freshet:watermark", "at", fmt.Sprint(time.Now().Add(-time.Hour).UnixMicro()))
		}, true, ReasonStale},
		"an entry of another version": {func(r *rig) { r.client.HSet(r.t.Context(), r.store.Bucket(two.Tags[0]), two.Field, "\x01x") }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byStatus, users)
			fill := two
			fill.OnlyIfCached = false
			_, err := r.reader.Get(t.Context(), fill, seen("body", Mark{Position: 50}))
			require.NoError(t, err)
			tt.change(r)
			got, getErr := r.reader.Get(t.Context(), two, constant("never run"))
			i, err := r.reader.Inspect(t.Context(), two)
			require.NoError(t, err)
			require.Equal(t, tt.reason, i.Reason)
			require.Equal(t, tt.valid, i.Answer != nil)
			require.Equal(t, tt.valid, i.Identity != "")
			require.Equal(t, getErr == nil, i.Answer != nil && i.Reason == "")
			if i.Answer == nil {
				return
			}
			if getErr == nil {
				require.Equal(t, got.Body, i.Answer.Body)
			}
			require.Equal(t, Mark{Position: 50}, i.Seen)
			if tt.reason == "" {
				require.Equal(t, r.state.Mark, i.Watermark)
			}
			require.WithinDuration(t, time.Now(), i.Filled, time.Minute)
			require.WithinDuration(t, i.Filled.Add(two.TTL), i.Expires, time.Millisecond)
		})
	}
}

// Every fill has an identity of its own, also one of the same bytes under the same tokens.
func TestInspectIdentity(t *testing.T) {
	r := newRig(t, byID)
	ids := map[string]bool{}
	for range 5 {
		r.get(strictly("1", atLeast(Mark{Position: r.state.Position})), "same")
		r.client.HDel(t.Context(), r.store.Bucket(byID.Tag("1")), "blog@1?1")
		r.get(blog("1"), "same")
		i, err := r.reader.Inspect(t.Context(), blog("1"))
		require.NoError(t, err)
		again, err := r.reader.Inspect(t.Context(), blog("1"))
		require.NoError(t, err)
		require.Equal(t, i.Identity, again.Identity)
		ids[i.Identity] = true
	}
	require.Len(t, ids, 5)
}

// Sampling finds entries wherever they are, few among many keys of others, and says when there is none.
func TestSample(t *testing.T) {
	r := newRig(t, byID)
	draw := rand.New(rand.NewPCG(1, 2))
	places, done, err := r.store.Sample(t.Context(), draw)
	require.NoError(t, err)
	require.True(t, done, "a watermark is no bucket")
	require.Empty(t, places)
	for i := range 3000 {
		require.NoError(t, r.client.Set(t.Context(), fmt.Sprint("theirs:", i), "x", 0).Err())
	}
	require.NoError(t, r.client.Set(t.Context(), "freshet:no hash", "x", 0).Err())
	require.NoError(t, r.client.HSet(t.Context(), "freshet:public.blogs:id=open", "token", "t").Err())
	_, done, err = r.store.Sample(t.Context(), draw)
	require.NoError(t, err)
	require.True(t, done, "a bucket that has only its token has no entry")

	for i := range 20 {
		r.get(blog(fmt.Sprint(i)), "body")
	}
	found := map[Place]int{}
	for range 400 {
		places, done, err := r.store.Sample(t.Context(), draw)
		require.NoError(t, err)
		require.False(t, done)
		for _, p := range places {
			found[p]++
		}
	}
	require.Len(t, found, 20)
	for p, n := range found {
		tag, err := ParseTag(p.Tag)
		require.NoError(t, err)
		require.Equal(t, "freshet:"+p.Tag, r.store.Bucket(tag))
		require.Contains(t, p.Field, "blog@1?")
		require.Greater(t, n, 2, "%s is drawn as others are", p.Tag)
	}
}

// Within a bucket every entry is drawn, and never the token.
func TestSampleWithinABucket(t *testing.T) {
	r := newRig(t, byID)
	for i := range 5 {
		req := blog("1")
		req.Field = fmt.Sprint("blog@1?", i)
		r.get(req, "body")
	}
	fields := map[string]bool{}
	draw := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		places, _, err := r.store.Sample(t.Context(), draw)
		require.NoError(t, err)
		require.Len(t, places, 1)
		fields[places[0].Field] = true
	}
	require.Len(t, fields, 5)
	require.NotContains(t, fields, fieldToken)
	n, err := r.store.Evicted(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}
