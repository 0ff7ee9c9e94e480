package api_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/testenv"
)

// A read is a miss once and a hit then; the hit is the same bytes. Clearing the bucket makes it a miss again.
func TestMissThenHit(t *testing.T) {
	s := startBehind(t)
	end := s.end()
	first := s.get("/blogs/1")
	require.Equal(t, http.StatusOK, first.status, first.body)
	require.Equal(t, stored, first.cacheStatus())
	require.Equal(t, "Title 1", s.field(first, "title"))
	require.Equal(t, "application/json", first.header.Get("Content-Type"))
	require.Equal(t, "no-cache", first.header.Get("Cache-Control"))
	require.Equal(t, "0", first.header.Get("Age"))
	s.reflects(first, end)

	second := s.get("/blogs/1")
	require.Equal(t, hit, second.cacheStatus())
	require.Regexp(t, `^freshet; hit; ttl=(600|59\d); detail=redis$`, second.header.Get("Cache-Status"))
	require.Equal(t, first.body, second.body)
	require.Equal(t, first.header.Get("ETag"), second.header.Get("ETag"))
	require.Equal(t, "0", second.header.Get("Age"))
	require.Equal(t, first.header.Get("Freshet-Position"), second.header.Get("Freshet-Position"), "the entry shows nothing later")

	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id = 1")
	require.Equal(t, first.body, s.get("/blogs/1").body, "within the bound, before the change is applied")
	end = s.end()
	s.invalidate("1", end)
	third := s.get("/blogs/1")
	require.Equal(t, stored, third.cacheStatus())
	require.Equal(t, "New", s.field(third, "title"))
	s.reflects(third, end)
	require.NotEqual(t, first.header.Get("ETag"), third.header.Get("ETag"))
}

// A hit says how old it is; the position is that of the watermark, which moves on without the entry.
func TestAgeAndPosition(t *testing.T) {
	s := startBehind(t)
	filled := s.get("/blogs/1").header.Get("Freshet-Position")
	s.invalidate("2", position(t, "0/30"))
	require.Equal(t, filled, s.get("/blogs/1").header.Get("Freshet-Position"), "the watermark is behind what the entry shows")
	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id = 2")
	end := s.end()
	require.Greater(t, end, position(t, filled))
	s.invalidate("2", end)
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.get("/blogs/1")
		require.Equal(t, hit, r.cacheStatus())
		require.Equal(t, end.String(), r.header.Get("Freshet-Position"))
		return r.header.Get("Age") == "1", "Age is " + r.header.Get("Age")
	})
}

// Requests that mean the same share an entry, however they are written; those that do not, never do.
func TestOneEntryForOneMeaning(t *testing.T) {
	s := start(t)
	require.Equal(t, stored, s.get("/blogs?limit=2").cacheStatus())
	for _, same := range []string{"/blogs?limit=2&offset=0", "/blogs?status=published&limit=2", "/blogs?limit=%32", "/blogs?limit=02"} {
		require.Equal(t, hit, s.get(same).cacheStatus(), same)
	}
	for _, other := range []string{"/blogs", "/blogs?limit=3", "/blogs?limit=2&offset=2", "/blogs?limit=2&status=draft"} {
		require.Equal(t, stored, s.get(other).cacheStatus(), other)
	}
	require.Equal(t, "[]", s.get("/blogs?status=draft").body, "an empty list is an answer")
}

// A parameter in the path is what it is after its escapes were resolved, and only the segment that it stands in.
func TestPathParameters(t *testing.T) {
	s := start(t)
	for path, found := range map[string]bool{
		"/tags/sql/blogs": true, "/tags/c++/blogs": true, "/tags/c%2B%2B/blogs": true, "/tags/%73ql/blogs": true,
		"/tags/a%2Fb/blogs": true, "/tags/c%252B%252B/blogs": false, "/tags/nothing/blogs": false, "/tags/sq%C3%A9/blogs": false,
	} {
		r := s.get(path)
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, found, r.body != "[]", "%s: %s", path, r.body)
	}
	require.Equal(t, hit, s.get("/tags/c%2b%2b/blogs").cacheStatus(), "one meaning, one entry")
	s.problem(s.get("/tags/a/b/blogs"), http.StatusNotFound, "/tags/a/b/blogs")
}

