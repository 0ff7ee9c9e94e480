package heavy_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/heavy"
)

// Counts are exact while there are counters for all names.
func TestExactBelowCapacity(t *testing.T) {
	s := heavy.New(3)
	s.Add("a", 1)
	s.Add("b", 5)
	s.TryAdd("a", 2)
	require.Equal(t, []heavy.Count{{"b", 5, 0}, {"a", 3, 0}}, s.Top(10))
	require.Equal(t, []heavy.Count{{"b", 5, 0}}, s.Top(1))
}

// What is frequent is found among many times more names than counters, and its count is right within the error that is told.
func TestFrequentAmongMany(t *testing.T) {
	const capacity, n = 100, 200_000
	s, exact := heavy.New(capacity), map[string]uint64{}
	draw := rand.New(rand.NewPCG(1, 2))
	for range n {
		name := fmt.Sprint("rare ", draw.IntN(50_000))
		if draw.IntN(10) == 0 {
			name = fmt.Sprint("often ", draw.IntN(3))
		}
		s.Add(name, 1)
		exact[name]++
	}
	top := s.Top(3)
	for _, c := range top {
		require.Contains(t, c.Name, "often")
	}
	for _, c := range s.Top(n) {
		require.GreaterOrEqual(t, c.Count, exact[c.Name])
		require.LessOrEqual(t, c.Count-c.Error, exact[c.Name])
		require.LessOrEqual(t, c.Error, uint64(n/capacity))
	}
	require.Len(t, s.Top(n), capacity)
}

func TestConcurrent(t *testing.T) {
	s := heavy.New(8)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 1000 {
				s.Add(fmt.Sprint(i, j%5), 1)
				s.Top(3)
			}
		})
	}
	all.Wait()
	require.Len(t, s.Top(100), 8)
}
