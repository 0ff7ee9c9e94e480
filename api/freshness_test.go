package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/testenv"
)

// rename gives blog 1 another title behind Freshet's back.
func (s *site) rename(title string) {
	s.t.Helper()
	s.db.Exec(s.t, "UPDATE blogs SET title = $1 WHERE id = 1", title)
}

const path1 = "/blogs/1"

// What a request says decides what it may get: the whole of the table, on a cache that has not heard of the last change.
func TestWhatARequestMaySay(t *testing.T) {
	const old, latest = "Title 1", "Latest"
	s := start(t)
	s.setWatermarkAt(time.Now().Add(-30*time.Second), cache.Mark{Timeline: 1, Position: position(t, "0/10")})
	require.Equal(t, stored, s.get(path1).cacheStatus())
	s.rename(latest)
	end := s.end()
	for _, tt := range []struct {
		name    string
		headers []string
		title   string
		status  string
	}{
		{"nothing", nil, old, hit},
		{"max-age that the watermark keeps", []string{"Cache-Control: max-age=60"}, old, hit},
		{"max-age that it does not keep", []string{"Cache-Control: max-age=20"}, latest, bypass + "watermark-stale"},
		{"max-age in quotes", []string{`Cache-Control: max-age="20"`}, latest, bypass + "watermark-stale"},
		{"in capitals", []string{"Cache-Control: Max-Age=20"}, latest, bypass + "watermark-stale"},
		{"in a list", []string{"Cache-Control: no-transform,  max-age=20 ,x"}, latest, bypass + "watermark-stale"},
		{"in the second of two lines", []string{"Cache-Control: no-transform", "Cache-Control: max-age=20"}, latest, bypass + "watermark-stale"},
		{"max-age that is weaker than the policy", []string{"Cache-Control: max-age=7200"}, old, hit},
		{"max-age twice in a line, the strict one first", []string{"Cache-Control: max-age=20, max-age=60"}, latest, bypass + "watermark-stale"},
		{"max-age twice in a line, the strict one last", []string{"Cache-Control: max-age=60, max-age=20"}, latest, bypass + "watermark-stale"},
		{"max-age in two lines, the strict one first", []string{"Cache-Control: max-age=20", "Cache-Control: max-age=60"}, latest, bypass + "watermark-stale"},
		{"max-age of nothing, and of something", []string{"Cache-Control: max-age=0, max-age=60"}, latest, bypass + "watermark-behind"},
		{"max-age once as it should be", []string{"Cache-Control: max-age=20, max-age=soon"}, latest, bypass + "watermark-stale"},
		{"max-age of nothing", []string{"Cache-Control: max-age=0"}, latest, bypass + "watermark-behind"},
		{"no-cache", []string{"Cache-Control: no-cache"}, latest, bypass + "watermark-behind"},
		{"no-cache in capitals", []string{"Cache-Control: NO-CACHE"}, latest, bypass + "watermark-behind"},
		{"no-cache and max-age", []string{"Cache-Control: max-age=60, no-cache"}, latest, bypass + "watermark-behind"},
		{"no-store", []string{"Cache-Control: no-store"}, latest, bypass + "no-store"},
		{"no-store and no-cache", []string{"Cache-Control: no-store, no-cache"}, latest, bypass + "no-store"},
		{"only-if-cached", []string{"Cache-Control: only-if-cached"}, old, hit},
		// RFC 9111, section 5.2: what a cache does not know or understand it ignores.
		{"max-age without a value", []string{"Cache-Control: max-age"}, old, hit},
		{"max-age that is no number", []string{"Cache-Control: max-age=soon"}, old, hit},
		{"a negative max-age", []string{"Cache-Control: max-age=-1"}, old, hit},
		{"a fraction", []string{"Cache-Control: max-age=0.5"}, old, hit},
		{"a max-age of ages", []string{"Cache-Control: max-age=99999999999999999999"}, old, hit},
		{"what nobody knows", []string{"Cache-Control: no-cache-please, =, ,max-stale=3"}, old, hit},
		{"a position that the cache has", []string{"Freshet-Position: 0/10"}, old, hit},
		{"a position that it has not", []string{"Freshet-Position: 0/11"}, latest, bypass + "watermark-behind"},
		{"a position of another server", []string{"Freshet-Position: 0/1;timeline=2"}, latest, bypass + "watermark-behind"},
		{"two positions", []string{"Freshet-Position: 0/1", "Freshet-Position: 0/11"}, latest, bypass + "watermark-behind"},
		{"two positions the other way round", []string{"Freshet-Position: 0/11", "Freshet-Position: 0/1"}, latest, bypass + "watermark-behind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.get(path1, tt.headers...)
			require.Equal(t, http.StatusOK, r.status, r.body)
			require.Equal(t, tt.title, s.field(r, "title"))
			require.Equal(t, tt.status, r.cacheStatus())
			if tt.status == hit {
				require.Regexp(t, "^[3-5][0-9]$", r.header.Get("Age"))
				require.Less(t, position(t, r.header.Get("Freshet-Position")), end)
			} else {
				require.Equal(t, "0", r.header.Get("Age"))
				s.reflects(r, end)
			}
			require.Equal(t, old, s.field(s.get(path1), "title"), "the entry is as it was: a bypass stores nothing")
		})
	}
}

