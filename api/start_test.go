package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

const fine = "-- name: fine\n-- route: GET /fine\n-- result: many\n-- depends: blogs()\nSELECT id FROM blogs"

// An api whose files cannot work is not started, and says what is wrong with which of them.
func TestRefusesToStart(t *testing.T) {
	db := database(t, false)
	db.Exec(t, "CREATE TABLE bare (id int)")
	pool, err := postgres.NewPool(t.Context(), config.Database{
		URL: db.URL, MaxConnections: 2, ConnectionTimeout: patience, CommandTimeout: patience,
	}, "test")
	require.NoError(t, err)
	defer pool.Close()
	store := cache.NewRedis(testenv.Redis(t).Client(t), cache.DefaultPrefix)
	edit := func(old, replacement string) string { return strings.Replace(fine, old, replacement, 1) }
	for name, tt := range map[string]struct {
		files []string
		want  []string
	}{
		"a column": {[]string{edit("SELECT id", "SELECT id,\n  titel")},
			[]string{`1.sql:6: column "titel" does not exist`, `Perhaps you meant to reference the column "blogs.title"`}},
		"each file is named": {[]string{edit("FROM blogs", "FROM blgos"), "-- name: b\n-- route: GET /b\n-- result: one\n-- depends: blogs()\nSELECT 1 FORM x y"},
			[]string{`1.sql:5: relation "blgos" does not exist`, `2.sql:5: syntax error at or near "x"`}},
		"a table that is depended on": {[]string{edit("blogs()", "blgos()")}, []string{"1.sql:4: depends: there is no table blgos"}},
		"one name":                    {[]string{fine, edit("/fine", "/other")}, []string{"2.sql: the name fine is taken by 1.sql"}},
		"one route":                   {[]string{fine, edit("fine", "other")}, []string{"2.sql: the route GET /fine is taken by 1.sql"}},
		"a reserved route":            {[]string{edit("/fine", "/health")}, []string{"1.sql: the route GET /health is Freshet's own"}},
		"below a reserved route":      {[]string{edit("/fine", "/performance/fine")}, []string{"1.sql: the route GET /performance/fine is Freshet's own"}},
		"the index":                   {[]string{edit("/fine", "/")}, []string{"1.sql: the route GET / is Freshet's own"}},
		"no replica identity": {[]string{edit("blogs()\nSELECT id FROM blogs", "bare()\nSELECT id FROM bare")},
			[]string{"ALTER TABLE public.bare REPLICA IDENTITY FULL"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := api.Config{Pool: pool, Store: store, Publication: "freshet_main", ConnectionTimeout: patience, CommandTimeout: patience, RequestTimeout: patience}
			for i, text := range tt.files { // one at a time: Load itself would refuse two of one name
				file := string(rune('1'+i)) + ".sql"
				cfg.Queries = append(cfg.Queries, load(t, fstest.MapFS{file: {Data: []byte(text)}})...)
			}
			_, err := api.New(t.Context(), cfg)
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	require.Empty(t, testenv.Value[[]string](t, db, "SELECT coalesce(array_agg(table_name), '{}') FROM freshet.shapes"), "nothing was registered")

	cfg := api.Config{Pool: pool, Store: store, Publication: "freshet_main", ConnectionTimeout: patience, CommandTimeout: patience, RequestTimeout: patience,
		Queries: load(t, fstest.MapFS{"1.sql": {Data: []byte(fine)}})}
	db.Exec(t, "DROP SCHEMA freshet CASCADE")
	_, err = api.New(t.Context(), cfg)
	require.ErrorIs(t, err, postgres.ErrNotMigrated)
}

// A port in use is an error before anything is served, and says how to choose another.
func TestPortInUse(t *testing.T) {
	s := start(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a, err := api.New(t.Context(), api.Config{
		Addr: l.Addr().String(), Pool: s.pool, Store: s.store, Publication: "freshet_main", ConnectionTimeout: patience, CommandTimeout: patience,
		RequestTimeout: patience,
	})
	require.NoError(t, err)
	err = a.Listen(t.Context())
	require.ErrorContains(t, err, l.Addr().String())
	require.ErrorContains(t, err, "--http-addr or FRESHET_HTTP_ADDR")
}

// Told to stop, the api turns new requests away and finishes those that are in progress.
func TestDrain(t *testing.T) {
	s := start(t, withLocked)
	unlock := s.lock(7)
	slow := s.inBackground("/locked/7")
	s.waiting(1)

	s.cancel()
	testenv.Eventually(t, patience, func() (bool, string) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			return false, fmt.Sprint("the port is open; ", conn.Close())
		}
		return true, ""
	})
	unlock()
	r := <-slow
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.NoError(t, s.stop())
}

// With a delay it says that it will be gone, and still answers, on connections that it closes, until load balancers have seen that.
func TestDrainDelay(t *testing.T) {
	s := start(t, func(o *options) { o.api.DrainDelay = 2 * time.Second })
	s.cancel()
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.get("/health/ready")
		return r.status == http.StatusServiceUnavailable && s.field(r, "status") == "draining", r.body
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path1, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.True(t, resp.Close, "the connection stays open")
	require.NoError(t, s.stop())
}

// inBackground sends a request; what comes back is sent on the channel, an error as the body.
func (s *site) inBackground(path string) <-chan response {
	answer := make(chan response, 1)
	go func() { // ends with the request
		r, err := s.try(http.MethodGet, path, "")
		if err != nil {
			r.body = err.Error()
		}
		answer <- r
	}()
	return answer
}

// The drain has an end: what takes longer is given up, and that is an error.
func TestDrainTimeout(t *testing.T) {
	s := start(t, withLocked, func(o *options) { o.api.DrainTimeout = 200 * time.Millisecond })
	s.lock(7)
	request := s.inBackground("/locked/7")
	s.waiting(1)
	began := time.Now()
	err := s.stop()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "requests were still in progress")
	require.Zero(t, (<-request).status)
	require.Less(t, time.Since(began), 10*time.Second, "the statement is given up too: its own timeout is 30 s")
	s.waiting(0)
}

// The index shows every endpoint: a page for browsers, JSON for everybody else.
func TestIndex(t *testing.T) {
	s := start(t, func(o *options) {
		o.files = fstest.MapFS{"odd.sql": {Data: []byte("-- name: odd\n-- route: GET /odd\n-- result: many\n-- depends: blogs()\n" +
			"-- doc: <script>alert(1)</script>\n-- example: /odd?a=1&b=\"2\"\nSELECT id FROM blogs")}}
	})
	r := s.get("/")
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "test", s.field(r, "version"))
	var paths []string
	for _, e := range s.field(r, "endpoints").([]any) {
		e := e.(map[string]any)
		paths = append(paths, e["method"].(string)+" "+e["path"].(string))
	}
	for _, want := range []string{"GET /blogs/:id", "PATCH /blogs/:id", "POST /attempts", "GET /odd", "GET /health/ready"} {
		require.Contains(t, paths, want)
	}
	page := s.get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
	require.Equal(t, "text/html; charset=UTF-8", page.header.Get("Content-Type"))
	require.Contains(t, page.body, `<a href="/blogs/1">`)
	require.Contains(t, page.body, "&lt;script&gt;")
	require.NotContains(t, page.body, "<script>")
}
