package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Rule 4: the comparison and what depends on it are one step. The stamp alone tells one write from another: two invalidators may
// write the same session, sequence, position and time, and a server that was set back may get the same ones a second time.
func TestApplyComparesTheStamp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *State)
		ok     bool
	}{
		{"the state that was stored", func(*State) {}, true},
		{"another write of the very same state", func(s *State) { s.Stamp = NewToken() }, false},
		{"the stamp of the write before", func(s *State) { s.Stamp = "before" }, false},
		{"another state", func(s *State) {
			*s = State{Chain: "x", Session: "x", Sequence: 1, Stamp: "x", Mark: Mark{1, 1}, At: time.Now()}
		}, false},
		{"none", func(s *State) { *s = State{} }, false},
		// Whatever else the caller remembers does not matter.
		{"the stamp of that write, and nothing else", func(s *State) { *s = State{Stamp: s.Stamp} }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			r.get(blog("1"), "x")
			before, found, err := r.store.Load(t.Context())
			require.NoError(t, err)
			require.True(t, found)

			last := r.state
			tt.change(&last)
			next := r.state
			next.Sequence += 10
			next.Stamp = NewToken()
			if tt.ok {
				_, ok, err := r.store.Apply(t.Context(), last, Batch{Clear: []Tag{byID.Tag("1")}, Next: next})
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, Miss, r.get(blog("1"), "y").Status)
				_, ok, err = r.store.Apply(t.Context(), last, Batch{Next: State{Chain: "c", Stamp: NewToken()}})
				require.NoError(t, err)
				require.False(t, ok, "it is another state now")
				return
			}
			_, ok, err := r.store.Apply(t.Context(), last, Batch{Clear: []Tag{byID.Tag("1")}, Next: next, Retire: []string{byID.String()}})
			require.NoError(t, err)
			require.False(t, ok)
			ok, err = r.store.Begin(t.Context(), last, next)
			require.NoError(t, err)
			require.False(t, ok)

			after, _, err := r.store.Load(t.Context())
			require.NoError(t, err)
			require.Equal(t, before, after, "nothing was done")
			require.Equal(t, Hit, r.get(blog("1"), "y").Status)
		})
	}
}

// A write without a stamp of its own could not be told from the one before it, or from none.
func TestEachWriteNeedsAStampOfItsOwn(t *testing.T) {
	r := newRig(t, byID)
	r.get(blog("1"), "x")
	for _, stamp := range []string{"", r.state.Stamp} {
		next := r.state
		next.Stamp = stamp
		_, ok, err := r.store.Apply(t.Context(), r.state, Batch{Clear: []Tag{byID.Tag("1")}, Next: next})
		require.ErrorContains(t, err, "stamp")
		require.False(t, ok)
		ok, err = r.store.Begin(t.Context(), r.state, next)
		require.ErrorContains(t, err, "stamp")
		require.False(t, ok)
	}
	require.Equal(t, Hit, r.get(blog("1"), "y").Status)
}

func TestApplyAndBegin(t *testing.T) {
	r := newRig(t, byID, byStatus)
	r.get(blog("1"), "x")
	require.Equal(t, 1, r.clear(byID.Tag("1"), byID.Tag("2")), "one of the two was there")

	// Generations that do not change stay; those retired go.
	r.apply(Batch{Next: State{Generations: map[string]string{users.String(): "u"}}, Retire: []string{byStatus.String()}})
	got, found, err := r.store.Load(t.Context())
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, r.state.Generations, got.Generations)
	require.Equal(t, map[string]string{byID.String(): r.state.Generations[byID.String()], users.String(): "u"}, got.Generations)
	require.Equal(t, r.state.Sequence, got.Sequence)
	require.Equal(t, r.state.Mark, got.Mark)
	require.Equal(t, r.state.Stamp, got.Stamp)
	require.Equal(t, r.state.At.UnixMicro(), got.At.UnixMicro())

	// A new chain leaves nothing of the old state.
	r.begin(users)
	got, _, err = r.store.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, r.state.Generations, got.Generations)

	// A state of which no watermark was applied yet is a state.
	ok, err := r.store.Begin(t.Context(), r.state, State{Chain: "c", Stamp: "s"})
	require.NoError(t, err)
	require.True(t, ok)
	got, found, err = r.store.Load(t.Context())
	require.NoError(t, err)
	require.True(t, found)
	require.True(t, got.At.IsZero())
	require.Empty(t, got.Session)
}

// A watermark that other hands have mangled is the same as none.
func TestMangledWatermark(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mangle func(r *rig, key string)
	}{
		{"no chain", func(r *rig, key string) { r.client.HDel(r.t.Context(), key, fieldChain) }},
		{"no sequence", func(r *rig, key string) { r.client.HDel(r.t.Context(), key, fieldSequence) }},
		{"a sequence that is no number", func(r *rig, key string) { r.client.HSet(r.t.Context(), key, fieldSequence, "-1") }},
		{"no position", func(r *rig, key string) { r.client.HDel(r.t.Context(), key, fieldPosition) }},
		{"a timeline that is none", func(r *rig, key string) { r.client.HSet(r.t.Context(), key, fieldTimeline, "first") }},
		{"a position that is none", func(r *rig, key string) { r.client.HSet(r.t.Context(), key, fieldPosition, "7") }},
		{"a time that is none", func(r *rig, key string) { r.client.HSet(r.t.Context(), key, fieldAt, "noon") }},
		{"a key of another type", func(r *rig, key string) { r.client.Set(r.t.Context(), key, "x", 0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			r.get(blog("1"), "x")
			tt.mangle(r, r.store.watermark())
			got := r.get(blog("1"), "y")
			require.Equal(t, Bypass, got.Status)
			require.Equal(t, "y", string(got.Body))

			_, found, err := r.store.Load(t.Context())
			require.NoError(t, err)
			require.False(t, found)
			ok, err := r.store.Begin(t.Context(), State{}, State{Chain: "new", Stamp: "s", At: time.Now(), Generations: map[string]string{byID.String(): "g"}})
			require.NoError(t, err)
			require.True(t, ok, "a new chain can begin")
			require.Equal(t, Miss, r.get(blog("1"), "z").Status)
		})
	}
}

