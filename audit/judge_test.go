package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
)

// What equals the database is fresh, at once: nobody waits for a watermark.
func TestFresh(t *testing.T) {
	r := newRig(t)
	r.read(r.item("1"))
	r.read(r.item("999")) // no such row: cached too
	r.db.Exec(t, "UPDATE items SET n = n + 1 WHERE id = 2")
	require.Equal(t, fresh, r.a.judge(t.Context(), r.item("1")).verdict)
	require.Equal(t, fresh, r.a.judge(t.Context(), r.item("999")).verdict)
	require.Equal(t, dead, r.a.judge(t.Context(), r.item("2")).verdict)
}

// An entry that still stands, the same, under a watermark that has passed what it lacks is stale, and all is told about it.
func TestStale(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	filled := r.read(s)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	o := r.judge(s, func() { r.apply() }, nil) // applied, and not cleared
	require.Equal(t, stale, o.verdict)
	st := o.stale
	require.Equal(t, "item", st.Query)
	require.Equal(t, map[string]any{"id": "1"}, st.Params)
	require.JSONEq(t, `{"id":1,"grp":1,"n":1}`, st.Cached)
	require.JSONEq(t, `{"id":1,"grp":1,"n":77}`, st.Truth)
	require.Equal(t, filled.Seen.String(), st.Seen)
	require.Equal(t, r.state.Chain, st.Chain)
	require.Len(t, st.Buckets, 1)
	token, err := r.client.HGet(t.Context(), "freshet:public.items:id=1", "token").Result()
	require.NoError(t, err)
	require.Equal(t, Bucket{"freshet:public.items:id=1", token, "public.items(id)", generationToken(r, "public.items(id)")}, st.Buckets[0])
	position, err := cache.ParseMark(st.Position)
	require.NoError(t, err)
	require.True(t, r.state.Reached(position))
	require.Greater(t, position.Position, filled.Seen.Position)

	// A row that is gone, and one that has come, are differences too.
	for _, sql := range []string{"DELETE FROM items WHERE id = 1", "INSERT INTO items VALUES (1, 1, 1)"} {
		r.apply(s.req.Tags...)
		r.read(s)
		r.db.Exec(t, sql)
		require.Equal(t, stale, r.judge(s, func() { r.apply() }, nil).verdict, sql)
	}
}

func generationToken(r *rig, shape string) string {
	generation := r.state.Generations[shape]
	return generation[:16]
}

// Rule: wait for the watermark. A change that is on its way makes an entry differ, and clears it a moment later.
func TestBehindIsNotStale(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	r.read(s)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	o := r.judge(s, func() { r.apply(s.req.Tags...) }, nil)
	require.Equal(t, behind, o.verdict)
	require.Positive(t, o.lag)
}

// Rule: a watermark that does not come decides nothing.
func TestUndecidedWithoutWatermark(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Patience = 50 * time.Millisecond })
	s := r.item("1")
	r.read(s)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	require.Equal(t, undecided, r.judge(s, nil, nil).verdict)
	// Nor one that stops just below.
	before := r.state.Mark
	before.Position++
	require.Equal(t, undecided, r.judge(s, func() { r.applyTo(before, nil) }, nil).verdict)
	// Nor one of the timeline before a failover, however far.
	far := cache.Mark{Timeline: r.state.Timeline, Position: r.end().Position + 1<<30}
	s2 := r.item("2")
	r.read(s2)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 2")
	r.a.wal.PageSize = r.a.wal.SegmentSize // no page header to take off
	end := cache.Mark{Timeline: far.Timeline + 1, Position: r.end().Position}
	first, err := r.a.reader.Inspect(t.Context(), s2.req)
	require.NoError(t, err)
	r.applyTo(far, nil)
	_, reached, err := r.a.lookAgain(t.Context(), s2, first, end)
	require.NoError(t, err)
	require.False(t, reached)
}

// Rule: only the very entry of the first look. One that was cleared and filled anew differs because it is newer.
func TestRefilledIsNotStale(t *testing.T) {
	r := newRig(t)
	for name, during := range map[string]func(s *subject){
		"cleared and filled again": func(s *subject) {
			r.apply(s.req.Tags...)
			// The primary was asked in between: what is filled now is newer than what it said.
			r.db.Exec(t, "UPDATE items SET n = n + 1 WHERE id = 1")
			r.apply(s.req.Tags...)
			r.read(s)
		},
		"filled again under the same tokens": func(s *subject) {
			req := s.req
			req.OnlyIfCached, req.Linearizable, req.TTL, req.AtLeast = false, false, time.Hour, r.end()
			require.NoError(t, r.client.HDel(t.Context(), r.store.Bucket(req.Tags[0]), req.Field).Err())
			answer, err := r.reader.Get(t.Context(), req, func(ctx context.Context) (cache.Result, error) { return r.fill(ctx, s) })
			require.NoError(t, err)
			require.True(t, answer.Stored)
			r.db.Exec(t, "UPDATE items SET n = n + 1 WHERE id = 40") // the WAL goes on
			r.apply()
		},
	} {
		s := r.item("1")
		r.apply(s.req.Tags...)
		r.read(s)
		r.db.Exec(t, "UPDATE items SET n = n + 1 WHERE id = 1")
		require.Equal(t, behind, r.judge(s, func() { during(s) }, nil).verdict, name)
		require.NotNil(t, r.read(s)) // there is an entry, valid, under a watermark that is past everything
	}
}

