package telemetry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
)

// clock is one that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

var testOutcomes = []Outcome{{StatusHit, TierRedis, ""}, {StatusMiss, TierNone, ""}, {StatusBypass, TierNone, "no-store"}}

func newTestAPI(c *clock, s APIState) *API {
	return NewAPI("1.2.3", c.now, testOutcomes, func(context.Context) APIState { return s })
}

// scrape is what a process answers to Prometheus. It has to be what promtool accepts without a word.
func scrape(t *testing.T, r Registry) string {
	t.Helper()
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, string(text))
	problems, err := promlint.New(strings.NewReader(string(text))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	return string(text)
}

// has wants lines of a scrape.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		require.Contains(t, "\n"+text, "\n"+line+"\n")
	}
}

func TestRequestsAreCounted(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	a := newTestAPI(c, APIState{})
	blog := a.Named("blog", true)
	get := a.Serve("GET", "/blogs/:id", blog)
	head := a.Serve("HEAD", "/blogs/:id", nil)
	a.Serve("PATCH", "/blogs/:id", a.Named("update", false))
	require.Same(t, get, a.Serve("GET", "/blogs/:id", nil))
	require.Same(t, get.Window, head.Window)
	require.Len(t, a.Routes(), 2)

	request := func(method, path string, took time.Duration, code int, bytes int64, failed bool) *Route {
		r, began := a.Begin(method, path)
		has(t, scrape(t, a.Registry), "freshet_http_requests_in_flight 1")
		c.at = c.at.Add(took)
		r.End(began, code, bytes, failed)
		return r
	}
	require.Same(t, get, request("GET", "/blogs/:id", 2500*time.Microsecond, 200, 100, false)) // not more than the bound
	get.Answered(0)
	require.Same(t, head, request("HEAD", "/blogs/:id", 30*time.Millisecond, 200, 0, false))
	get.Answered(1)
	request("GET", "/blogs/:id", 40*time.Second, 503, 50, true)
	request("PATCH", "/blogs/:id", 3*time.Millisecond, 201, 7, false)
	request("BREW", "/pot", time.Millisecond, 404, 1, false)
	request("BREW", "/pots", time.Millisecond, 999, 1, false)
	request("GET", "", time.Millisecond, 404, 1, false)
	blog.Together(c.at.Add(-time.Second), 2, 11)
	blog.Fill()
	blog.Filled(c.at.Add(-20*time.Millisecond), 11, false)

	text := scrape(t, a.Registry)
	has(t, text,
		`freshet_build_info{process="api",version="1.2.3"} 1`,
		`freshet_http_requests_in_flight 0`,
		`freshet_http_requests_total{code="200",method="GET",route="/blogs/:id"} 1`,
		`freshet_http_requests_total{code="200",method="HEAD",route="/blogs/:id"} 1`,
		`freshet_http_requests_total{code="503",method="GET",route="/blogs/:id"} 1`,
		`freshet_http_requests_total{code="201",method="PATCH",route="/blogs/:id"} 1`,
		`freshet_http_requests_total{code="404",method="other",route="unmatched"} 1`,
		`freshet_http_requests_total{code="0",method="other",route="unmatched"} 1`,
		`freshet_http_requests_total{code="404",method="GET",route="unmatched"} 1`,
		`freshet_http_request_errors_total{route="/blogs/:id"} 1`,
		`freshet_http_request_errors_total{route="unmatched"} 0`,
		`freshet_http_response_bytes_total{route="/blogs/:id"} 157`,
		`freshet_http_request_duration_seconds_bucket{route="/blogs/:id",le="0.0025"} 1`,
		`freshet_http_request_duration_seconds_bucket{route="/blogs/:id",le="10"} 3`,
		`freshet_http_request_duration_seconds_count{route="/blogs/:id"} 4`,
		`freshet_cache_answers_total{query="blog",reason="",status="hit",tier="redis"} 1`,
		`freshet_cache_answers_total{query="blog",reason="",status="miss",tier="none"} 1`,
		`freshet_cache_answers_total{query="blog",reason="no-store",status="bypass",tier="none"} 1`,
		`freshet_fills_total{query="blog"} 1`,
		`freshet_fill_duration_seconds_bucket{query="blog",le="0.025"} 1`,
	)
	require.NotContains(t, text, `query="update"`)
	require.NotContains(t, text, "BREW")

	s := get.Window.Snapshot(c.at, MaxSpan)
	require.EqualValues(t, 3, s.Requests)
	require.EqualValues(t, 1, s.Errors)
	require.EqualValues(t, 150, s.Bytes)
	require.Equal(t, []uint64{1, 1, 0}, s.Outcomes)
	require.Equal(t, 40*time.Second, s.Max)
	s = blog.Snapshot(c.at, MaxSpan)
	require.EqualValues(t, 4, s.Requests)
	require.Equal(t, []uint64{1, 1, 1}, s.Outcomes)
	require.EqualValues(t, 1, blog.Fills.Snapshot(c.at, MaxSpan).Requests)
}