// Without a stamp nobody can go on from a state.
func TestStateWithoutAStampIsNone(t *testing.T) {
	r := newRig(t, byID)
	require.NoError(t, r.client.HDel(t.Context(), r.store.watermark(), fieldStamp).Err())
	_, found, err := r.store.Load(t.Context())
	require.NoError(t, err)
	require.False(t, found)
	require.Equal(t, ReasonNoWatermark, r.get(blog("1"), "x").Reason)
	r.state = State{}
	r.begin(byID)
	require.Equal(t, Miss, r.get(blog("1"), "x").Status)
}

func TestSweep(t *testing.T) {
	r := newRig(t, byID, users)
	odd := NewShape("public", "a*b")
	r.get(blog("1"), "x")
	r.get(blog("2"), "x")
	for _, tag := range []Tag{users.Tag("1"), odd.Tag()} {
		require.NoError(t, r.client.HSet(t.Context(), r.store.Bucket(tag), fieldToken, "t").Err())
	}
	require.NoError(t, r.client.Set(t.Context(), "others", "1", 0).Err())

	n, err := r.store.Sweep(t.Context(), odd.Tag().Name)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = r.store.Sweep(t.Context(), NewShape("public", "blogs").Tag().Name)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = r.store.Sweep(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	keys, err := r.client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"others", r.store.watermark()}, keys)
}

func TestSweepOfManyAndGlobEscape(t *testing.T) {
	r := newRig(t, byID)
	pipe := r.client.Pipeline()
	for i := range 1234 {
		pipe.HSet(t.Context(), r.store.Bucket(byID.Tag(fmt.Sprint(i))), fieldToken, "t")
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	n, err := r.store.Sweep(t.Context(), "public.*")
	require.NoError(t, err)
	require.Zero(t, n, "a star is a star")
	n, err = r.store.Sweep(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 1234, n)
}

// No key stays for ever but the watermark.
func TestEveryBucketExpires(t *testing.T) {
	r := newRig(t, byID, byStatus)
	req := Request{
		Field: "list@1?", Tags: []Tag{byStatus.Tag("published"), byID.Tag("3")}, TTL: time.Minute, MaxStaleness: time.Minute,
	}
	finish := r.delayed(req, "x")
	r.expiring(2) // opened, nothing stored yet
	finish()
	r.expiring(2)
	finish = r.delayed(blog("4"), "old")
	r.expiring(3)
	r.clear(byID.Tag("4"))
	r.expiring(2)
	finish() // makes the bucket anew, without a token
	r.expiring(3)
}

// expiring requires that there are so many buckets, and that each expires.
func (r *rig) expiring(buckets int) {
	r.t.Helper()
	keys, err := r.client.Keys(r.t.Context(), "*").Result()
	require.NoError(r.t, err)
	require.Len(r.t, keys, buckets+1)
	for _, key := range keys {
		left, err := r.client.PTTL(r.t.Context(), key).Result()
		require.NoError(r.t, err)
		if key == r.store.watermark() {
			require.Negative(r.t, left)
		} else {
			require.Greater(r.t, left, time.Duration(0), key)
			require.LessOrEqual(r.t, left, time.Hour, key)
		}
	}
}

// A bucket with more than 1,000 entries starts afresh, so that no key grows without bound.
func TestBucketIsBounded(t *testing.T) {
	r := newRig(t, byID)
	tag := byID.Tag("1")
	l, err := r.store.open(t.Context(), []Tag{tag}, "x", time.Hour)
	require.NoError(t, err)
	size := func() int64 { return r.client.HLen(t.Context(), r.store.Bucket(tag)).Val() }
	e := &Entry{Bound: l.bound, Expires: time.Now().Add(time.Hour), Result: Result{Found: true, Body: []byte(strings.Repeat("x", 10))}}
	for i := range maxEntries {
		require.NoError(t, r.store.put(t.Context(), tag, fmt.Sprint("entry", i), e, time.Hour))
	}
	require.EqualValues(t, maxEntries+1, size(), "the entries and the token")
	require.NoError(t, r.store.put(t.Context(), tag, "entry0", e, time.Hour))
	require.EqualValues(t, maxEntries+1, size(), "an entry again is no more")
	require.NoError(t, r.store.put(t.Context(), tag, "one more", e, time.Hour))
	require.Zero(t, size())
	again, err := r.store.open(t.Context(), []Tag{tag}, "x", time.Hour)
	require.NoError(t, err)
	require.NotEqual(t, l.bound, again.bound, "with a new token")
}