// A no-cache read is a hit as soon as the watermark has passed what the primary says, and waits a little for that.
func TestLinearizableHit(t *testing.T) {
	s := startBehind(t)
	s.get(path1)
	s.apply(s.end())
	// A page header that the WAL has just begun, or somebody else's transaction in the shared server, may be ahead for a moment.
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.get(path1, "Cache-Control: no-cache")
		require.Equal(t, "Title 1", s.field(r, "title"))
		if r.cacheStatus() != hit {
			s.apply(s.end())
		}
		return r.cacheStatus() == hit, r.cacheStatus()
	})
	s.rename("New")
	r := s.get(path1, "Cache-Control: no-cache")
	require.Equal(t, "New", s.field(r, "title"))
	require.Equal(t, bypass+"watermark-behind", r.cacheStatus())
	s.invalidate("1", s.end())
	r = s.get(path1, "Cache-Control: no-cache")
	require.Equal(t, stored, r.cacheStatus())
	require.Equal(t, "New", s.field(r, "title"))
}

// With an invalidator that keeps up, and somebody who writes all the time, no-cache reads see each write that was acknowledged before
// them, and most of them come from the cache.
func TestLinearizableReadsBesideWrites(t *testing.T) {
	s := startBehind(t)
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	var begun, done atomic.Int64
	g.Go(func() error {
		for cleared := int64(0); ctx.Err() == nil; {
			finished := done.Load()
			end := s.end()
			if begun.Load() == cleared {
				s.apply(end)
				continue
			}
			s.invalidate("1", end) // whatever has ended there has begun
			cleared = finished
		}
		return nil
	})
	hits := 0
	const writes = 60
	for n := range writes {
		title := fmt.Sprint("Title of write ", n)
		begun.Add(1)
		s.rename(title)
		done.Add(1)
		for range 5 {
			r := s.get(path1, "Cache-Control: no-cache")
			require.Equal(t, title, s.field(r, "title"), "%s at %s", r.cacheStatus(), r.header.Get("Freshet-Position"))
			if r.cacheStatus() == hit {
				hits++
			}
		}
	}
	stop()
	require.NoError(t, g.Wait())
	t.Logf("%d of %d no-cache reads were hits", hits, 5*writes)
	require.Greater(t, hits, writes)
}

// no-store: not from the cache, not into it, and not by way of another's statement.
func TestNoStore(t *testing.T) {
	s := start(t, withLocked)
	unlock := s.lock(7)
	var g errgroup.Group
	answers := make([]response, 2)
	for i := range answers {
		g.Go(func() (err error) {
			answers[i], err = s.try(http.MethodGet, "/locked/7", "", "Cache-Control: no-store")
			return err
		})
		s.waiting(i + 1)
	}
	unlock()
	require.NoError(t, g.Wait())
	require.NotEqual(t, answers[0].body, answers[1].body, "each call of the statement has another number")
	require.Equal(t, stored, s.get("/locked/7").cacheStatus(), "there was nothing yet")
}