// The first request after a pause is of now, and so is how it was answered.
func TestRequestAfterAPause(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	a := newTestAPI(c, APIState{})
	get := a.Serve("GET", "/", a.Named("all", true))
	for range 3 {
		c.at = c.at.Add(10 * time.Minute)
		r, began := a.Begin("GET", "/")
		r.Answered(1)
		r.End(began, 200, 1, false)
		s := get.Window.Snapshot(c.at, time.Minute)
		require.EqualValues(t, 1, s.Requests)
		require.Equal(t, []uint64{0, 1, 0}, s.Outcomes)
	}
}

// What is not known is not there: 0 would say that all is well.
func TestStateOfTheAPI(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	text := scrape(t, newTestAPI(c, APIState{
		PoolInUse: 3, PoolIdle: 4, PoolMax: 20, PoolWaits: 5, PoolWait: 1500 * time.Millisecond, GateWaiting: 6,
		WatermarkAge: 2 * time.Second, ShapesWaiting: 7, QueriesDisabled: 8,
	}).Registry)
	has(t, text,
		`freshet_pool_connections{state="in_use"} 3`, `freshet_pool_connections{state="idle"} 4`, `freshet_pool_connections_max 20`,
		`freshet_pool_waits_total 5`, `freshet_pool_wait_seconds_total 1.5`, `freshet_gate_waiting 6`, `freshet_watermark_age_seconds 2`,
		`freshet_shapes_waiting 7`, `freshet_queries_disabled 8`,
	)
	text = scrape(t, newTestAPI(c, APIState{WatermarkAge: -1, ShapesWaiting: -1}).Registry)
	require.NotContains(t, text, "freshet_watermark_age_seconds")
	require.NotContains(t, text, "freshet_shapes_waiting")
	has(t, text, `freshet_queries_disabled 0`)
}

// An observation on the way of a request takes no memory.
func TestObservationsAllocateNothing(t *testing.T) {
	a := newTestAPI(&clock{time.Unix(1000, 0)}, APIState{})
	a.Serve("GET", "/blogs/:id", a.Named("blog", true))
	allocations := testing.AllocsPerRun(1000, func() {
		r, began := a.Begin("GET", "/blogs/:id")
		r.Answered(0)
		r.End(began, 200, 1000, false)
	})
	require.Zero(t, allocations)
}

func TestRequestsFromEverywhere(t *testing.T) {
	a := NewAPI("", time.Now, testOutcomes, func(context.Context) APIState { return APIState{} })
	a.Serve("GET", "/", a.Named("all", true))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 1000 {
				r, began := a.Begin("GET", "/")
				r.Answered(i % 3)
				r.End(began, 200+i%3, 1, false)
			}
			scrape(t, a.Registry)
		})
	}
	group.Wait()
	has(t, scrape(t, a.Registry), `freshet_http_requests_total{code="200",method="GET",route="/"} 3000`, `freshet_http_requests_in_flight 0`,
		`freshet_http_response_bytes_total{route="/"} 8000`)
}

func TestMetricsOfCDC(t *testing.T) {
	clk := &clock{time.Unix(1000, 0)}
	c := NewCDC("1.2.3", clk.now)
	before := scrape(t, c.Registry)
	for _, unknown := range []string{"freshet_cdc_lag_bytes", "freshet_cdc_lag_seconds", "freshet_cdc_slot_retained_bytes"} {
		require.NotContains(t, before, unknown)
	}
	c.Changes("public.blogs", "update", 3)
	c.Changes("public.blogs", "update", 2)
	c.Transaction()
	c.Message(100)
	c.Message(20)
	c.BarrierWaited(3 * time.Millisecond)
	c.Reset("slot-new")
	c.Streaming(true)
	c.WALEnd(5000)
	c.Reached(4000, clk.at)
	c.Retained(1 << 20)
	clk.at = clk.at.Add(1500 * time.Millisecond)
	has(t, scrape(t, c.Registry),
		`freshet_build_info{process="cdc",version="1.2.3"} 1`,
		`freshet_cdc_changes_total{op="update",table="public.blogs"} 5`, `freshet_cdc_transactions_total 1`, `freshet_cdc_messages_total 2`,
		`freshet_cdc_message_bytes_total 120`, `freshet_cdc_barrier_waits_total 1`, `freshet_cdc_barrier_wait_seconds_bucket{le="0.005"} 1`,
		`freshet_cdc_resets_total{reason="slot-new"} 1`, `freshet_cdc_sessions_total 1`, `freshet_cdc_streaming 1`,
		`freshet_cdc_lag_bytes 1000`, `freshet_cdc_lag_seconds 1.5`, `freshet_cdc_slot_retained_bytes 1.048576e+06`,
	)
	c.Reached(6000, time.Time{}) // further than the end that was heard of last, at a time that nobody knows
	c.Streaming(false)
	has(t, scrape(t, c.Registry), `freshet_cdc_lag_bytes 0`, `freshet_cdc_lag_seconds 1.5`, `freshet_cdc_streaming 0`, `freshet_cdc_sessions_total 1`)
}