// If-None-Match is compared weakly, with every tag of the list; a 304 has the headers and no body.
func TestEntityTags(t *testing.T) {
	s := startBehind(t)
	first := s.get("/blogs/1")
	etag := first.header.Get("ETag")
	require.Regexp(t, `^"[0-9a-f]+"$`, etag)
	for _, tt := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"the same", []string{"If-None-Match: " + etag}, http.StatusNotModified},
		{"weak", []string{"If-None-Match: W/" + etag}, http.StatusNotModified},
		{"any", []string{"If-None-Match: *"}, http.StatusNotModified},
		{"a list", []string{`If-None-Match: "a", W/"b,c" , ` + etag + `, "d"`}, http.StatusNotModified},
		{"a list without spaces", []string{`If-None-Match: "a",` + etag}, http.StatusNotModified},
		{"two lines", []string{`If-None-Match: "a"`, "If-None-Match: " + etag}, http.StatusNotModified},
		{"another", []string{`If-None-Match: "a"`}, http.StatusOK},
		{"without its quotes", []string{"If-None-Match: " + strings.Trim(etag, `"`)}, http.StatusOK},
		{"empty", []string{"If-None-Match: "}, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.get("/blogs/1", tt.headers...)
			require.Equal(t, tt.want, r.status)
			require.Equal(t, etag, r.header.Get("ETag"))
			require.Equal(t, hit, r.cacheStatus())
			require.Equal(t, "no-cache", r.header.Get("Cache-Control"))
			require.Equal(t, first.header.Get("Freshet-Position"), r.header.Get("Freshet-Position"))
			require.Equal(t, "0", r.header.Get("Age"))
			require.Equal(t, tt.want == http.StatusNotModified, r.body == "")
		})
	}
	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id = 1")
	s.invalidate("1", s.end())
	require.Equal(t, http.StatusOK, s.get("/blogs/1", "If-None-Match: "+etag).status, "another answer")
	require.Equal(t, http.StatusNotFound, s.get("/blogs/99", "If-None-Match: *").status, "there is nothing that could match")
}

// HEAD is GET without the body, and fills the cache like it.
func TestHead(t *testing.T) {
	s := start(t)
	head := s.do(http.MethodHead, "/blogs/1", "")
	require.Equal(t, stored, head.cacheStatus())
	get := s.get("/blogs/1")
	require.Equal(t, hit, get.cacheStatus())
	require.Empty(t, head.body)
	for _, name := range []string{"Etag", "Content-Type", "Content-Length"} {
		require.NotEmpty(t, head.header.Get(name), name)
		require.Equal(t, get.header.Get(name), head.header.Get(name), name)
	}
	require.Equal(t, http.StatusNotModified, s.do(http.MethodHead, "/blogs/1", "", "If-None-Match: "+get.header.Get("ETag")).status)
	missing := s.do(http.MethodHead, "/blogs/99", "")
	require.Equal(t, http.StatusNotFound, missing.status)
	require.Empty(t, missing.body)
	for _, path := range []string{"/", "/health", "/health/ready"} {
		require.Equal(t, http.StatusOK, s.do(http.MethodHead, path, "").status, path)
	}
}

