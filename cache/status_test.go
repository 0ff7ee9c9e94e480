package cache_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/testenv"
)

// What an invalidator says is read as it was said, and is gone when it stops.
func TestStatus(t *testing.T) {
	client := testenv.Redis(t).Client(t)
	store := cache.NewRedis(client, cache.DefaultPrefix)
	read := func() []cache.InvalidatorStatus {
		t.Helper()
		all, err := store.Statuses(t.Context())
		require.NoError(t, err)
		return all
	}
	require.Empty(t, read())
	at := time.Now().UTC().Truncate(time.Millisecond)
	one := cache.InvalidatorStatus{
		Instance: "B", Source: "main", Began: at, At: at, Log: &cache.LogStatus{Stream: "s", LagMessages: 3},
		ClearsByTable: map[string]uint64{"public.blogs": 7}, ClearsByReason: map[string]uint64{"gap": 1},
		TopTags: []cache.TagCount{{Tag: "public.blogs:id=1", Count: 2}}, Verify: &cache.VerifyStatus{Cleared: 4, Overcleared: 1},
	}
	other := cache.InvalidatorStatus{Instance: "A", Began: at, At: at, ClearsByTable: map[string]uint64{}, ClearsByReason: map[string]uint64{}, TopTags: []cache.TagCount{}}
	require.NoError(t, store.WriteStatus(t.Context(), &one))
	require.NoError(t, store.WriteStatus(t.Context(), &other))
	require.Equal(t, []cache.InvalidatorStatus{other, one}, read())
	ttl := client.PTTL(t.Context(), "freshet:status:invalidator:B").Val()
	require.Positive(t, ttl)
	require.LessOrEqual(t, ttl, cache.StatusLife)
	require.NoError(t, store.RemoveStatus(t.Context(), "A"))
	require.Equal(t, []cache.InvalidatorStatus{one}, read())

	// What is lost, or overwritten by other hands, is not there, and comes again.
	require.NoError(t, client.Set(t.Context(), "freshet:status:invalidator:B", "{", 0).Err())
	require.Empty(t, read())
	require.NoError(t, client.Set(t.Context(), "freshet:status:invalidators", "x", 0).Err())
	require.Empty(t, read())
	require.Error(t, store.WriteStatus(t.Context(), &one), "the index is no sorted set")
	require.NoError(t, store.WriteStatus(t.Context(), &one))
	require.Equal(t, []cache.InvalidatorStatus{one}, read())
}

