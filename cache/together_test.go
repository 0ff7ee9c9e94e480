package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// together is a fill of several queries whose snapshot shows nothing later than the mark.
func together(m Mark, bodies ...string) FillAll {
	return func(context.Context) ([]Result, error) {
		results := make([]Result, len(bodies))
		for i, body := range bodies {
			results[i] = Result{Found: true, Body: []byte(body), Seen: m}
		}
		return results, nil
	}
}

// unwantedAll is a fill that must not be run.
func (r *rig) unwantedAll(context.Context) ([]Result, error) {
	r.t.Error("statements that nobody wants were run")
	return nil, errors.New("unwanted")
}

// put caches a blog of that moment.
func (r *rig) put(id, body string, m Mark) {
	r.t.Helper()
	_, err := r.reader.Get(r.t.Context(), blog(id), seen(body, m))
	require.NoError(r.t, err)
}

func (r *rig) getAll(fill FillAll, reqs ...Request) *Together {
	r.t.Helper()
	all, err := r.reader.GetAll(r.t.Context(), reqs, fill)
	require.NoError(r.t, err)
	return all
}

// outcomeAll is what a GetAll in a goroutine returned.
type outcomeAll struct {
	all *Together
	err error
}

// startAll asks in a goroutine.
func (r *rig) startAll(fill FillAll, reqs ...Request) <-chan outcomeAll {
	ctx, out := r.t.Context(), make(chan outcomeAll, 1)
	go func() {
		all, err := r.reader.GetAll(ctx, reqs, fill)
		out <- outcomeAll{all, err}
	}()
	return out
}

func bodies(all *Together) []string {
	texts := make([]string, len(all.Answers))
	for i, a := range all.Answers {
		texts[i] = string(a.Body)
	}
	return texts
}

// A transaction changes two rows. One was cached before it, the other after it, and what clears the first has not arrived yet: both
// are valid, each by itself, and together they show half of a transaction.
func TestEntriesOfDifferentMomentsAreNotServedTogether(t *testing.T) {
	for name, order := range map[string][]Request{
		"the newer one last": {blog("1"), blog("2")}, "the newer one first": {blog("2"), blog("1")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			r.put("1", "before", Mark{Position: 90})
			r.put("2", "after", Mark{Position: 150})
			for id, want := range map[string]string{"1": "before", "2": "after"} {
				alone := r.get(blog(id), "never run")
				require.Equal(t, Hit, alone.Status)
				require.Equal(t, want, string(alone.Body))
			}
			all := r.getAll(together(Mark{Position: 160}, "after", "after"), order...)
			require.Equal(t, Miss, all.Status)
			require.Equal(t, []string{"after", "after"}, bodies(all))
			require.Equal(t, Mark{Position: 160}, all.Mark)
		})
	}
}

// What one entry has seen has to be at or below the watermark, and on its timeline.
func TestTogetherNeedsAWatermarkPastEachEntry(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second Mark
		want          Status
	}{
		{"both older", Mark{1, 90}, Mark{1, 150}, Hit},
		{"exactly there", Mark{1, 200}, Mark{1, 200}, Hit},
		{"the second is newer by the least", Mark{1, 200}, Mark{1, 201}, Miss},
		{"the first is newer", Mark{1, 201}, Mark{1, 90}, Miss},
		{"both newer, and of one moment", Mark{1, 201}, Mark{1, 201}, Miss},
		{"an unknown timeline", Mark{1, 90}, Mark{0, 200}, Hit},
		{"a later timeline", Mark{1, 90}, Mark{2, 50}, Miss},
		{"nobody knows of what moment the first is", Mark{}, Mark{1, 90}, Miss},
		{"nobody knows of what moment the second is", Mark{1, 90}, Mark{}, Miss},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			r.state.Timeline = 1
			r.apply(Batch{})
			require.Equal(t, Mark{1, 200}, r.state.Mark)
			r.put("1", "cached 1", tt.first)
			r.put("2", "cached 2", tt.second)
			all := r.getAll(together(Mark{1, 190}, "filled 1", "filled 2"), blog("1"), blog("2"))
			require.Equal(t, tt.want, all.Status)
			if tt.want == Hit {
				require.Equal(t, []string{"cached 1", "cached 2"}, bodies(all))
				require.Equal(t, r.state.Mark, all.Mark)
				return
			}
			require.Equal(t, []string{"filled 1", "filled 2"}, bodies(all))
			require.Equal(t, Mark{1, 190}, all.Mark)
			require.Equal(t, Hit, r.getAll(r.unwantedAll, blog("1"), blog("2")).Status, "what was filled is of one moment, and known")
		})
	}
}

