package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/internal/testenv"
)

// stream is a client of GET /performance/live.
type stream struct {
	t      *testing.T
	events chan event // closed when the stream ends
	cancel context.CancelFunc
}

type event struct{ name, data string }

// watch connects, with the token.
func (s *site) watch() *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/performance/live", nil)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := new(http.Client).Do(req) //nolint:bodyclose // read closes it
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
	require.Equal(s.t, "text/event-stream", resp.Header.Get("Content-Type"))
	l := &stream{t: s.t, events: make(chan event, 1000), cancel: cancel}
	go l.read(resp.Body) // ends with the context of the request
	return l
}

func (l *stream) read(body io.ReadCloser) {
	defer close(l.events)
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	var e event
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				l.events <- e
			}
			e = event{}
		}
	}
}

// until waits for an event of which ok says that it is the right one.
func (l *stream) until(what, name string, ok func(data string) bool) {
	l.t.Helper()
	over := time.After(patience)
	for {
		select {
		case e, open := <-l.events:
			require.True(l.t, open, "the stream has ended before %s", what)
			if e.name == name && ok(e.data) {
				return
			}
		case <-over:
			require.Fail(l.t, "not seen: "+what)
		}
	}
}

// sample waits for one of which ok says that it is the right one.
func (l *stream) sample(what string, ok func(api.LiveSample) bool) {
	l.t.Helper()
	l.until(what, "sample", func(data string) bool {
		var s api.LiveSample
		require.NoError(l.t, json.Unmarshal([]byte(data), &s), data)
		return ok(s)
	})
}

// listens waits until so many connections listen for what is live.
func (s *site) listens(n int64) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() (bool, string) {
		got, err := s.store.LiveListeners(s.t.Context())
		return err == nil && got == n, fmt.Sprintf("%d should listen, not %d (%v)", n, got, err)
	})
}

func TestLiveNeedsTheToken(t *testing.T) {
	s := start(t)
	p := s.problem(s.get("/performance/live"), http.StatusUnauthorized, "/performance/live")
	require.Contains(t, p.Detail, "admin token")
	s.problem(s.get("/performance/live", "Authorization: Bearer wrong"), http.StatusUnauthorized, "/performance/live")
}

// What an invalidator publishes comes through, and each second's figures; Redis is listened to only while somebody watches.
func TestLiveStream(t *testing.T) {
	s := start(t)
	s.listens(0)
	l := s.watch()
	s.listens(1)

	s.get("/blogs/1")
	l.sample("the miss", func(m api.LiveSample) bool {
		return m.Misses == 1 && *m.HitRatio == 0 && m.P99 != nil && m.WatermarkAge != nil
	})
	s.get("/blogs/1")
	l.sample("the hit", func(m api.LiveSample) bool { return m.Hits == 1 && *m.HitRatio == 1 })
	l.sample("a second without reads", func(m api.LiveSample) bool { return m.HitRatio == nil && m.P99 == nil && m.CommitToCleared == nil })
	l.until("the query", "queries", func(data string) bool {
		return strings.Contains(data, `"name":"blog_by_id","reads":2,"hit_ratio":0.5`)
	})

	told := cache.Live{Position: "0/10", Sequence: 7, Cleared: 1, Changes: []cache.LiveChange{
		{Table: "public.blogs", Op: "update", Key: "id=1", Milliseconds: 3.5, Buckets: []string{"public.blogs:id=1"}},
	}}
	require.NoError(t, s.store.PublishLive(t.Context(), &told))
	l.until("the change", "applied", func(data string) bool {
		var got cache.Live
		require.NoError(t, json.Unmarshal([]byte(data), &got))
		require.Equal(t, told, got)
		return true
	})
	l.sample("its time", func(m api.LiveSample) bool {
		return m.CommitToCleared != nil && m.CommitToCleared.N == 1 && m.CommitToCleared.P50 == 3.5
	})

	l.cancel()
	s.listens(0)
}

// The limits of a request are for answers that end.
func TestLiveOutlastsTheRequestTimeout(t *testing.T) {
	s := start(t, func(o *options) { o.api.RequestTimeout = 200 * time.Millisecond })
	l := s.watch()
	for range 3 { // each second one: beyond the timeout of the request and that of reading it
		l.sample("a sample", func(api.LiveSample) bool { return true })
	}
}