// Rule: the mark is that of the second look itself. Between the wait and the look Redis may have become another server, that lags.
func TestMarkOfTheLookItself(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Patience = 100 * time.Millisecond })
	s := r.item("1")
	r.read(s)
	before := r.state.Mark
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	looks := 0
	o := r.judge(s, func() { r.apply() }, func() {
		if looks++; looks == 1 {
			r.applyTo(before, nil)
		}
	})
	require.Equal(t, undecided, o.verdict)
}

// What a reader would not be given is not judged: other tokens, another chain or generation, a definition that changed, an old watermark.
func TestUnusableIsNotJudged(t *testing.T) {
	r := newRig(t)
	two := r.ask("two", "x=1:1 y=1:2")
	for name, tt := range map[string]struct {
		spoil  func()
		want   verdict
		reason string
	}{
		"its first bucket is cleared":  {func() { r.apply(two.req.Tags[0]) }, dead, ""},
		"its second bucket is cleared": {func() { r.apply(two.req.Tags[1]) }, dead, ""},
		"a new generation": {func() {
			r.applyTo(r.end(), map[string]string{two.req.Tags[1].Shape.String(): two.req.Tags[1].Shape.NewGeneration()})
		}, dead, ""},
		"a new chain":                    {func() { r.begin(); r.a.outOfDate(t.Context()) }, unserved, cache.ReasonSchema},
		"a definition has changed":       {func() { r.applyTo(r.end(), map[string]string{cache.CatalogShape.String(): "other"}) }, unserved, cache.ReasonSchema},
		"no watermark":                   {func() { require.NoError(t, r.client.FlushAll(t.Context()).Err()) }, unserved, cache.ReasonNoWatermark},
		"the watermark is too old":       {func() { r.agedBy(2 * time.Minute) }, unserved, cache.ReasonStale},
		"the cache is of another source": {func() { require.NoError(t, r.client.HSet(t.Context(), "freshet:watermark", "source", "x").Err()) }, unserved, cache.ReasonForeign},
	} {
		t.Run(name, func(t *testing.T) {
			r := r.again(t)
			two = r.ask("two", "x=1:1 y=1:2")
			r.read(two)
			r.db.Exec(t, "UPDATE others SET n = n + 1")
			require.Equal(t, stale, r.judge(two, func() { r.apply() }, nil).verdict, "it would be, if it were usable")
			tt.spoil()
			o := r.a.judge(t.Context(), two)
			require.Equal(t, tt.want, o.verdict)
			require.Equal(t, tt.reason, o.reason)
		})
	}
}

// again begins a new chain on an empty Redis, with plans that are bound to it.
func (r *rig) again(t *testing.T) *rig {
	t.Helper()
	require.NoError(t, r.client.FlushAll(t.Context()).Err())
	r.state = cache.State{}
	r.begin()
	p, err := r.a.makePlans(t.Context())
	require.NoError(t, err)
	r.a.plans.Store(p)
	return r
}

// agedBy lets the watermark be older.
func (r *rig) agedBy(d time.Duration) {
	require.NoError(r.t, r.client.HSet(r.t.Context(), "freshet:watermark", "at", fmt.Sprint(time.Now().Add(-d).UnixMicro())).Err())
}

// A watermark that has passed the position and grown old since vouches for what it did: the entry is stale, although nobody is served it
// any more.
func TestOldWatermarkDecidesToo(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	r.read(s)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	require.Equal(t, stale, r.judge(s, func() { r.apply(); r.agedBy(time.Hour) }, nil).verdict)
}

// What a change of a definition put out of use meanwhile is not stale, although its own buckets stand.
func TestRedefinedMeanwhileIsNotStale(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	r.read(s)
	r.db.Exec(t, "ALTER TABLE items ALTER grp TYPE text")
	o := r.judge(s, func() { r.applyTo(r.end(), map[string]string{cache.CatalogShape.String(): cache.NewToken()}) }, nil)
	require.Equal(t, behind, o.verdict)
}