// A change takes a moment to arrive, and running every query again takes longer than that.
func TestTogetherWaitsForTheWatermark(t *testing.T) {
	for _, tt := range []struct {
		name  string
		clear string
		want  Status
		say   []string
	}{
		{"which passes the newer entry", "3", Hit, []string{"before", "after"}},
		{"which clears the older entry", "1", Miss, []string{"filled 1", "filled 2"}},
		{"which clears the newer entry", "2", Miss, []string{"filled 1", "filled 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with()
			r.put("1", "before", Mark{Position: 90})
			r.put("2", "after", Mark{Position: 150})
			out := r.startAll(together(Mark{Position: 210}, "filled 1", "filled 2"), blog("1"), blog("2"))
			r.waiters(1)
			require.Empty(t, out)
			r.clear(byID.Tag(tt.clear)) // moves the watermark to 200
			got := <-out
			require.NoError(t, got.err)
			require.Equal(t, tt.want, got.all.Status)
			require.Equal(t, tt.say, bodies(got.all))
		})
	}
}

// The watch has seen a watermark that may be gone a moment later, with the server that it was on. It
// waits once: a request that entries go on to overtake would never end.
func TestTogetherLooksAgainAfterItHasWaited(t *testing.T) {
	r := newRig(t, byID).with(func(cfg *ReaderConfig) { cfg.Patience = time.Hour })
	r.put("1", "before", Mark{Position: 90})
	r.put("2", "after", Mark{Position: 150})
	lookups := 0
	r.client.AddHook(&beforePipeline{func(names []string) {
		if names[0] != "multi" {
			return
		}
		if lookups++; lookups == 2 { // a server that lags takes over
			r.client.HSet(t.Context(), r.store.watermark(), fieldPosition, "0/64")
		}
	}})
	out := r.startAll(together(Mark{Position: 160}, "after", "after"), blog("1"), blog("2"))
	r.waiters(1)
	r.apply(Batch{})
	select {
	case got := <-out:
		require.NoError(t, got.err)
		require.Equal(t, Miss, got.all.Status)
		require.Equal(t, []string{"after", "after"}, bodies(got.all))
	case <-time.After(10 * time.Second):
		t.Fatal("it waits again")
	}
}

// One entry that is missing, or no longer valid, is reason enough to run all of the queries: the others may be of another moment.
func TestTogetherIsAMissIfOneIs(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"never cached": func(*rig) {},
		"cleared": func(r *rig) {
			r.put("2", "cached 2", Mark{Position: 90})
			r.clear(byID.Tag("2"))
		},
		"without its token": func(r *rig) {
			r.put("2", "cached 2", Mark{Position: 90})
			r.client.HDel(r.t.Context(), r.store.Bucket(byID.Tag("2")), fieldToken)
		},
		"of another chain": func(r *rig) {
			r.put("2", "cached 2", Mark{Position: 90})
			r.begin(byID)
			r.put("1", "cached 1", Mark{Position: 90})
		},
		"the first, cleared": func(r *rig) {
			r.put("2", "cached 2", Mark{Position: 90})
			r.clear(byID.Tag("1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			r.put("1", "cached 1", Mark{Position: 90})
			spoil(r)
			all := r.getAll(together(Mark{Position: 95}, "filled 1", "filled 2"), blog("1"), blog("2"))
			require.Equal(t, Miss, all.Status)
			require.Equal(t, []string{"filled 1", "filled 2"}, bodies(all))
			for _, a := range all.Answers {
				require.Equal(t, Miss, a.Status)
				require.True(t, a.Stored)
				require.Equal(t, time.Minute, a.TTL)
			}
			alone := r.get(blog("2"), "never run")
			require.Equal(t, Hit, alone.Status, "entries are shared with requests for one query")
			require.Equal(t, "filled 2", string(alone.Body))
		})
	}
}