// only-if-cached: the cache has it, or it is a 504 (RFC 9111, section 5.2.1.7). No statement is run.
func TestOnlyIfCached(t *testing.T) {
	s := startBehind(t, withLocked)
	s.lock(7)
	for _, path := range []string{path1, "/locked/7"} {
		for _, more := range []string{"", ", no-store", ", no-cache", ", max-age=60"} {
			r := s.get(path, "Cache-Control: only-if-cached"+more)
			require.Contains(t, s.problem(r, http.StatusGatewayTimeout, path).Detail, "only-if-cached")
			require.Empty(t, r.header.Get("Retry-After"))
		}
	}
	s.waiting(0)
	require.Equal(t, stored, s.get(path1).cacheStatus(), "nothing was stored")
	require.Equal(t, hit, s.get(path1, "Cache-Control: only-if-cached").cacheStatus())
	s.problem(s.get(path1, "Cache-Control: only-if-cached, no-cache"), http.StatusGatewayTimeout, path1)
	s.problem(s.get(path1, "Cache-Control: only-if-cached", "Freshet-Position: 0/11"), http.StatusGatewayTimeout, path1)
}

// A 304 is answered only where the full answer would be: it says that what the client has is as fresh as it asked for.
func TestNotModifiedKeepsThePromise(t *testing.T) {
	s := startBehind(t)
	etag := s.get(path1).header.Get("ETag")
	for _, strict := range []string{"Cache-Control: no-cache", "Freshet-Position: 0/11", "Cache-Control: no-store"} {
		r := s.get(path1, strict, "If-None-Match: "+etag)
		require.Equal(t, http.StatusNotModified, r.status, strict)
		require.True(t, strings.HasPrefix(r.cacheStatus(), bypass), "%s: Postgres was asked: %s", strict, r.cacheStatus())
	}
	s.rename("New")
	require.Equal(t, http.StatusNotModified, s.get(path1, "If-None-Match: "+etag).status, "within the bound")
	for _, strict := range []string{"Cache-Control: no-cache", "Freshet-Position: 0/11", "Cache-Control: no-store"} {
		r := s.get(path1, strict, "If-None-Match: "+etag)
		require.Equal(t, http.StatusOK, r.status, strict)
		require.Equal(t, "New", s.field(r, "title"))
	}
}

// What a write answers, sent back, shows the write: at once from Postgres, later from the cache.
func TestReadYourWrites(t *testing.T) {
	s := startBehind(t)
	before := s.get(path1)
	write := s.write(http.MethodPatch, path1, `{"title":"New"}`)
	mine := "Freshet-Position: " + write.header.Get("Freshet-Position")

	r := s.get(path1, mine)
	require.Equal(t, bypass+"watermark-behind", r.cacheStatus())
	require.Equal(t, write.body, r.body)
	require.Equal(t, before.body, s.get(path1).body, "others are within their bound")

	s.invalidate("1", position(t, write.header.Get("Freshet-Position")))
	for _, want := range []string{stored, hit} {
		r = s.get(path1, mine)
		require.Equal(t, want, r.cacheStatus())
		require.Equal(t, write.body, r.body)
	}
	// A write that finds nothing, too, reflects the position that it says.
	gone := s.write(http.MethodPatch, "/blogs/99", `{"title":"New"}`)
	require.Equal(t, http.StatusNotFound, gone.status)
	s.reflects(gone, position(t, write.header.Get("Freshet-Position")))
}

