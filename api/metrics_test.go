package api_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/internal/telemetry"
	"freshet/internal/testenv"
)

// scrape is what the api tells Prometheus, which promtool must accept without a word.
func (s *site) scrape() string {
	s.t.Helper()
	r := s.get("/metrics")
	require.Equal(s.t, http.StatusOK, r.status)
	problems, err := promlint.New(strings.NewReader(r.body)).Lint()
	require.NoError(s.t, err)
	require.Empty(s.t, problems)
	return r.body
}

// metric is the value of a series; missing is false if there is none.
func (s *site) metric(series string) (v float64, there bool) {
	s.t.Helper()
	for line := range strings.SplitSeq(s.scrape(), "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(rest, 64)
			require.NoError(s.t, err)
			return v, true
		}
	}
	return 0, false
}

// counts wants values of series.
func (s *site) counts(want map[string]float64) {
	s.t.Helper()
	for series, value := range want {
		got, there := s.metric(series)
		require.True(s.t, there, series)
		require.InDelta(s.t, value, got, 0, series)
	}
}

func answers(query, status, tier, reason string) string {
	return fmt.Sprintf(`freshet_cache_answers_total{query=%q,reason=%q,status=%q,tier=%q}`, query, reason, status, tier)
}

func TestRequestsAndAnswersAreMeasured(t *testing.T) {
	s := start(t)
	first := s.get("/blogs/1")
	require.Equal(t, stored, first.cacheStatus())
	require.Equal(t, hit, s.get("/blogs/1").cacheStatus())
	require.Equal(t, hit, s.do(http.MethodHead, "/blogs/1", "").cacheStatus())
	require.Equal(t, http.StatusNotModified, s.get("/blogs/1", "If-None-Match: "+first.header.Get("ETag")).status)
	require.Equal(t, bypass+"no-store", s.get("/blogs/1", "Cache-Control: no-store").cacheStatus())
	require.Equal(t, http.StatusBadRequest, s.get("/blogs/x").status)
	require.Equal(t, http.StatusGatewayTimeout, s.get("/blogs/2", "Cache-Control: only-if-cached").status)
	require.Equal(t, http.StatusNotFound, s.get("/no/such/page").status)
	require.Equal(t, http.StatusMethodNotAllowed, s.do("DELETE", "/blogs", "").status)
	require.Equal(t, http.StatusUnauthorized, s.do(http.MethodPatch, "/blogs/1", `{"title": "x"}`, "Authorization: Bearer x").status)
	require.Equal(t, http.StatusOK, s.write(http.MethodPatch, "/blogs/1", `{"title": "x"}`).status)
	together := s.do(http.MethodPost, "/query", `{"queries": [{"name": "blog_by_id", "params": {"id": 3}}, {"name": "blog_by_id", "params": {"id": 4}}]}`)
	require.Equal(t, http.StatusOK, together.status, together.body)

	const requests = `freshet_http_requests_total{code="%d",method="%s",route="/blogs/:id"}`
	s.counts(map[string]float64{
		fmt.Sprintf(requests, 200, "GET"):                                           3,
		fmt.Sprintf(requests, 304, "GET"):                                           1,
		fmt.Sprintf(requests, 400, "GET"):                                           1,
		fmt.Sprintf(requests, 504, "GET"):                                           1,
		fmt.Sprintf(requests, 200, "HEAD"):                                          1,
		`freshet_http_requests_total{code="404",method="GET",route="unmatched"}`:    1,
		`freshet_http_requests_total{code="405",method="DELETE",route="unmatched"}`: 1,
		`freshet_http_requests_total{code="200",method="POST",route="/query"}`:      1,
		// Whoever wants nothing but the cache has asked for his 504.
		`freshet_http_request_errors_total{route="/blogs/:id"}`:   0,
		answers("blog_by_id", "hit", "redis", ""):                 3,
		answers("blog_by_id", "miss", "none", ""):                 3,
		answers("blog_by_id", "bypass", "none", "no-store"):       1,
		answers("blog_by_id", "bypass", "none", "other"):          0,
		answers("blog_list", "hit", "redis", ""):                  0,
		`freshet_fills_total{query="blog_by_id"}`:                 4,
		`freshet_fill_duration_seconds_count{query="blog_by_id"}`: 4,
		// The scrape itself.
		`freshet_http_requests_in_flight`:                  1,
		`freshet_pool_connections_max`:                     20,
		`freshet_gate_waiting`:                             0,
		`freshet_shapes_waiting`:                           0,
		`freshet_queries_disabled`:                         0,
		`freshet_build_info{process="api",version="test"}`: 1,
	})
	require.NotContains(t, s.scrape(), "no/such", "whoever asks chooses no labels")

	stats := s.stats()
	read := stats.route(t, "GET", "/blogs/:id")
	require.Equal(t, "blog_by_id", read.Query)
	require.EqualValues(t, 7, read.Requests)
	require.Zero(t, read.Errors)
	require.EqualValues(t, 3, read.Answers.Of(telemetry.StatusHit))
	require.EqualValues(t, 1, read.Answers.Of(telemetry.StatusMiss))
	ratio, known := read.Answers.HitRatio()
	require.True(t, known)
	require.InDelta(t, 0.6, ratio, 1e-9)
	require.Positive(t, read.P50)
	require.GreaterOrEqual(t, read.Max, read.P99)
	require.Positive(t, read.Bytes)
	query := stats.query(t, "blog_by_id")
	require.EqualValues(t, 3, query.Answers.Of(telemetry.StatusMiss))
	require.EqualValues(t, 4, query.Fills.Requests)
	require.EqualValues(t, 9, query.Requests, "those of its route, and two together")
	write := stats.route(t, "PATCH", "/blogs/:id")
	require.EqualValues(t, 2, write.Requests)
	_, known = write.Answers.HitRatio()
	require.False(t, known)
	require.False(t, stats.query(t, write.Query).Reads)
}