// Rule 2: what is filled is bound to tokens that were there before the snapshot. What clears a bucket while the queries run kills
// the entry that is stored afterwards, and no other.
func TestTogetherStoresUnderTokensReadBefore(t *testing.T) {
	for _, tt := range []struct {
		name      string
		clear     func(*rig)
		first     Status // of a request for the first query alone, afterwards
		secondHit bool
	}{
		{"the first is cleared", func(r *rig) { require.Equal(r.t, 1, r.clear(byID.Tag("1"))) }, Miss, true},
		{"the second is cleared", func(r *rig) { require.Equal(r.t, 1, r.clear(byID.Tag("2"))) }, Hit, false},
		{"a new chain", func(r *rig) { r.begin(byID) }, Miss, false},
		{"a new generation", func(r *rig) { r.renew(byID) }, Miss, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			late := func(ctx context.Context) ([]Result, error) {
				for _, id := range []string{"1", "2"} {
					there, err := r.client.HExists(ctx, r.store.Bucket(byID.Tag(id)), fieldToken).Result()
					require.NoError(t, err)
					require.True(t, there, "the bucket of %s is open before the queries run", id)
				}
				tt.clear(r)
				return together(Mark{Position: 90}, "old 1", "old 2")(ctx)
			}
			require.Equal(t, []string{"old 1", "old 2"}, bodies(r.getAll(late, blog("1"), blog("2"))))

			all := r.getAll(together(Mark{Position: 95}, "new 1", "new 2"), blog("1"), blog("2"))
			require.Equal(t, Miss, all.Status)
			require.Equal(t, []string{"new 1", "new 2"}, bodies(all))
			all = r.getAll(r.unwantedAll, blog("1"), blog("2"))
			require.Equal(t, Hit, all.Status)
			require.Equal(t, []string{"new 1", "new 2"}, bodies(all))
		})
		t.Run(tt.name+", and each alone", func(t *testing.T) {
			r := newRig(t, byID)
			r.getAll(func(ctx context.Context) ([]Result, error) {
				tt.clear(r)
				return together(Mark{Position: 90}, "old 1", "old 2")(ctx)
			}, blog("1"), blog("2"))
			require.Equal(t, tt.first, r.get(blog("1"), "new 1").Status)
			require.Equal(t, tt.secondHit, r.get(blog("2"), "new 2").Status == Hit)
		})
	}
}

// Nothing is run for a request that wants nothing but the cache.
func TestTogetherOnlyIfCached(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*rig)
		edit    func(*Request)
		hit     bool
	}{
		{"all are cached", func(r *rig) { r.put("1", "a", Mark{Position: 90}); r.put("2", "b", Mark{Position: 90}) }, nil, true},
		{"none is cached", func(*rig) {}, nil, false},
		{"one is cached", func(r *rig) { r.put("1", "a", Mark{Position: 90}) }, nil, false},
		{
			"they are not of one moment",
			func(r *rig) { r.put("1", "a", Mark{Position: 90}); r.put("2", "b", Mark{Position: 150}) }, nil, false,
		},
		{"the cache cannot be used", func(*rig) {}, func(req *Request) { req.MaxStaleness = 0 }, false},
		{"a request is not for the cache", func(*rig) {}, func(req *Request) { req.Tags = nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(impatient)
			tt.prepare(r)
			first := strictly("1", func(req *Request) { req.OnlyIfCached = true })
			if tt.edit != nil {
				tt.edit(&first)
			}
			all, err := r.reader.GetAll(t.Context(), []Request{first, blog("2")}, r.unwantedAll)
			if !tt.hit {
				require.ErrorIs(t, err, ErrNotCached)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Hit, all.Status)
		})
	}
}