// Whoever sends back the position of any answer never sees less than that answer did: a miss may show what the watermark has
// not reached yet.
func TestPositionOfAnAnswerSentBack(t *testing.T) {
	s := startBehind(t)
	require.Equal(t, "Title 1", s.field(s.get(path1), "title"))
	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id IN (1, 2)")
	for _, headers := range [][]string{nil, nil, {"Cache-Control: no-store"}} { // a miss, a hit, a bypass
		other := s.get("/blogs/2", headers...)
		require.Equal(t, "New", s.field(other, "title"))
		r := s.get(path1, "Freshet-Position: "+other.header.Get("Freshet-Position"))
		require.Equal(t, "New", s.field(r, "title"), other.cacheStatus())
	}
	require.Equal(t, "Title 1", s.field(s.get(path1), "title"), "who has not seen it is within the bound")
	missing := s.get("/blogs/99")
	require.Equal(t, http.StatusNotFound, missing.status)
	s.reflects(missing, 1)
}

// The header is ours: whoever writes it wrong has a promise that nobody keeps, and is told.
func TestMalformedPosition(t *testing.T) {
	s := start(t)
	for _, text := range []string{
		"", "now", "16B3748", "0/", "/16B3748", "0/G", "0/16B3748;", "0/16B3748;timeline=", "0/16B3748;timeline=two", "0/16B3748;zone=2",
		"0/16B3748,0/16B3749", `"0/16B3748"`, "0x/1",
	} {
		p := s.problem(s.get(path1, "Freshet-Position: "+text), http.StatusBadRequest, path1)
		require.Contains(t, p.Detail, "Freshet-Position")
	}
	s.problem(s.get(path1, "Freshet-Position: 0/10", "Freshet-Position: x"), http.StatusBadRequest, path1)
	for _, text := range []string{"0/0", " 0/10 ", "0/10;timeline=1", "0/10; timeline=1", "f/10"} {
		require.Equal(t, http.StatusOK, s.get(path1, "Freshet-Position: "+text).status, text)
	}
}

// On a timeline above the first, the position says which: those of the server that was left behind mean something else.
func TestPositionOfALaterTimeline(t *testing.T) {
	s := start(t)
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 1, Position: position(t, "F/10")})
	s.get(path1)
	require.NoError(t, s.redis.HSet(t.Context(), "freshet:watermark", "timeline", "2").Err())
	r := s.get(path1)
	require.Equal(t, hit, r.cacheStatus())
	require.Equal(t, "F/10;timeline=2", r.header.Get("Freshet-Position"))
	require.Equal(t, hit, s.get(path1, "Freshet-Position: F/10;timeline=2").cacheStatus())
	for _, later := range []string{"F/11;timeline=2", "0/10;timeline=3"} { // the server of this test is on the first
		require.Contains(t, s.get(path1, "Freshet-Position: "+later).body, "not the primary any more")
	}
}

// A server that is on an earlier timeline than the log was the primary once: what it says is not cached, nor given to anybody.
func TestFormerPrimary(t *testing.T) {
	s := start(t)
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 1, Position: position(t, "F/10")})
	require.Equal(t, stored, s.get(path1).cacheStatus())
	require.NoError(t, s.redis.HSet(t.Context(), "freshet:watermark", "timeline", "2").Err())
	require.Equal(t, hit, s.get(path1).cacheStatus())
	for name, r := range map[string]response{
		"a miss":                   s.get("/blogs/2"),
		"a hit, and where it ends": s.get(path1, "Cache-Control: no-cache"),
		"several at once":          s.do(http.MethodPost, "/query", `{"queries":[{"name":"blog_by_id","params":{"id":2}}]}`),
	} {
		require.Equal(t, http.StatusServiceUnavailable, r.status, name)
		require.Contains(t, r.body, "not the primary any more", name)
		require.NotEmpty(t, r.header.Get("Retry-After"), name)
	}
}