// That there is no such row is cached like any other answer, and cleared when there is one.
func TestNotFoundIsCached(t *testing.T) {
	s := start(t)
	for _, want := range []string{stored, hit} {
		r := s.get("/blogs/77")
		require.Equal(t, want, r.cacheStatus())
		require.Equal(t, "no-cache", r.header.Get("Cache-Control"))
		s.problem(r, http.StatusNotFound, "/blogs/77")
	}
	s.db.Exec(t, `INSERT INTO blogs (id, title, slug, content, author) OVERRIDING SYSTEM VALUE VALUES (77, 'Now', 'now', '', 'bo')`)
	s.invalidate("77", position(t, "F/20"))
	require.Equal(t, http.StatusOK, s.get("/blogs/77").status)
}

// lockedFile is a read that waits until nobody holds the advisory lock.
const lockedFile = `-- name: locked
-- route: GET /locked/{key}
-- param: key bigint
-- result: one
-- depends: blogs(id = 1)
SELECT :key AS key, next_call() AS call, wait_for_lock(:key) AS got`

func withLocked(o *options) { o.files = fstest.MapFS{"locked.sql": {Data: []byte(lockedFile)}} }

// lock makes reads of /locked/{key} wait until unlock is called.
func (s *site) lock(key int) (unlock func()) {
	s.t.Helper()
	conn := s.db.Conn(s.t)
	_, err := conn.Exec(s.t.Context(), "SELECT pg_advisory_lock($1)", key)
	require.NoError(s.t, err)
	return func() {
		_, err := conn.Exec(s.t.Context(), "SELECT pg_advisory_unlock_all()")
		require.NoError(s.t, err)
	}
}

// waiting waits until that many statements wait for an advisory lock.
func (s *site) waiting(n int) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() (bool, string) {
		got := testenv.Value[int](s.t, s.db, `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		return got == n, "the statements that wait are not as many as they should be"
	})
}

// Requests for one entry that miss at the same time run its statement once, and all of them get the answer.
func TestConcurrentMissesShareAStatement(t *testing.T) {
	s := start(t, withLocked)
	unlock := s.lock(7)
	var g errgroup.Group
	answers := make([]response, 20)
	for i := range answers {
		g.Go(func() (err error) {
			answers[i], err = s.try(http.MethodGet, "/locked/7", "")
			return err
		})
	}
	s.waiting(1)
	testenv.Eventually(t, patience, func() (bool, string) {
		stats := s.redis.InfoMap(t.Context(), "commandstats").Item("Commandstats", "cmdstat_hsetnx")
		return strings.HasPrefix(stats, "calls=20,"), "not everybody has opened the bucket: " + stats
	})
	unlock()
	require.NoError(t, g.Wait())
	calls := map[string]bool{} // every call of the statement has another number
	for _, a := range answers {
		require.Equal(t, http.StatusOK, a.status)
		calls[a.body] = true
	}
	require.Len(t, calls, 1)
	require.Equal(t, hit, s.get("/locked/7").cacheStatus())
}

// Without the protocol's conditions the cache is not used, and the answer says why.
func TestBypass(t *testing.T) {
	s := newSite(t)
	for range 2 {
		end := s.end()
		r := s.get("/blogs/1")
		require.Equal(t, bypass+"no-watermark", r.cacheStatus())
		require.Equal(t, http.StatusOK, r.status)
		require.NotEmpty(t, r.header.Get("ETag"))
		require.Equal(t, "0", r.header.Get("Age"))
		s.reflects(r, end)
	}
	s.setWatermark(time.Now().Add(-6 * time.Second)) // the bound is 5 s
	end := s.end()
	r := s.get("/blogs/1")
	require.Equal(t, bypass+"watermark-stale", r.cacheStatus())
	require.Equal(t, "0", r.header.Get("Age"))
	s.reflects(r, end)
	s.setWatermark(time.Now())
	require.NoError(t, s.redis.HDel(t.Context(), "freshet:watermark", "shape:public.blogs(id)").Err())
	require.Equal(t, bypass+"shape-inactive", s.get("/blogs/1").cacheStatus())
	require.Equal(t, stored, s.get("/blogs").cacheStatus(), "another shape")
}