// Somebody who does not read is dropped, and nobody waits for them.
func TestLiveDropsTheSlow(t *testing.T) {
	s := start(t)
	l := s.watch()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /performance/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
	require.NoError(t, err)
	l.sample("both", func(m api.LiveSample) bool { return m.Watchers == 2 })

	// More than any socket keeps, while the other one reads all of it.
	large := cache.Live{Reset: strings.Repeat("x", 512<<10)}
	for range 200 {
		require.NoError(t, s.store.PublishLive(t.Context(), &large))
		l.until("what was published", "applied", func(string) bool { return true })
	}
	l.sample("the other one alone", func(m api.LiveSample) bool { return m.Watchers == 1 })
}

// A stream would never end by itself: the drain ends it, and does not wait.
func TestLiveEndsWithTheDrain(t *testing.T) {
	s := start(t, func(o *options) { o.api.DrainTimeout = time.Hour })
	l := s.watch()
	l.sample("a sample", func(api.LiveSample) bool { return true })
	require.NoError(t, s.stop())
	l.until("the end", "end", func(string) bool { return true })
	s.listens(0)
}

func TestCheckEndpoint(t *testing.T) {
	s := start(t)
	s.problem(s.do(http.MethodPost, "/performance/check", `{"sql":"SELECT 1"}`), http.StatusUnauthorized, "/performance/check")
	check := func(sql string) response {
		t.Helper()
		body, err := json.Marshal(map[string]string{"sql": sql})
		require.NoError(t, err)
		return s.write(http.MethodPost, "/performance/check", string(body))
	}

	r := check("SELECT title FROM blogs WHERE status = 'published' AND lower(author) = 'ada'")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Contains(t, r.body, `"bucket":"freshet:public.blogs:status=published"`)
	require.Contains(t, r.body, `"reads":["author","status","title"]`)
	require.Contains(t, r.body, `"plan":{"cost":`)

	for sql, why := range map[string]string{
		"SELECT now()":                     "line 1: reads no table",
		"SELECT 1; DELETE FROM blogs":      "one statement",
		"SELECT no_such_column FROM blogs": "no_such_column",
		"DELETE FROM blogs":                "DELETE",
		"SELECT (":                         "line 1: this ( is never closed",
	} {
		for range 2 { // also on a connection that has failed before
			r := check(sql)
			require.Equal(t, http.StatusOK, r.status, r.body)
			require.Contains(t, s.field(r, "refused"), why, sql)
		}
	}
	require.Equal(t, 5, testenv.Value[int](t, s.db, "SELECT count(*)::int FROM blogs"))
	for _, body := range []string{"", "{}", `{"sql":" "}`, "[1]"} {
		p := s.problem(s.write(http.MethodPost, "/performance/check", body), http.StatusBadRequest, "/performance/check")
		require.Contains(t, p.Detail, `{"sql": "SELECT ..."}`)
	}
}

// The page loads nothing from elsewhere, and says so to the browser.
func TestPage(t *testing.T) {
	s := start(t)
	for path, kind := range map[string]string{
		"/ui": "text/html", "/ui/": "text/html", "/ui/app.css": "text/css", "/ui/app.js": "text/javascript",
		"/ui/vendor/uPlot.js": "text/javascript", "/ui/icon.svg": "image/svg+xml",
	} {
		r := s.get(path)
		require.Equal(t, http.StatusOK, r.status, path)
		require.Contains(t, r.header.Get("Content-Type"), kind, path)
		require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'self'", path)
		require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
		require.Equal(t, http.StatusNotModified, s.get(path, "If-None-Match: "+r.header.Get("ETag")).status)
	}
	require.NotContains(t, s.get("/ui").body, "http")
	for _, path := range []string{"/ui/none", "/ui/ui.go", "/ui/vendor", "/ui/vendor/LICENSE.uPlot", "/ui/../routes.go"} {
		require.Equal(t, http.StatusNotFound, s.get(path).status, path)
	}
}