// A server that has recovered from a crash may have lost what it had shown: until the log begins anew nothing of it is cached, and what
// must be up to date comes from it.
func TestServerThatHasCrashed(t *testing.T) {
	s := start(t)
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 1, Position: position(t, "F/10")})
	s.get(path1)
	require.Equal(t, hit, s.get(path1, "Cache-Control: no-cache").cacheStatus())
	s.db.Exec(t, "TRUNCATE freshet.incarnation") // as crash recovery does
	require.Equal(t, bypass+"watermark-behind", s.get(path1, "Cache-Control: no-cache").cacheStatus())
	require.Equal(t, "freshet; fwd=miss", s.get("/blogs/2").cacheStatus(), "it is not stored")
	require.Equal(t, "freshet; fwd=miss", s.get("/blogs/2").cacheStatus())
}

// With the cookie, a browser's reads see its writes without a line of script.
func TestPositionCookie(t *testing.T) {
	s := startBehind(t, func(o *options) { o.api.PositionCookie = true })
	before := s.get(path1)
	require.Empty(t, before.header.Values("Set-Cookie"), "reads set none: they would make every answer one's own")
	write := s.write(http.MethodPatch, path1, `{"title":"New"}`)
	set, err := http.ParseSetCookie(write.header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, "freshet-position", set.Name)
	require.Equal(t, write.header.Get("Freshet-Position"), set.Value)
	require.Equal(t, "/", set.Path)
	require.True(t, set.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, set.SameSite)
	require.Positive(t, set.MaxAge)

	cookie := "Cookie: a=b; freshet-position=" + set.Value
	require.Equal(t, write.body, s.get(path1, cookie).body)
	require.Equal(t, before.body, s.get(path1).body, "another browser")
	require.Equal(t, bypass+"watermark-behind", s.get(path1, "Cookie: freshet-position=0/1|timeline=2").cacheStatus())
	require.Equal(t, hit, s.get(path1, cookie, "Freshet-Position: 0/10").cacheStatus(), "who says it himself means it")
	for _, foreign := range []string{"", "x", "0/1|zone=2"} {
		require.Equal(t, hit, s.get(path1, "Cookie: freshet-position="+foreign).cacheStatus(), "a cookie that is not ours says nothing")
	}
}

// A browser's position never goes back, whatever the server that answers is at. Only one that no cache reaches gives way: the write
// that it stands for was before this one.
func TestPositionCookieNeverGoesBack(t *testing.T) {
	s := startBehind(t, func(o *options) { o.api.PositionCookie = true })
	const unreached = "FFFFFFFF/FFFFFFFF"
	for _, tt := range []struct{ name, sent, want string }{
		{"ahead", "freshet-position=F/20", "F/20"},
		{"ahead, on the same timeline", "freshet-position=F/20|timeline=1", "F/20"},
		{"behind", "freshet-position=0/20", ""},
		{"of a later timeline", "freshet-position=0/20|timeline=2", "0/20|timeline=2"},
		{"two of them", "freshet-position=0/20; freshet-position=F/30; freshet-position=F/20", "F/30"},
		{"unknown", "freshet-position=" + unreached, ""},
		{"not ours", "freshet-position=soon", ""},
		{"none", "a=b", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.do(http.MethodPatch, path1, `{"title":"New"}`, "Authorization: Bearer "+token, "Cookie: "+tt.sent)
			require.Equal(t, http.StatusOK, r.status, r.body)
			own := r.header.Get("Freshet-Position")
			require.Less(t, position(t, own), position(t, "F/10"), "the header says what the write reflects, no more")
			if tt.want == "" {
				tt.want = own
			}
			set, err := http.ParseSetCookie(r.header.Get("Set-Cookie"))
			require.NoError(t, err)
			require.Equal(t, tt.want, set.Value)
		})
	}
	// A read sets the cookie only where it has found out what was not known.
	const together = `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}]}`
	for name, do := range map[string]func(headers ...string) response{
		"a read":           func(headers ...string) response { return s.get(path1, headers...) },
		"several together": func(headers ...string) response { return s.do(http.MethodPost, "/query", together, headers...) },
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, do("Cookie: freshet-position=0/20").header.Values("Set-Cookie"))
			for sent, want := range map[string]string{"freshet-position=" + unreached: "", "freshet-position=F/20": "F/20"} {
				r := do("Cookie: "+sent, "Freshet-Position: "+unreached)
				require.Equal(t, http.StatusOK, r.status, r.body)
				set, err := http.ParseSetCookie(r.header.Get("Set-Cookie"))
				require.NoError(t, err)
				if want == "" {
					want = r.header.Get("Freshet-Position")
				}
				require.Equal(t, want, set.Value)
			}
		})
	}
}

