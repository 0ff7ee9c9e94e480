package audit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
)

// The bounds are those of the tables: 1-0.05^(1/n) for none, and Clopper and Pearson's for some.
func TestUpperBound(t *testing.T) {
	for _, tt := range []struct {
		k, n int64
		want float64
	}{
		{0, 1, 0.95}, {0, 10, 0.258866}, {0, 3000, 0.000998085}, {0, 1_000_000, 2.99573e-6},
		{1, 10, 0.394163}, {2, 100, 0.0616237}, {5, 1000, 0.0104841}, {10, 10, 1}, {0, 0, 1},
	} {
		require.InEpsilon(t, tt.want, upperBound(tt.k, tt.n), 1e-4, "%d of %d", tt.k, tt.n)
	}
	require.InDelta(t, 3.0008, consistency(0, 3000).Nines, 1e-3)
	require.Zero(t, consistency(0, 0).Nines)
}

// Few times are all kept; of many a choice that stands for them, and always the longest.
func TestDistribution(t *testing.T) {
	var s stats
	s.init(1)
	require.Zero(t, s.entries.distribution())
	for i := 1; i <= 100; i++ {
		s.entries.add(time.Duration(i) * time.Second)
	}
	require.Equal(t, Distribution{N: 100, P50: 50, P90: 90, P99: 99, Max: 100}, s.entries.distribution())
	for i := range 100_000 {
		s.marks.add(time.Duration(i) * time.Millisecond)
	}
	d := s.marks.distribution()
	require.Len(t, s.marks.kept, maxKept)
	require.InDelta(t, 50, d.P50, 3)
	require.InDelta(t, 99.999, d.Max, 0.01)
}

// Long bodies are cut to what is near their first difference.
func TestExcerpts(t *testing.T) {
	long := make([]byte, 1000)
	for i := range long {
		long[i] = 'a'
	}
	other := append([]byte(nil), long...)
	other[500] = 'b'
	x, y := excerpts(cache.Result{Found: true, Body: long}, cache.Result{Found: true, Body: other})
	require.Contains(t, y, "aab")
	require.NotContains(t, x, "ab")
	require.LessOrEqual(t, len(x), excerptBefore+excerptAfter+40)
	require.Contains(t, x, "(1000 bytes)")
	x, y = excerpts(cache.Result{}, cache.Result{Found: true, Body: []byte(`{"n":1}`)})
	require.Equal(t, "null", x)
	require.JSONEq(t, `{"n":1}`, y)
}