// stats are the figures of the last minute.
type stats struct{ api.Stats }

func (s *site) stats() stats { return stats{s.api.Stats(time.Minute)} }

func (s stats) route(t *testing.T, method, path string) api.RouteStats {
	t.Helper()
	for _, r := range s.Routes {
		if r.Method == method && r.Path == path {
			return r
		}
	}
	require.Fail(t, "no such route", method+" "+path)
	return api.RouteStats{}
}

func (s stats) query(t *testing.T, name string) api.QueryStats {
	t.Helper()
	for _, q := range s.Queries {
		if q.Name == name {
			return q
		}
	}
	require.Fail(t, "no such query", name)
	return api.QueryStats{}
}

// Every route has figures, HEAD within GET, and those of Freshet's own too.
func TestEveryRouteHasFigures(t *testing.T) {
	s := start(t)
	s.do(http.MethodHead, "/health", "")
	var names []string
	for _, r := range s.stats().Routes {
		names = append(names, r.Method+" "+r.Path)
	}
	for _, want := range []string{"GET /", "GET /health", "GET /health/ready", "GET /metrics", "GET /position", "POST /query", "GET /blogs/:id", "PATCH /blogs/:id"} {
		require.Contains(t, names, want)
	}
	for _, name := range names {
		require.NotContains(t, name, "HEAD")
		require.NotContains(t, name, "unmatched")
	}
	require.EqualValues(t, 1, s.stats().route(t, "GET", "/health").Requests)
	require.Zero(t, s.stats().route(t, "GET", "/health").Bytes, "HEAD sends none")
}