func TestNoPositionCookieUnlessSwitchedOn(t *testing.T) {
	s := startBehind(t)
	s.get(path1)
	write := s.write(http.MethodPatch, path1, `{"title":"New"}`)
	require.Empty(t, write.header.Values("Set-Cookie"))
	require.Equal(t, hit, s.get(path1, "Cookie: freshet-position="+write.header.Get("Freshet-Position")).cacheStatus())
}

const patientFile = `-- name: patient
-- route: GET /patient/{id}
-- param: id bigint
-- result: one
-- max_staleness: 10s
-- stale_if_error: 1m
SELECT id, title FROM blogs WHERE id = :id`

// While Postgres is down, a query whose policy says so is answered with what is older than it should be, and says that.
func TestStaleIfError(t *testing.T) {
	s := start(t, func(o *options) {
		o.private = true
		o.files = fstest.MapFS{"patient.sql": {Data: []byte(patientFile)}}
	})
	fresh := s.get("/patient/1")
	s.get(path1)
	aged := func(by time.Duration) {
		next := s.state
		next.Stamp, next.At = cache.NewToken(), time.Now().Add(-by)
		_, ok, err := s.store.Apply(t.Context(), s.state, cache.Batch{Next: next})
		require.NoError(t, err)
		require.True(t, ok)
		s.state = next
	}
	aged(30 * time.Second)
	require.Equal(t, bypass+"watermark-stale", s.get("/patient/1").cacheStatus(), "as long as Postgres answers, it does")

	require.NoError(t, s.db.Server.Kill())
	r := s.get("/patient/1")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "freshet; hit; detail=stale", r.cacheStatus())
	require.Equal(t, fresh.body, r.body)
	require.Regexp(t, "^3[0-9]$", r.header.Get("Age"))
	require.Equal(t, http.StatusNotModified, s.get("/patient/1", "If-None-Match: "+fresh.header.Get("ETag")).status)

	s.problem(s.get("/patient/2"), http.StatusServiceUnavailable, "/patient/2")
	for _, bound := range []string{
		"Cache-Control: max-age=20", "Cache-Control: max-age=60", "Cache-Control: no-cache", "Cache-Control: no-store", "Freshet-Position: 0/1",
	} {
		r := s.get("/patient/1", bound)
		s.problem(r, http.StatusServiceUnavailable, "/patient/1")
		require.Equal(t, "1", r.header.Get("Retry-After"), bound)
	}
	const both = `{"queries": [{"name": "patient", "params": {"id": 1}}, {"name": "blog_by_id", "params": {"id": 1}}]}`
	several, got := s.together(both)
	require.Equal(t, "freshet; hit; detail=stale", several.cacheStatus())
	require.JSONEq(t, fresh.body, string(got.Results[0].Data))
	require.Regexp(t, "^3[0-9]$", several.header.Get("Age"))
	for _, bound := range []string{"Cache-Control: max-age=20", "Cache-Control: no-cache", "Cache-Control: no-store", "Freshet-Position: 0/1"} {
		s.problem(s.do(http.MethodPost, "/query", both, bound), http.StatusServiceUnavailable, "/query")
	}
	aged(71 * time.Second)
	s.problem(s.do(http.MethodPost, "/query", both), http.StatusServiceUnavailable, "/query")
	s.problem(s.get("/patient/1"), http.StatusServiceUnavailable, "/patient/1")
	require.Equal(t, hit, s.get(path1).cacheStatus(), "its own bound is an hour")
	aged(2 * time.Hour)
	s.problem(s.get(path1), http.StatusServiceUnavailable, path1)
}
