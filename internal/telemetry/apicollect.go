package telemetry

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric describes a metric that is made at each scrape.
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// apiTotals are the counters that the windows keep anyway: nothing is counted twice.
type apiTotals struct{ api *API }

var (
	requests      = metric("http_requests_total", "Requests by route, method and status code.", "route", "method", "code")
	durations     = metric("http_request_duration_seconds", "Time to answer a request.", "route")
	responseBytes = metric("http_response_bytes_total", "Bytes of the bodies of answers.", "route")
	requestErrors = metric("http_request_errors_total",
		"Requests that failed with 5xx, without those that asked for it (504 to only-if-cached).", "route")
	cacheAnswers = metric("cache_answers_total",
		"Answers to reads: from which tier of the cache, or from Postgres and why.", "query", "status", "tier", "reason")
	fills        = metric("fills_total", "Times that a query's statement was to be run, whether it got a connection or not.", "query")
	fillDuration = metric("fill_duration_seconds", "Time of a query's statement, without the wait for a connection.", "query")
)

// Describe is part of prometheus.Collector.
func (t *apiTotals) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requests, durations, responseBytes, requestErrors, cacheAnswers, fills, fillDuration} {
		to <- d
	}
}

// Collect is part of prometheus.Collector.
func (t *apiTotals) Collect(to chan<- prometheus.Metric) {
	windows := map[string][]*Window{} // by path
	for _, r := range t.api.routes {
		if !slices.Contains(windows[r.Path], r.Window) { // that of GET is that of HEAD
			windows[r.Path] = append(windows[r.Path], r.Window)
		}
		for code := range r.codes {
			if n := r.codes[code].Load(); n > 0 {
				count(to, requests, n, r.Path, r.Method, strconv.Itoa(code))
			}
		}
	}
	for route, all := range windows {
		var bytes, errors uint64
		for _, w := range all {
			bytes += w.TotalBytes()
			errors += w.TotalErrors()
		}
		count(to, responseBytes, bytes, route)
		count(to, requestErrors, errors, route)
		histogram(to, durations, all, route)
	}
	for _, q := range t.api.queries {
		if !q.Reads {
			continue
		}
		// All of them, also those that are 0: a rate cannot see the first increase of a counter that was not there.
		for i, o := range t.api.outcomes {
			count(to, cacheAnswers, q.total(i), q.Name, o.Status, o.Tier, o.Reason)
		}
		count(to, fills, q.fills.Load(), q.Name)
		histogram(to, fillDuration, []*Window{q.Fills}, q.Name)
	}
}

func count(to chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func histogram(to chan<- prometheus.Metric, d *prometheus.Desc, windows []*Window, labels ...string) {
	var total uint64
	var sum time.Duration
	below := make([]uint64, len(latencyBounds))
	for _, w := range windows {
		n, took := w.histogram(below)
		total, sum = total+n, sum+took
	}
	buckets := make(map[float64]uint64, len(below))
	for i, n := range below {
		buckets[latencyBuckets[i]] = n
	}
	to <- prometheus.MustNewConstHistogram(d, total, sum.Seconds(), buckets, labels...)
}

// apiState asks for the state at each scrape.
type apiState struct {
	read func(context.Context) APIState
}

var (
	poolConnections = metric("pool_connections", "Connections of the pool to Postgres.", "state")
	poolMax         = metric("pool_connections_max", "Connections that the pool may have.")
	poolWaits       = metric("pool_waits_total", "Times that somebody had to wait for a connection of the pool.")
	poolWait        = metric("pool_wait_seconds_total", "Time spent waiting for a connection of the pool.")
	gateWaiting     = metric("gate_waiting", "Requests that wait for their turn to use the pool.")
	watermarkAge    = metric("watermark_age_seconds",
		"How far the cache is behind the database: the time since the watermark, by the clock of Postgres.")
	shapesWaiting   = metric("shapes_waiting", "Shapes of the queries that are not active in the cache: what needs them is not cached.")
	queriesDisabled = metric("queries_disabled", "Queries that are not cached any more because a definition has changed.")
)

// Describe is part of prometheus.Collector.
func (c *apiState) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		poolConnections, poolMax, poolWaits, poolWait, gateWaiting, watermarkAge, shapesWaiting, queriesDisabled,
	} {
		to <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *apiState) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), StateTimeout)
	defer cancel()
	s := c.read(ctx)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(poolConnections, float64(s.PoolInUse), "in_use")
	gauge(poolConnections, float64(s.PoolIdle), "idle")
	gauge(poolMax, float64(s.PoolMax))
	to <- prometheus.MustNewConstMetric(poolWaits, prometheus.CounterValue, float64(s.PoolWaits))
	to <- prometheus.MustNewConstMetric(poolWait, prometheus.CounterValue, s.PoolWait.Seconds())
	gauge(gateWaiting, float64(s.GateWaiting))
	if s.WatermarkAge >= 0 {
		gauge(watermarkAge, s.WatermarkAge.Seconds())
	}
	if s.ShapesWaiting >= 0 {
		gauge(shapesWaiting, float64(s.ShapesWaiting))
	}
	gauge(queriesDisabled, float64(s.QueriesDisabled))
}
