package api_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/internal/tracing"
)

// startTraced is start with traces, of everything.
func startTraced(t *testing.T, edit ...func(*options)) (*site, *testenv.TraceCollector) {
	t.Helper()
	c := testenv.Collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	traces, err := tracing.Start(t.Context(), "api", "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { traces.Stop(t.Context()) })
	return start(t, append(edit, func(o *options) { o.api.Tracing = traces })...), c
}

// A write that is traced is done, refused and told as any other: also one that fails only when it commits.
func TestTracedWrites(t *testing.T) {
	s, _ := startTraced(t, func(o *options) {
		o.prepare = func(db *testenv.Database) {
			db.Exec(t, `CREATE TABLE pairs (id bigint PRIMARY KEY, other bigint REFERENCES pairs DEFERRABLE INITIALLY DEFERRED)`)
		}
		o.files = fstest.MapFS{"pair.sql": {Data: []byte(`-- name: pair
-- route: POST /pairs
-- param: id bigint
-- param: other bigint
-- result: one
INSERT INTO pairs VALUES (:id, :other) RETURNING json_build_object('id', id)`)}}
	})
	first := s.write(http.MethodPatch, "/blogs/1", `{"title":"New"}`)
	require.Equal(t, http.StatusOK, first.status, first.body)
	require.Equal(t, "New", s.field(first, "title"))
	require.NotEmpty(t, first.header.Get("Freshet-Position"))
	s.problem(s.write(http.MethodPatch, "/blogs/99", `{"title":"New"}`), http.StatusNotFound, "/blogs/99")
	s.problem(s.write(http.MethodPatch, "/blogs/1", `{"slug":"slug-2"}`), http.StatusConflict, "/blogs/1")
	require.Equal(t, http.StatusCreated, s.write(http.MethodPost, "/pairs", `{"id":1,"other":1}`).status)
	s.problem(s.write(http.MethodPost, "/pairs", `{"id":2,"other":3}`), http.StatusConflict, "/pairs")
	require.Equal(t, int64(1), testenv.Value[int64](t, s.db, "SELECT count(*) FROM pairs"))
	require.Equal(t, "slug-1", testenv.Value[string](t, s.db, "SELECT slug FROM blogs WHERE id = 1"))
}

// Requests are spans that are named after their routes, never after what the outside makes up; machines' are none.
func TestRequestSpans(t *testing.T) {
	s, c := startTraced(t)
	require.Equal(t, http.StatusOK, s.get("/blogs/1").status)
	require.Equal(t, http.StatusNotFound, s.get("/made/up").status)
	require.Equal(t, http.StatusMethodNotAllowed, s.do("MADEUP", "/blogs/1", "").status)
	require.Equal(t, http.StatusBadRequest, s.get("/blogs/none").status)
	for _, path := range []string{"/health", "/health/ready", "/metrics", "/performance/metrics", "/ui/"} {
		s.get(path)
	}
	names := map[string]int64{}
	testenv.Eventually(t, patience, func() (bool, string) {
		for _, one := range c.Spans() {
			status, _ := one.Attribute("http.response.status_code").(int64)
			names[one.GetName()] = max(names[one.GetName()], status)
		}
		return len(names) == 3, "spans are missing"
	})
	require.Equal(t, map[string]int64{"GET /blogs/:id": 400, "GET": 404, "HTTP /blogs/:id": 405}, names)
}

// Every line that is logged for a request says for which, and of which trace it is: whoever logs it.
func TestLinesOfRequests(t *testing.T) {
	s, _ := startTraced(t, func(o *options) { o.private, o.level = true, slog.LevelDebug })
	require.Equal(t, stored, s.get("/blogs/1").cacheStatus())
	require.NoError(t, s.server.Server.Kill())
	const trace = "0000000000000000000000000000abcd"
	ids := []string{"X-Request-ID: the-one", "traceparent: 00-" + trace + "-000000000000000b-01"}
	r := s.do(http.MethodGet, "/blogs/1", "", ids...)
	require.Equal(t, "the-one", r.header.Get("X-Request-ID"))
	require.NoError(t, s.db.Server.Kill())
	s.problem(s.do(http.MethodGet, "/blogs/2", "", ids...), http.StatusServiceUnavailable, "/blogs/2")
	seen := map[string]int{}
	for line := range strings.Lines(s.log.all()) {
		for _, message := range []string{`msg="Redis cannot be used; reads go to Postgres"`, `msg="request failed"`, "msg=request "} {
			if strings.Contains(line, message) && !strings.Contains(line, "status=200 took") {
				require.Contains(t, line, "request_id=the-one trace_id="+trace)
				seen[message]++
			}
		}
	}
	require.Len(t, seen, 3, s.log.all())

	r = s.do(http.MethodGet, "/position?timeout=x", "", "X-Request-ID: not sane")
	require.NotEqual(t, "not sane", r.header.Get("X-Request-ID"))
	require.Equal(t, 1, s.log.count("request_id="+r.header.Get("X-Request-ID")+" trace_id="))
}