// Where one of the queries cannot use the cache, none does: they would not be of one moment. Nothing is stored.
func TestTogetherBypass(t *testing.T) {
	for _, tt := range []struct {
		reason string
		do     func(*rig)
		edit   func(*Request)
	}{
		{ReasonUntagged, nil, func(req *Request) { req.Tags = nil }},
		{"a reason of the caller", nil, func(req *Request) { req.Bypass = "a reason of the caller" }},
		{ReasonNoWatermark, func(r *rig) { r.client.Del(r.t.Context(), r.store.watermark()) }, nil},
		{ReasonForeign, func(r *rig) { r.state.Source = "another"; r.apply(Batch{}) }, nil},
		{ReasonInactive, nil, func(req *Request) { req.Tags = append(req.Tags, users.Tag("1")) }},
		{ReasonSchema, nil, func(req *Request) { req.Catalog = "of another time" }},
		{ReasonStale, nil, func(req *Request) { req.MaxStaleness = 0 }},
		{ReasonUnavailable, func(r *rig) { require.NoError(r.t, r.server.Server.Kill()) }, nil},
		{ReasonNoMark, nil, linearizable},
	} {
		for i, which := range []string{"first", "second"} {
			if i == 1 && (tt.edit == nil || tt.reason == ReasonNoMark) { // of all, or of the first only
				continue
			}
			t.Run(tt.reason+" "+which, func(t *testing.T) {
				r := newRig(t, byID).with(func(cfg *ReaderConfig) {
					cfg.End = func(context.Context) (Mark, error) { return Mark{}, errors.New("no connection") }
				})
				r.put("1", "cached 1", Mark{Position: 90})
				r.put("2", "cached 2", Mark{Position: 90})
				reqs := []Request{blog("1"), blog("2")}
				if tt.do != nil {
					tt.do(r)
				}
				if tt.edit != nil {
					tt.edit(&reqs[i])
				}
				all := r.getAll(together(Mark{Position: 120}, "new 1", "new 2"), reqs...)
				require.Equal(t, Bypass, all.Status)
				require.Equal(t, tt.reason, all.Reason)
				require.Equal(t, Mark{Position: 120}, all.Mark)
				require.Equal(t, []string{"new 1", "new 2"}, bodies(all))
				for _, a := range all.Answers {
					require.Equal(t, Bypass, a.Status)
					require.Equal(t, tt.reason, a.Reason)
					require.False(t, a.Stored)
				}
				if tt.do == nil {
					require.Equal(t, []string{"cached 1", "cached 2"}, bodies(r.getAll(r.unwantedAll, blog("1"), blog("2"))))
				}
			})
		}
	}
}

