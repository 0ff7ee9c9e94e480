package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The mark of an answer is one that nothing in it is later than: what it shows, or what vouches for it, whichever is later. A bypass has
// it too.
func TestMarkOfAnAnswer(t *testing.T) {
	early, late := Mark{Position: 50}, Mark{Position: 150} // the watermark is at 100
	r := newRig(t, byID)
	for i, tt := range []struct{ seen, want Mark }{{Mark{}, Mark{Position: 100}}, {early, Mark{Position: 100}}, {late, late}} {
		req := blog(string(rune('1' + i)))
		for _, status := range []Status{Miss, Hit} {
			got, err := r.reader.Get(t.Context(), req, seen("x", tt.seen))
			require.NoError(t, err)
			require.Equal(t, status, got.Status)
			require.Equal(t, tt.want, got.Mark)
		}
	}
	r.clear(byID.Tag("9")) // the watermark moves on, to 200
	require.Equal(t, Mark{Position: 200}, r.get(blog("3"), "").Mark)

	req := blog("1")
	req.Bypass = "a reason"
	for _, mark := range []Mark{{}, early, {2, 150}} {
		got, err := r.reader.Get(t.Context(), req, seen("x", mark))
		require.NoError(t, err)
		require.Equal(t, mark, got.Mark, "nobody vouches for it but the statement")
	}
}

// Monotonic reads: whoever sends the mark of an answer back never sees less than that answer showed, in whichever entry.
func TestMarkSentBackNeverShowsLess(t *testing.T) {
	for _, by := range []string{"miss", "hit", "bypass"} {
		t.Run(by, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			_, err := r.reader.Get(t.Context(), blog("1"), seen("before", Mark{Position: 90}))
			require.NoError(t, err)

			// A transaction that ends at 150 changes both; the cache has not heard of it yet.
			first := blog("2")
			if by == "bypass" {
				first.Bypass = "a reason"
			}
			after, err := r.reader.Get(t.Context(), first, seen("after", Mark{Position: 150}))
			require.NoError(t, err)
			if by == "hit" {
				after = r.get(first, "never run")
				require.Equal(t, Hit, after.Status)
			}
			got, err := r.reader.Get(t.Context(), strictly("1", atLeast(after.Mark)), seen("after", Mark{Position: 160}))
			require.NoError(t, err)
			require.Equal(t, "after", string(got.Body))
		})
	}
}

// Age is that of the watermark which vouches for a hit; what comes from Postgres has none.
func TestAgeOfAnAnswer(t *testing.T) {
	r := newRig(t, byID)
	r.with(func(cfg *ReaderConfig) { cfg.Now = func() time.Time { return r.state.At.Add(7 * time.Second) } })
	require.Zero(t, r.get(blog("1"), "x").Age)
	require.Equal(t, 7*time.Second, r.get(blog("1"), "x").Age.Round(time.Millisecond))
	req := blog("1")
	req.MaxStaleness = 6 * time.Second
	got := r.get(req, "y")
	require.Equal(t, ReasonStale, got.Reason)
	require.Zero(t, got.Age)
}

// only-if-cached: the cache, or nothing. No statement is run, and no bucket opened.
func TestOnlyIfCached(t *testing.T) {
	r := newRig(t, byID).with(impatient, endsAt(Mark{Position: 101}))
	r.get(blog("1"), "x")
	only := func(id string, edit func(*Request)) Request {
		return strictly(id, func(req *Request) {
			req.OnlyIfCached = true
			edit(req)
		})
	}
	plain := func(*Request) {}
	got, err := r.reader.Get(t.Context(), only("1", plain), r.unwanted)
	require.NoError(t, err)
	require.Equal(t, Hit, got.Status)
	require.Equal(t, "x", string(got.Body))
	got, err = r.reader.Get(t.Context(), only("1", atLeast(Mark{Position: 100})), r.unwanted)
	require.NoError(t, err)
	require.Equal(t, Hit, got.Status)

	keys, err := r.client.DBSize(t.Context()).Result()
	require.NoError(t, err)
	for name, req := range map[string]Request{
		"there is no entry":         only("2", plain),
		"the caller has a reason":   only("1", func(req *Request) { req.Bypass = "a reason" }),
		"it depends on nothing":     only("1", func(req *Request) { req.Tags = nil }),
		"the shape is not active":   only("1", func(req *Request) { req.Tags = []Tag{users.Tag("1")} }),
		"a definition has changed":  only("1", func(req *Request) { req.Catalog = "before" }),
		"the watermark is too old":  only("1", func(req *Request) { req.MaxStaleness = 0 }),
		"the watermark is behind":   only("1", linearizable),
		"the position is not there": only("1", atLeast(Mark{Position: 101})),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.reader.Get(t.Context(), req, r.unwanted)
			require.ErrorIs(t, err, ErrNotCached)
		})
	}
	require.Equal(t, keys, r.client.DBSize(t.Context()).Val(), "no bucket was opened")
	require.NoError(t, r.server.Server.Kill())
	_, err = r.reader.Get(t.Context(), only("1", plain), r.unwanted)
	require.ErrorIs(t, err, ErrNotCached)
}

