package load

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram counts durations from a microsecond to a minute with three digits, in 140 KB whatever it counts.
type histogram struct {
	mu     sync.Mutex
	counts *hdrhistogram.Histogram
}

const longest = time.Minute

func newHistogram() *histogram {
	return &histogram{counts: hdrhistogram.New(1, longest.Microseconds(), 3)}
}

func (h *histogram) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Longer than the longest is counted as that: clientTimeout is far below.
	_ = h.counts.RecordValue(max(1, min(d, longest).Microseconds()))
}

func (h *histogram) merge(more *histogram) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.Merge(more.counts)
}

// distribution is what a report says of a histogram.
func (h *histogram) distribution() Distribution {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := func(percent float64) float64 { return float64(h.counts.ValueAtPercentile(percent)) / 1000 }
	return Distribution{N: h.counts.TotalCount(), P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: float64(h.counts.Max()) / 1000}
}

// byQuery is how long the answers of one query took, by where they came from.
type byQuery struct {
	cached, uncached, database *histogram
}

// recorder is what has been seen. Its maps of queries are made once and only read; what is counted for each request is atomic or short.
type recorder struct {
	reads  map[string]*byQuery
	writes map[string]*histogram
	health *histogram

	requests, errors, healthErrors atomic.Int64
	writeCount                     atomic.Int64
	hits, misses, bypassed         atomic.Int64 // of the reads that did not ask for an answer from Postgres

	mu       sync.Mutex
	bypasses map[string]int64
	failures map[string]int64
}

func newRecorder() *recorder {
	r := &recorder{
		reads: map[string]*byQuery{}, writes: map[string]*histogram{}, health: newHistogram(),
		bypasses: map[string]int64{}, failures: map[string]int64{},
	}
	for _, q := range reads {
		r.reads[q.query] = &byQuery{newHistogram(), newHistogram(), newHistogram()}
	}
	for _, q := range writes {
		r.writes[q] = newHistogram()
	}
	return r
}

// add counts a request. What failed has no place among the latencies: an error in no time would make them look better.
func (r *recorder) add(q request, a answer, err error, took time.Duration) {
	r.requests.Add(1)
	if err != nil || !a.ok() {
		r.errors.Add(1)
		r.fail(q.query, a, err)
		return
	}
	if h, ok := r.writes[q.query]; ok {
		r.writeCount.Add(1)
		h.record(took)
		return
	}
	of := r.reads[q.query]
	if q.noStore {
		of.database.record(took)
		return
	}
	switch a.source {
	case sourceCache:
		r.hits.Add(1)
		of.cached.record(took)
	case sourceMiss:
		r.misses.Add(1)
		of.uncached.record(took)
	default:
		// The cache could have been used and was not: for the reader that is an uncached answer.
		r.bypassed.Add(1)
		of.uncached.record(took)
		r.mu.Lock()
		r.bypasses[a.reason]++
		r.mu.Unlock()
	}
}

func (r *recorder) addHealth(a answer, err error, took time.Duration) {
	if err != nil || !a.ok() {
		r.healthErrors.Add(1)
		r.fail(healthName, a, err)
		return
	}
	r.health.record(took)
}

func (r *recorder) fail(query string, a answer, err error) {
	what := fmt.Sprintf("%s: status %d", query, a.status)
	if err != nil {
		what = query + ": " + kind(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[what]++
}

// kind is an error without the ports in it, of which there would be as many as connections.
func kind(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	default:
		return "the connection was lost"
	}
}