// What is wrong shows: the age of a watermark that nobody moves, Redis that is gone, and errors.
func TestStateIsMeasured(t *testing.T) {
	s := start(t, func(o *options) { o.private = true })
	s.setWatermark(time.Now().Add(-30 * time.Second))
	age, there := s.metric("freshet_watermark_age_seconds")
	require.True(t, there)
	require.InDelta(t, 30, age, patience.Seconds())
	require.GreaterOrEqual(t, age, 30.0)

	require.NoError(t, s.server.Server.Signal(syscall.SIGSTOP))
	later, there := s.metric("freshet_watermark_age_seconds")
	require.True(t, there)
	require.Greater(t, later, age, "the watermark that was seen last grows older")
	_, there = s.metric("freshet_shapes_waiting")
	require.False(t, there, "nobody can know")
	require.NoError(t, s.server.Server.Signal(syscall.SIGCONT))

	require.NoError(t, s.redis.Del(t.Context(), "freshet:watermark").Err())
	waiting, there := s.metric("freshet_shapes_waiting")
	require.True(t, there)
	require.Positive(t, waiting, "without a watermark no shape is active")

	require.Equal(t, bypass+cache.ReasonNoWatermark, s.get("/blogs/1").cacheStatus())
	require.NoError(t, s.db.Server.Kill())
	require.Equal(t, http.StatusServiceUnavailable, s.get("/blogs/1").status)
	errors, _ := s.metric(`freshet_http_request_errors_total{route="/blogs/:id"}`)
	require.InDelta(t, 1, errors, 0)
	require.EqualValues(t, 1, s.stats().route(t, "GET", "/blogs/:id").Errors)
}

// Requests that wait for a connection show, while they do, and afterwards in how long it took.
func TestWaitingRequestsAreMeasured(t *testing.T) {
	s := start(t, withLocked, func(o *options) { o.database.MaxConnections = 2 })
	unlock := s.lockAll(2)
	first := s.inBackground("/locked/0")
	s.waiting(1)
	second := s.inBackground("/locked/1")
	testenv.Eventually(t, patience, func() (bool, string) {
		waiting, _ := s.metric("freshet_gate_waiting")
		used, _ := s.metric(`freshet_pool_connections{state="in_use"}`) // also by what the api looks after now and then
		return waiting == 1 && used == 1, fmt.Sprintf("%g wait at the gate, %g connections are used", waiting, used)
	})
	s.counts(map[string]float64{
		`freshet_http_requests_in_flight`:                     3, // and the scrape
		`freshet_fills_total{query="locked"}`:                 2,
		`freshet_fill_duration_seconds_count{query="locked"}`: 0,
	})
	require.EqualValues(t, 1, s.api.State(t.Context()).GateWaiting)
	unlock()
	require.Equal(t, http.StatusOK, (<-first).status)
	require.Equal(t, http.StatusOK, (<-second).status)
	s.counts(map[string]float64{`freshet_gate_waiting`: 0, `freshet_fill_duration_seconds_count{query="locked"}`: 2})
}

// Unmeasured, nothing is there, and everything works.
func TestNothingIsMeasuredOnRequest(t *testing.T) {
	s := start(t, func(o *options) { o.api.Unmeasured = true })
	require.Equal(t, http.StatusNotFound, s.get("/metrics").status)
	require.NotContains(t, s.get("/").body, `"/metrics"`)
	require.Equal(t, stored, s.get("/blogs/1").cacheStatus())
	require.Equal(t, hit, s.get("/blogs/1").cacheStatus())
	require.Equal(t, http.StatusOK, s.write(http.MethodPatch, "/blogs/1", `{"title": "x"}`).status)
	require.Equal(t, http.StatusOK, s.do(http.MethodPost, "/query", `{"queries": [{"name": "blog_by_id", "params": {"id": 3}}]}`).status)
	require.Empty(t, s.stats().Routes)
}

// A reason that somebody adds to package cache needs a number, or it counts as "other".
func TestEveryReasonHasAnOutcome(t *testing.T) {
	s := start(t)
	text := s.scrape()
	names, err := filepath.Glob("../cache/*.go")
	require.NoError(t, err)
	found := 0
	for _, name := range names {
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
				return true
			}
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.Contains(t, text, answers("blog_by_id", "bypass", "none", reason))
			found++
			return true
		})
	}
	require.GreaterOrEqual(t, found, 9)
}
