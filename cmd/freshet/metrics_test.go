package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// scraped is what a process tells Prometheus, by series. promtool must accept it without a word.
func scraped(t *testing.T, base string) map[string]float64 {
	t.Helper()
	a := get(t, base+"/metrics")
	require.Equal(t, http.StatusOK, a.status, a.body)
	problems, err := promlint.New(strings.NewReader(a.body)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	series := map[string]float64{}
	for line := range strings.SplitSeq(a.body, "\n") {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			series[line[:i]], err = strconv.ParseFloat(line[i+1:], 64)
			require.NoError(t, err)
		}
	}
	return series
}

// The three processes tell Prometheus what happens to a change, from the commit to the read that shows it.
func TestMetricsOfProcesses(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	b.db.Exec(t, `INSERT INTO blogs (title, slug, content, status, author) VALUES ('A title', 'a', 'x', 'published', 'ada')`)
	processes, api := b.start(t, "--example")
	cdc, invalidator := opsOf(t, processes[0]), opsOf(t, processes[1])
	untilHit(t, api+"/blogs/1")
	before := scraped(t, invalidator)
	b.db.Exec(t, "UPDATE blogs SET title = 'Another title' WHERE id = 1")
	untilShows(t, api+"/blogs/1", "Another title")

	const update = `changes_total{op="update",table="public.blogs"}`
	for _, tt := range []struct {
		base   string
		series map[string]float64 // at least
	}{
		{api, map[string]float64{
			`freshet_build_info{process="api",version="` + version + `"}`:                         1,
			`freshet_cache_answers_total{query="blog_by_id",reason="",status="hit",tier="redis"}`: 1,
			`freshet_cache_answers_total{query="blog_by_id",reason="",status="miss",tier="none"}`: 2,
			`freshet_http_request_duration_seconds_count{route="/blogs/:id"}`:                     3,
			"freshet_pool_connections_max":                                                        1,
			"freshet_watermark_age_seconds":                                                       0,
			"go_goroutines":                                                                       1,
			"process_cpu_seconds_total":                                                           0,
		}},
		{cdc, map[string]float64{
			`freshet_build_info{process="cdc",version="` + version + `"}`: 1,
			"freshet_cdc_" + update:           1,
			"freshet_cdc_transactions_total":  1,
			"freshet_cdc_streaming":           1,
			"freshet_cdc_sessions_total":      1,
			"freshet_cdc_lag_bytes":           0,
			"freshet_cdc_lag_seconds":         0,
			"freshet_cdc_slot_retained_bytes": 0,
			"go_goroutines":                   1,
		}},
		{invalidator, map[string]float64{
			`freshet_build_info{process="invalidator",version="` + version + `"}`: 1,
			"freshet_invalidator_" + update:                                       1,
			`freshet_invalidator_matched_total{table="public.blogs"}`:             1,
			`freshet_invalidator_buckets_cleared_total{table="public.blogs"}`:     1,
			"freshet_invalidator_commit_to_cleared_seconds_count":                 before["freshet_invalidator_commit_to_cleared_seconds_count"] + 1,
			"freshet_invalidator_lag_messages":                                    0,
			"freshet_invalidator_lag_seconds":                                     0,
			"freshet_watermark_age_seconds":                                       0,
			`freshet_invalidator_clears_total{reason="no-watermark"}`:             1,
		}},
	} {
		testenv.Eventually(t, patience, func() (bool, string) {
			got := scraped(t, tt.base)
			for series, least := range tt.series {
				if v, there := got[series]; !there || v < least {
					return false, fmt.Sprintf("%s is %g (%t), should be at least %g", series, v, there, least)
				}
			}
			return true, ""
		})
	}
	require.Equal(t, http.StatusMethodNotAllowed, send(t, http.MethodPost, cdc+"/metrics", "", "").status)
}

// A link that is gone must show as a lag, though nothing moves that could tell of it.
func TestLagShowsWhileALinkIsGone(t *testing.T) {
	b := newBackends(t, testenv.PrivatePostgres(t, nil))
	b.migrate(t, "--example")
	b.db.Exec(t, `INSERT INTO blogs (title, slug, content, status, author) VALUES ('A title', 'a', 'x', 'published', 'ada')`)
	b.env = b.with("HEALTH_INTERVAL=100ms")
	processes, api := b.start(t, "--example")
	cdc, invalidator := opsOf(t, processes[0]), opsOf(t, processes[1])
	untilHit(t, api+"/blogs/1")
	above := func(base, series string, least float64) {
		t.Helper()
		testenv.Eventually(t, patience, func() (bool, string) {
			got := scraped(t, base)[series]
			return got > least, fmt.Sprintf("%s is %g, should be above %g", series, got, least)
		})
	}
	write := func() { b.db.Exec(t, "UPDATE blogs SET content = repeat(md5(random()::text), 40000) WHERE id = 1") }
	require.NoError(t, b.redis.Server.Kill())
	write()
	above(invalidator, "freshet_invalidator_lag_messages", 0)
	above(invalidator, "freshet_invalidator_lag_bytes", 0)
	require.NoError(t, b.nats.Server.Stop(t.Context()))
	b.db.Exec(t, "CREATE TABLE other AS SELECT md5(random()::text) FROM generate_series(1, 50000)")
	above(cdc, "freshet_cdc_lag_bytes", 1<<20)
}