// stale-if-error, of several queries: while Postgres is down, each must allow for a watermark that is too old for it. What is answered
// is of one moment, and says what it is.
func TestTogetherStaleIfError(t *testing.T) {
	down, failed := errors.New("Postgres is down"), errors.New("division by zero")
	patient := func(id string) Request {
		return strictly(id, func(req *Request) { req.MaxStaleness, req.StaleIfError = 10*time.Second, time.Minute })
	}
	lenient := strictly("2", func(req *Request) { req.MaxStaleness = time.Hour })
	for _, tt := range []struct {
		name   string
		first  Request
		second Request
		seen   Mark // by the second entry
		err    error
		behind time.Duration
		stale  []bool // nil: it is the error
	}{
		{"each allows it", patient("1"), patient("2"), Mark{Position: 90}, down, 69 * time.Second, []bool{true, true}},
		{"one allows it, the other's bound is kept", patient("1"), lenient, Mark{Position: 90}, down, 69 * time.Second, []bool{true, false}},
		{"one does not allow it", patient("1"), blog("2"), Mark{Position: 90}, down, 69 * time.Second, nil},
		{"the other does not allow it", blog("2"), patient("1"), Mark{Position: 90}, down, 69 * time.Second, nil},
		{"older than that", patient("1"), patient("2"), Mark{Position: 90}, down, 71 * time.Second, nil},
		{"Postgres answers, with an error", patient("1"), patient("2"), Mark{Position: 90}, failed, 69 * time.Second, nil},
		{"not of one moment", patient("1"), patient("2"), Mark{Position: 150}, down, 69 * time.Second, nil},
		{"nobody knows of what moment", patient("1"), patient("2"), Mark{}, down, 69 * time.Second, nil},
		{"one is not cached", patient("1"), patient("3"), Mark{Position: 90}, down, 69 * time.Second, nil},
		{"at least a position, though it is there", strictly("1", func(req *Request) {
			*req = patient("1")
			req.AtLeast = Mark{Position: 1}
		}), patient("2"), Mark{Position: 90}, down, 69 * time.Second, nil},
		{"at least a position, of the one whose bound is kept", strictly("1", func(req *Request) {
			req.MaxStaleness, req.AtLeast = time.Hour, Mark{Position: 1}
		}), patient("2"), Mark{Position: 90}, down, 69 * time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			r.put("1", "old 1", Mark{Position: 80})
			r.put("2", "old 2", tt.seen)
			r.with(impatient, func(cfg *ReaderConfig) {
				cfg.Unavailable = func(err error) bool { return errors.Is(err, down) }
				cfg.Now = func() time.Time { return r.state.At.Add(tt.behind) }
			})
			reqs := []Request{tt.first, tt.second}
			all, err := r.reader.GetAll(t.Context(), reqs, func(context.Context) ([]Result, error) { return nil, tt.err })
			if tt.stale == nil {
				require.ErrorIs(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.True(t, all.Stale)
			require.Equal(t, r.state.Mark, all.Mark)
			require.Equal(t, []string{"old 1", "old 2"}, bodies(all))
			for i, a := range all.Answers {
				require.Equal(t, tt.stale[i], a.Stale)
				require.Equal(t, tt.behind, a.Age.Round(time.Second))
			}
			fresh := r.getAll(together(Mark{Position: 120}, "new 1", "new 2"), reqs...)
			require.Equal(t, ReasonStale, fresh.Reason, "Postgres is asked first, each time")
			require.False(t, fresh.Stale)
		})
	}
}

// That a shape is not active, or a definition has changed, is a reason that no policy forgives, though the watermark is too old as well.
func TestTogetherForgivesNoOtherReason(t *testing.T) {
	r := newRig(t, byID)
	r.put("1", "old", Mark{Position: 90})
	r.with(func(cfg *ReaderConfig) {
		cfg.Unavailable = func(error) bool { return true }
		cfg.Now = func() time.Time { return r.state.At.Add(time.Minute) }
	})
	old := strictly("1", func(req *Request) { req.MaxStaleness, req.StaleIfError = time.Second, time.Hour })
	inactive, redefined := old, old
	inactive.Tags = []Tag{byID.Tag("1"), users.Tag("1")}
	redefined.Catalog = "before"
	for reason, other := range map[string]Request{ReasonInactive: inactive, ReasonSchema: redefined} {
		_, err := r.reader.GetAll(t.Context(), []Request{old, other}, func(context.Context) ([]Result, error) { return nil, errors.New("down") })
		require.EqualError(t, err, "down", reason)
		require.Equal(t, reason, r.getAll(together(Mark{Position: 120}, "a", "b"), old, other).Reason)
	}
}

// A definition may change between the first look and the one that opens the buckets: what would be stored then has the wrong tags.
func TestTogetherComparesAgainWhenItOpens(t *testing.T) {
	r := newRig(t, byID)
	lookups := 0
	r.client.AddHook(&beforePipeline{func(names []string) {
		if names[0] != "multi" {
			return
		}
		if lookups++; lookups == 2 {
			r.client.HDel(t.Context(), r.store.watermark(), fieldShape+byID.String())
		}
	}})
	all := r.getAll(together(Mark{Position: 90}, "a", "b"), blog("1"), blog("2"))
	require.Equal(t, Bypass, all.Status)
	require.Equal(t, ReasonInactive, all.Reason)
	require.False(t, all.Answers[0].Stored)
}

// The freshness that is asked for is that of the first request, on top of being of one moment.
func TestTogetherStrict(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Request)
		end  Mark
		wait bool
	}{
		{"linearizable, and nothing was written", linearizable, Mark{Position: 100}, false},
		{"linearizable, and something is on its way", linearizable, Mark{Position: 101}, true},
		{"at least what the cache has", atLeast(Mark{Position: 100}), Mark{}, false},
		{"at least more than the cache has", atLeast(Mark{Position: 101}), Mark{}, true},
		{"both, and the position is further away", func(req *Request) {
			linearizable(req)
			atLeast(Mark{Position: 101})(req)
		}, Mark{Position: 90}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID).with(endsAt(tt.end))
			r.put("1", "a", Mark{Position: 90})
			r.put("2", "b", Mark{Position: 80})
			out := r.startAll(r.unwantedAll, strictly("1", tt.edit), blog("2"))
			if tt.wait {
				r.waiters(1)
				require.Empty(t, out)
				r.clear(byID.Tag("3")) // moves the watermark to 200
			}
			got := <-out
			require.NoError(t, got.err)
			require.Equal(t, Hit, got.all.Status)
			require.Equal(t, []string{"a", "b"}, bodies(got.all))
			require.Equal(t, r.state.Mark, got.all.Mark)
		})
		if !tt.wait {
			continue
		}
		t.Run(tt.name+", for too long", func(t *testing.T) {
			r := newRig(t, byID).with(endsAt(tt.end), impatient)
			r.put("1", "a", Mark{Position: 90})
			r.put("2", "b", Mark{Position: 80})
			all := r.getAll(together(Mark{Position: 101}, "new a", "new b"), strictly("1", tt.edit), blog("2"))
			require.Equal(t, Miss, all.Status)
			require.Equal(t, []string{"new a", "new b"}, bodies(all))
		})
	}
}