// The keys of the status are no buckets: they are neither sampled, nor cleared by an operator; the sweeper may delete them.
func TestStatusIsNoBucket(t *testing.T) {
	client := testenv.Redis(t).Client(t)
	store := cache.NewRedis(client, cache.DefaultPrefix)
	one := cache.InvalidatorStatus{Instance: "A"}
	require.NoError(t, store.WriteStatus(t.Context(), &one))
	require.NoError(t, client.HSet(t.Context(), "freshet:public.blogs:id=1", "token", "t", "blog?id=1", "entry").Err())

	draw := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		places, _, err := store.Sample(t.Context(), draw)
		require.NoError(t, err)
		for _, p := range places {
			require.Equal(t, cache.Place{Tag: "public.blogs:id=1", Field: "blog?id=1"}, p)
		}
	}
	cleared, err := store.ClearAll(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, cleared)
	all, err := store.Statuses(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)

	_, err = store.Sweep(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, store.WriteStatus(t.Context(), &one))
	all, err = store.Statuses(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// Clearing deletes exactly the buckets that were named.
func TestClear(t *testing.T) {
	client := testenv.Redis(t).Client(t)
	store := cache.NewRedis(client, cache.DefaultPrefix)
	foreign := []string{"other", "other.app:id=1", "freshet:watermark", "freshet:status:invalidators", "freshet:notes"}
	buckets := []string{
		"public.blogs:", "public.blogs:id=4", "public.blogs:id=42", "public.blogs:id=5", "public.blogs:id=4&status=draft",
		"public.blogs:identity=4", "public.blogs:id=%2A", "public.blogs2:id=4", "audit.blogs:id=4",
	}
	for _, test := range []struct {
		name string
		do   func() (int, error)
		gone []string
	}{
		{"everything", func() (int, error) { return store.ClearAll(t.Context()) }, buckets},
		{"table", func() (int, error) { return store.ClearTable(t.Context(), "public", "blogs") }, buckets[:7]},
		{"shape", func() (int, error) { return store.ClearShapes(t.Context(), cache.NewShape("public", "blogs", "id")) },
			[]string{"public.blogs:id=4", "public.blogs:id=42", "public.blogs:id=5", "public.blogs:id=%2A"}},
		{"shapes", func() (int, error) {
			return store.ClearShapes(t.Context(), cache.NewShape("public", "blogs"), cache.NewShape("public", "blogs", "status", "id"))
		}, []string{"public.blogs:", "public.blogs:id=4&status=draft"}},
		{"tag", func() (int, error) {
			return store.ClearTag(t.Context(), cache.NewShape("public", "blogs", "id").Tag("*"))
		},
			[]string{"public.blogs:id=%2A"}},
		{"pattern", func() (int, error) { return store.ClearMatching(t.Context(), "public.blogs:id=4*") },
			[]string{"public.blogs:id=4", "public.blogs:id=42", "public.blogs:id=4&status=draft"}},
		{"pattern of everything", func() (int, error) { return store.ClearMatching(t.Context(), "*") }, buckets},
		{"pattern of no bucket", func() (int, error) { return store.ClearMatching(t.Context(), "watermark*") }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, key := range foreign {
				require.NoError(t, client.Set(t.Context(), key, "x", 0).Err())
			}
			for _, name := range buckets {
				require.NoError(t, client.HSet(t.Context(), "freshet:"+name, "token", "t").Err())
			}
			cleared, err := test.do()
			require.NoError(t, err)
			require.Equal(t, len(test.gone), cleared)
			left := client.Keys(t.Context(), "*").Val()
			want := append([]string{}, foreign...)
			for _, name := range buckets {
				found := false
				for _, gone := range test.gone {
					found = found || gone == name
				}
				if !found {
					want = append(want, "freshet:"+name)
				}
			}
			require.ElementsMatch(t, want, left)
		})
	}
}

// What is cached is counted exactly in a small server, and reckoned up in a large one.
func TestContents(t *testing.T) {
	client := testenv.Redis(t).Client(t)
	store := cache.NewRedis(client, cache.DefaultPrefix)
	fill := func(from, to int) {
		pipe := client.Pipeline()
		for i := from; i < to; i++ {
			n := strconv.Itoa(i)
			pipe.HSet(t.Context(), "freshet:public.blogs:id="+n, "token", "t", "a", "1", "b", "2")
			pipe.HSet(t.Context(), "freshet:public.users:id="+n, "token", "t")
			pipe.Set(t.Context(), "foreign "+n, "x", 0)
			pipe.Set(t.Context(), "freshet:public.odd:id="+n, "no hash", 0)
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
	}
	fill(0, 100)
	c, err := store.Contents(t.Context(), rand.Uint64)
	require.NoError(t, err)
	require.True(t, c.Whole)
	require.EqualValues(t, 400, c.Keys)
	require.EqualValues(t, 400, c.SampledKeys)
	require.InDelta(t, 200, c.Buckets, 0)
	require.InDelta(t, 200, c.Entries, 0)
	require.True(t, c.BytesKnown)
	require.Greater(t, c.Bytes, 100*200.0/4)
	require.InDelta(t, 100, c.Tables["public.users"].Buckets, 0)
	require.InDelta(t, 0, c.Tables["public.users"].Entries, 0)

	fill(100, 5000)
	c, err = store.Contents(t.Context(), rand.New(rand.NewPCG(1, 2)).Uint64)
	require.NoError(t, err)
	require.False(t, c.Whole)
	require.EqualValues(t, 20_000, c.Keys)
	require.Less(t, c.SampledKeys, int64(2000))
	require.InEpsilon(t, 10_000, c.Buckets, 0.2)
	require.InEpsilon(t, 10_000, c.Entries, 0.3)
}