func TestMetricsOfTheInvalidator(t *testing.T) {
	clk := &clock{time.Unix(1000, 0)}
	v := NewInvalidator("1.2.3", clk.now, clk.now)
	before := scrape(t, v.Registry)
	for _, unknown := range []string{"freshet_invalidator_lag", "freshet_watermark_age_seconds"} {
		require.NotContains(t, before, unknown)
	}
	v.Changes("public.blogs", "insert", 3)
	v.Matched("public.blogs", 2)
	v.Cleared("public.blogs", 4)
	v.Cleared("public.other", 0)
	v.CommitCleared(clk.at.Add(-4 * time.Millisecond))
	v.CommitCleared(clk.at.Add(time.Millisecond)) // never negative
	v.Applied(2 * time.Millisecond)
	v.Lag(9, clk.at.Add(-time.Second))
	v.Watermark(clk.at.Add(-250 * time.Millisecond))
	v.Watermark(time.Time{})
	v.ChainBroke()
	v.ClearedAll("no-watermark")
	text := scrape(t, v.Registry)
	has(t, text,
		`freshet_build_info{process="invalidator",version="1.2.3"} 1`,
		`freshet_invalidator_changes_total{op="insert",table="public.blogs"} 3`, `freshet_invalidator_matched_total{table="public.blogs"} 2`,
		`freshet_invalidator_buckets_cleared_total{table="public.blogs"} 4`,
		`freshet_invalidator_commit_to_cleared_seconds_bucket{le="0.0025"} 1`, `freshet_invalidator_commit_to_cleared_seconds_count 2`,
		`freshet_invalidator_apply_duration_seconds_bucket{le="0.0025"} 1`, `freshet_invalidator_lag_messages 9`,
		`freshet_invalidator_lag_seconds 1`, `freshet_watermark_age_seconds 0.25`, `freshet_invalidator_chain_breaks_total 1`,
		`freshet_invalidator_clears_total{reason="no-watermark"} 1`,
	)
	require.NotContains(t, text, "public.other")
}

// A database of a thousand tables does not become a thousand series.
func TestTablesAreBounded(t *testing.T) {
	v := NewInvalidator("", time.Now, time.Now)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 3 * maxTables {
				v.Changes(fmt.Sprintf("public.t%d", i), "insert", 1)
			}
		})
	}
	group.Wait()
	text := scrape(t, v.Registry)
	require.Equal(t, maxTables+1, strings.Count(text, "freshet_invalidator_changes_total{"))
	has(t, text, `freshet_invalidator_changes_total{op="insert",table="public.t0"} 4`,
		fmt.Sprintf(`freshet_invalidator_changes_total{op="insert",table="other"} %d`, 4*2*maxTables))
}

// Whoever measures need not ask whether anybody wants to know.
func TestNobodyMeasures(t *testing.T) {
	var c *CDC
	c.Changes("t", "insert", 1)
	c.Transaction()
	c.Message(1)
	c.BarrierWaited(1)
	c.Reset("x")
	c.Streaming(true)
	c.WALEnd(1)
	c.Reached(1, time.Now())
	c.Retained(1)
	var v *Invalidator
	v.Changes("t", "insert", 1)
	v.Matched("t", 1)
	v.Cleared("t", 1)
	v.CommitCleared(time.Now())
	v.Applied(1)
	v.Lag(1, time.Now())
	v.Watermark(time.Now())
	v.ChainBroke()
	v.ClearedAll("x")
	var a *API
	require.Nil(t, a.Named("q", true))
	r := a.Serve("GET", "/", nil)
	require.Nil(t, r)
	r.Answered(0)
	var q *Query
	q.Fill()
	q.Filled(time.Now(), 1, false)
	q.Together(time.Now(), 0, 1)
}

func BenchmarkRequest(b *testing.B) {
	a := NewAPI("", time.Now, testOutcomes, func(context.Context) APIState { return APIState{} })
	a.Serve("GET", "/blogs/:id", a.Named("blog", true))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, began := a.Begin("GET", "/blogs/:id")
			r.Answered(0)
			r.End(began, 200, 1000, false)
		}
	})
}