// No row is another result than any row.
func TestCompare(t *testing.T) {
	result := func(body string) cache.Result { return cache.Result{Found: body != "", Body: []byte(body)} }
	for _, tt := range []struct {
		x, y string
		want string
	}{
		{"{}", "{}", ""}, {"", "", ""}, {"", "{}", differentRows}, {"{}", "", differentRows},
		{"[1,2]", "[2,1]", differentOrder}, {"[1,1]", "[1,2]", differentRows}, {"[1,2]", "[1,2,2]", differentRows},
		{`[{"a":1,"b":2}]`, `[{"b":2,"a":1}]`, differentOrder}, {"[1,2]", "[2,1]", differentOrder},
		{`{"a":[{"x":[1,2]},3]}`, `{"a":[3,{"x":[2,1]}]}`, differentOrder}, {`{"a":[1,2]}`, `{"a":[1,3]}`, differentRows},
		{`{"a":1.10}`, `{"a":1.11}`, differentRows}, {"x", "y", differentRows},
	} {
		require.Equal(t, tt.want, compare(result(tt.x), result(tt.y)), "%s and %s", tt.x, tt.y)
	}
	require.Equal(t, differentRows, compare(cache.Result{}, cache.Result{Found: true}))
}

// The same rows in another order prove nothing, whichever way: they are counted apart.
func TestReordered(t *testing.T) {
	r := newRig(t)
	s := r.group("1")
	body := string(r.read(s).Body)
	require.Equal(t, fresh, r.a.judge(t.Context(), s).verdict)
	r.forge(s, `[{"id":5,"n":5},{"id":1,"n":1}]`)
	require.Equal(t, stale, r.judge(s, func() { r.apply() }, nil).verdict)
	r.forge(s, "["+body[len(`[{"id":1,"n":1},`):len(body)-1]+`,{"id":1,"n":1}]`)
	o := r.judge(s, func() { r.apply() }, nil)
	require.Equal(t, reordered, o.verdict, body)
	// Behind first: an entry that is cleared meanwhile is no matter of order.
	require.Equal(t, behind, r.judge(s, func() { r.apply(s.req.Tags...) }, nil).verdict)
}

// An entry whose name is too long, and hashed, is judged like any other: its name is kept with it.
func TestHashedName(t *testing.T) {
	r := newRig(t)
	s := r.ask("items", "grp=1:1 least=300:"+strings.Repeat("m", 300)+" any=-")
	place := cache.Place{Tag: s.req.Tags[0].Name, Field: s.req.Field}
	require.Less(t, len(s.req.Field), 200)
	identify := func() (*subject, string) {
		got, reason, err := r.a.identify(t.Context(), r.a.plans.Load(), place)
		require.NoError(t, err)
		return got, reason
	}
	r.read(s)
	got, reason := identify()
	require.Empty(t, reason)
	require.Equal(t, s.args, got.args)
	require.Equal(t, fresh, r.judge(got, nil, nil).verdict)
	r.forge(got, "[]")
	r.db.Exec(t, "UPDATE items SET note = 'z' WHERE id = 1")
	require.Equal(t, stale, r.judge(got, func() { r.apply() }, nil).verdict)
	sum := r.run(func(s Summary) bool { return s.Stale > 0 })
	require.Empty(t, sum.Foreign)
	require.Contains(t, r.stale[0].Params["least"], "mmm")

	// A name that was kept with another entry is not believed.
	other := r.ask("items", "grp=1:1 least=300:"+strings.Repeat("n", 300)+" any=-")
	r.read(other)
	bucket := r.store.Bucket(s.req.Tags[0])
	entry, err := r.client.HGet(t.Context(), bucket, other.req.Field).Result()
	require.NoError(t, err)
	require.NoError(t, r.client.HSet(t.Context(), bucket, s.req.Field, entry).Err())
	_, reason = identify()
	require.Equal(t, unreadable, reason)
	require.NoError(t, r.client.HSet(t.Context(), bucket, s.req.Field, "of another version").Err())
	_, reason = identify()
	require.Equal(t, unreadable, reason)

	require.NoError(t, r.client.Set(t.Context(), bucket, "no hash", 0).Err())
	r.a.one(t.Context(), place)
	require.EqualValues(t, 1, r.a.Summary().Failed)
}

// A query that depends on the time promises its ttl, no more: a difference is none that is stale.
func TestTimed(t *testing.T) {
	r := newRig(t)
	s := r.ask("clock", "id=1:1")
	require.True(t, s.Timed)
	r.read(s)
	require.Equal(t, timed, r.judge(s, func() { r.apply() }, nil).verdict)
}

// An entry that expires while it is judged was not cleared: nothing is said about it.
func TestExpiredMeanwhileIsUndecided(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	req := s.req
	req.OnlyIfCached, req.TTL = false, 300*time.Millisecond
	answer, err := r.reader.Get(t.Context(), req, func(ctx context.Context) (cache.Result, error) { return r.fill(ctx, s) })
	require.NoError(t, err)
	require.True(t, answer.Stored)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	o := r.judge(s, func() {
		<-time.After(req.TTL)
		r.apply()
	}, nil)
	require.Equal(t, undecided, o.verdict)
}

// Who stops the audit gets no verdict on what was under way.
func TestStopIsUndecided(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	r.read(s)
	r.db.Exec(t, "UPDATE items SET n = 77 WHERE id = 1")
	ctx, stop := context.WithCancel(t.Context())
	r.a.hooks.waiting = stop
	require.Equal(t, undecided, r.a.judge(ctx, s).verdict)
}