// The tags of a request are right only for the definitions that they were derived from.
func TestCatalogOfARequest(t *testing.T) {
	r := newRig(t, byID, CatalogShape)
	token, _ := splitGeneration(r.state.Generations[CatalogShape.String()])
	req := blog("1")
	req.Catalog = token
	require.Equal(t, Miss, r.get(req, "x").Status)
	require.Equal(t, Hit, r.get(req, "y").Status)
	r.renew(CatalogShape)
	require.Equal(t, ReasonSchema, r.get(req, "z").Reason)
	req.Catalog = r.state.Generations[CatalogShape.String()]
	require.Equal(t, Hit, r.get(req, "z").Status, "the shape itself is as it was")
}

// A definition that changes after the lookup, before the buckets are opened: what is read now may depend on other tables.
func TestCatalogIsComparedAgainWhenTheBucketsAreOpened(t *testing.T) {
	r := newRig(t, byID, CatalogShape)
	req := blog("1")
	req.Catalog = r.state.Generations[CatalogShape.String()]
	r.client.AddHook(&beforePipeline{func(names []string) {
		if names[0] == "hsetnx" {
			r.renew(CatalogShape)
		}
	}})
	require.Equal(t, ReasonSchema, r.get(req, "x").Reason)
}

// stale-if-error: while Postgres is down, a query may be answered with what is valid and not much too old; it says so.
func TestStaleIfError(t *testing.T) {
	down, failed := errors.New("Postgres is down"), errors.New("division by zero")
	type world struct {
		behind time.Duration // the watermark
		err    error         // of Postgres
		before func(r *rig)
		edit   func(*ReaderConfig)
	}
	for _, tt := range []struct {
		name   string
		change func(req *Request, w *world)
		stale  bool
	}{
		{"as old as it may be", func(*Request, *world) {}, true},
		{"older than it may be", func(_ *Request, w *world) { w.behind = 71 * time.Second }, false},
		{"the policy does not allow it", func(req *Request, _ *world) { req.StaleIfError = 0 }, false},
		{"Postgres answers, with an error", func(_ *Request, w *world) { w.err = failed }, false},
		{"nobody can tell an outage", func(_ *Request, w *world) { w.edit = func(cfg *ReaderConfig) { cfg.Unavailable = nil } }, false},
		{"linearizable", func(req *Request, _ *world) { req.Linearizable = true }, false},
		{"at least a position, though it is there", func(req *Request, _ *world) { req.AtLeast = Mark{Position: 1} }, false},
		{"the bucket was cleared", func(_ *Request, w *world) { w.before = func(r *rig) { r.clear(byID.Tag("1")) } }, false},
		{"a new chain", func(_ *Request, w *world) { w.before = func(r *rig) { r.begin(byID) } }, false},
		{"the entry has expired", func(req *Request, _ *world) { req.TTL = 0 }, false},
		{"another entry", func(req *Request, _ *world) { req.Field = "other@1?1" }, false},
		{"the clock was set back", func(_ *Request, w *world) { w.behind = -time.Minute }, false},
		{"the shape is retired", func(_ *Request, w *world) {
			w.before = func(r *rig) { r.apply(Batch{Retire: []string{byID.String()}}) }
		}, false},
		{"a definition has changed", func(req *Request, _ *world) { req.Catalog = "before" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			req := blog("1")
			req.MaxStaleness, req.StaleIfError = 10*time.Second, time.Minute
			w := world{behind: 69 * time.Second, err: down, before: func(*rig) {}, edit: func(*ReaderConfig) {}}
			tt.change(&req, &w)
			first := blog("1")
			first.TTL = req.TTL
			require.True(t, r.get(first, "old").Stored)
			w.before(r)
			r.with(endsAt(Mark{Position: 1}), func(cfg *ReaderConfig) {
				cfg.Unavailable = func(err error) bool { return errors.Is(err, down) }
				cfg.Now = func() time.Time { return r.state.At.Add(w.behind) }
			}, w.edit)
			got, err := r.reader.Get(t.Context(), req, func(context.Context) (Result, error) { return Result{}, w.err })
			if !tt.stale {
				require.ErrorIs(t, err, w.err)
				return
			}
			require.NoError(t, err)
			require.True(t, got.Stale)
			require.Equal(t, "old", string(got.Body))
			require.Equal(t, w.behind, got.Age.Round(time.Second))

			fresh := r.get(req, "new")
			require.Equal(t, ReasonStale, fresh.Reason)
			require.Equal(t, "new", string(fresh.Body), "Postgres is asked first, each time")
			require.False(t, fresh.Stale)
		})
	}
}
