package load

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// good is a result just inside every limit.
func good() *Result {
	at := func(p99 float64) Distribution { return Distribution{N: 1000, P50: 1, P99: p99, Max: 9999} }
	return &Result{
		Health: at(49.9), Cached: at(99.9), Database: at(199.9), Uncached: at(499.9),
		Requests: 30_000, PerSecond: 1000, Errors: 29, ErrorRate: 29.0 / 30_000,
		Hits: 801, Misses: 198, Bypassed: 1, HitRate: 0.801,
		Connections: &ConnectionsUse{Samples: 100, Mean: 3, P99: 39, Peak: 50, Most: 50},
	}
}

func TestEachTargetFailsByItself(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoil  func(*Result)
		target string
		want   Status
	}{
		{"health at its limit", func(r *Result) { r.Health.P99 = 50 }, "health, p99", Fail},
		{"health not asked", func(r *Result) { r.Health = Distribution{} }, "health, p99", NotMeasured},
		{"hits at their limit", func(r *Result) { r.Cached.P99 = 100 }, "cached (a hit), p99", Fail},
		{"no hit", func(r *Result) { r.Cached = Distribution{} }, "cached (a hit), p99", NotMeasured},
		{"no-store at its limit", func(r *Result) { r.Database.P99 = 200 }, "database (no-store), p99", Fail},
		{"no no-store", func(r *Result) { r.Database = Distribution{} }, "database (no-store), p99", NotMeasured},
		{"misses at their limit", func(r *Result) { r.Uncached.P99 = 500 }, "uncached (a miss), p99", Fail},
		{"no miss", func(r *Result) { r.Uncached = Distribution{} }, "uncached (a miss), p99", NotMeasured},
		{"one request a second too few", func(r *Result) { r.PerSecond = 999 }, "throughput", Fail},
		{"hit rate at its limit", func(r *Result) { r.HitRate = 0.8 }, "hit rate", Fail},
		{"no reads", func(r *Result) { r.Hits, r.Misses, r.Bypassed, r.HitRate = 0, 0, 0, 0 }, "hit rate", NotMeasured},
		{"errors at their limit", func(r *Result) { r.Errors = 30 }, "errors", Fail},
		{"health that fails is an error", func(r *Result) { r.HealthErrors = 2 }, "errors", Fail},
		{"connections at their limit", func(r *Result) { r.Connections.P99 = 40 }, "connections, p99", Fail},
		{"connections not counted", func(r *Result) { r.Connections, r.NotCounted = nil, "nobody knows" }, "connections, p99", NotMeasured},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.spoil(r)
			r.judge()
			require.Len(t, r.Targets, 8)
			assert.Equal(t, 1, Failed(r.Targets))
			assert.False(t, r.Pass)
			for _, v := range r.Targets {
				want := Pass
				if v.Target == tt.target {
					want = tt.want
				}
				assert.Equal(t, want, v.Status, v.Target)
			}
		})
	}
	t.Run("all are met", func(t *testing.T) {
		r := good()
		r.judge()
		assert.Zero(t, Failed(r.Targets))
		assert.True(t, r.Pass)
	})
	t.Run("interrupted", func(t *testing.T) {
		r := good()
		r.Interrupted = true
		r.judge()
		assert.False(t, r.Pass)
	})
	t.Run("nothing at all", func(t *testing.T) {
		for _, v := range Judge(&Result{}) {
			assert.Equal(t, NotMeasured, v.Status, v.Target)
		}
	})
}

func TestPrint(t *testing.T) {
	r := good()
	r.Users, r.Failures = 7, map[string]int64{"blog_list: status 503": 29}
	r.Bypasses = map[string]int64{"watermark": 1}
	r.Connections, r.NotCounted = nil, "no database URL was given"
	r.Queries = []QueryResult{{Query: blogList, HitRate: 0.5, Crowd: Comparison{SpeedUp: 2.5}}}
	r.Without = &Without{Seconds: 5, PerSecond: 500}
	r.Targets = Judge(r)
	var b strings.Builder
	require.NoError(t, r.Print(&b))
	text := b.String()
	assert.Regexp(t, `(?m)^connections, p99 +- +< 80 +not measured +no database URL was given$`, text)
	assert.Regexp(t, `(?m)^hit rate +80.1 % +> 80 +pass +801 of 1000 reads$`, text)
	for _, want := range []string{"2.50x", "failed: 29 blog_list: status 503", "past the cache: 1 watermark", "1 of 8 targets are not met", "500 req/s; with it 1000 req/s, 2.00x"} {
		assert.Contains(t, text, want)
	}
	r.Interrupted = true
	b.Reset()
	require.NoError(t, r.Print(&b))
	assert.Contains(t, b.String(), "Interrupted: this passes nothing.")
	_, err := json.Marshal(r) // no figure may be infinite or none
	require.NoError(t, err)
}

func TestConnectionsSummary(t *testing.T) {
	u := &usage{source: &Activity{}, most: 50}
	for i := range 200 {
		u.samples = append(u.samples, 200-i)
	}
	use, _ := u.summary()
	assert.Equal(t, &ConnectionsUse{Samples: 200, Mean: 100.5, P99: 198, Peak: 200, Most: 50}, use)
	u.samples = []int{4}
	use, _ = u.summary()
	assert.Equal(t, &ConnectionsUse{Samples: 1, Mean: 4, P99: 4, Peak: 4, Most: 50}, use)
	u.err = assert.AnError
	use, not := u.summary()
	assert.Nil(t, use, "half of the time is not the time")
	assert.Equal(t, assert.AnError.Error(), not)
	_, not = (&usage{source: &Activity{}}).summary()
	assert.NotEmpty(t, not)
	_, not = (&usage{}).summary()
	assert.NotEmpty(t, not)
}
