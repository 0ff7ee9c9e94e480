package warm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Often and lately: after a half-life one change counts as much as two did before it.
func TestRankingOrder(t *testing.T) {
	r := newRanking(10, time.Hour)
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for range 4 {
		r.add([]byte("four times, an hour ago"), at)
	}
	r.add([]byte("once, an hour ago"), at)
	r.add([]byte("once, now"), at.Add(time.Hour))
	r.add([]byte("once, in between"), at.Add(30*time.Minute))
	r.add([]byte("once, long ago"), at.Add(-1000*time.Hour)) // 2^-1000 of the others: nothing overflows
	require.Equal(t, []string{
		"four times, an hour ago", "once, now", "once, in between", "once, an hour ago", "once, long ago",
	}, r.best())
	r.add([]byte("once, an hour ago"), at.Add(time.Hour))
	require.Equal(t, []string{"four times, an hour ago", "once, an hour ago", "once, now"}, r.best()[:3], "2 of now, 1.5, 1")
}

// With room enough it is exact, whatever the order of what comes.
func TestRankingIsExact(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	r := newRanking(100, time.Minute)
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	want := map[string]float64{}
	for range 10_000 {
		key, after := fmt.Sprint(draw.IntN(100)), time.Duration(draw.IntN(600))*time.Second
		r.add([]byte(key), at.Add(after))
		want[key] += math.Exp2(after.Minutes())
	}
	best := r.best()
	require.Len(t, best, 100)
	require.True(t, slices.IsSortedFunc(best, func(x, y string) int {
		if want[x] >= want[y]*(1-1e-9) {
			return -1
		}
		return 1
	}))
	require.False(t, r.replaced)
}

// However long the log is, memory is that of the capacity, and what is changed often is found among what is changed once.
func TestRankingIsBounded(t *testing.T) {
	const capacity = 4000
	draw := rand.New(rand.NewPCG(3, 4))
	r := newRanking(capacity, time.Hour)
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var early uint64
	for i := range 2_000_000 {
		key := fmt.Sprintf("once %d", i)
		if i%4 == 0 {
			key = fmt.Sprintf("often %d", draw.IntN(500))
		}
		at = at.Add(time.Millisecond)
		r.add([]byte(key), at)
		if i == 100_000 {
			early = heap()
		}
	}
	late := heap()
	t.Logf("heap after 100,000 changes: %d KB, after 2,000,000: %d KB", early>>10, late>>10)
	require.Less(t, late, early+early/5)
	require.Len(t, r.byKey, capacity)
	require.True(t, r.replaced)
	best := r.best()
	for i := range 500 {
		require.Contains(t, best[0:500], fmt.Sprintf("often %d", i))
	}
	require.Contains(t, best[500:600], "once 1999999", "of the others the latest")
}