// What a request asks for does not do instead of what its entries need.
func TestTogetherStrictEntriesAreOfOneMomentToo(t *testing.T) {
	r := newRig(t, byID).with(impatient, endsAt(Mark{Position: 100}))
	r.put("1", "before", Mark{Position: 90})
	r.put("2", "after", Mark{Position: 150})
	for _, edit := range []func(*Request){linearizable, atLeast(Mark{Position: 100})} {
		all := r.getAll(together(Mark{Position: 160}, "after", "after"), strictly("1", edit), blog("2"))
		require.Equal(t, Miss, all.Status)
		require.Equal(t, []string{"after", "after"}, bodies(all))
	}
}

// An error of the queries is the answer, whether the cache was to be used or not, and nothing is stored.
func TestTogetherPassesErrorsOn(t *testing.T) {
	broken := errors.New("division by zero")
	fail := func(context.Context) ([]Result, error) { return nil, broken }
	r := newRig(t, byID)
	_, err := r.reader.GetAll(t.Context(), []Request{blog("1"), blog("2")}, fail)
	require.ErrorIs(t, err, broken)
	_, err = r.reader.GetAll(t.Context(), []Request{{Field: "untagged"}}, fail)
	require.ErrorIs(t, err, broken)
	require.Equal(t, Miss, r.get(blog("1"), "x").Status)
}

// All the entries and their watermark are read in one step: a batch that is applied between two of them would clear one that was
// read already. The moment between the commands cannot be hit by a test, so that how they are sent is what is looked at.
func TestTogetherReadsInOneStep(t *testing.T) {
	r := newRig(t, byID)
	r.put("1", "a", Mark{Position: 90})
	r.put("2", "b", Mark{Position: 90})
	var sent [][]string
	r.client.AddHook(&beforePipeline{func(names []string) { sent = append(sent, names) }})
	r.getAll(r.unwantedAll, blog("1"), blog("2"))
	require.Equal(t, [][]string{{"multi", "hmget", "hmget", "hmget", "hmget", "exec"}}, sent)
}

// A wait that is over at once still tells what is true now.
func TestReached(t *testing.T) {
	r := newRig(t, byID)
	for _, patience := range []time.Duration{0, 10 * time.Second} {
		got, err := r.reader.Reached(t.Context(), Mark{Position: 100}, patience)
		require.NoError(t, err)
		require.True(t, got, patience)
	}
	got, err := r.reader.Reached(t.Context(), Mark{Position: 101}, 0)
	require.NoError(t, err)
	require.False(t, got)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.reader.Reached(ctx, Mark{Position: 101}, time.Minute)
	require.ErrorIs(t, err, context.Canceled)
}
