// Package heavy finds what occurs most often in a stream that has more different things than one wants to count.
//
// It owns one algorithm, Space-Saving (Metwally, Agrawal and El Abbadi, 2005): a fixed number of counters, of which the smallest is given
// to whatever has none. It must never grow beyond that number.
package heavy

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"sync"
)

// Sketch counts. It may be used by many at once.
type Sketch struct {
	mu       sync.Mutex
	capacity int
	counters counters
	byName   map[string]*counter
}

// Count is how often a name came: at most Error too often, and never too seldom.
type Count struct {
	Name  string
	Count uint64
	Error uint64
}

// New returns a sketch with so many counters. Whatever comes more often than once in so many times is among them.
func New(capacity int) *Sketch {
	return &Sketch{capacity: capacity, byName: make(map[string]*counter, capacity)}
}

// Add counts a name n times.
func (s *Sketch) Add(name string, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, n)
}

// TryAdd is Add that counts nothing if somebody else is at it: it never waits.
func (s *Sketch) TryAdd(name string, n uint64) {
	if s.mu.TryLock() {
		defer s.mu.Unlock()
		s.add(name, n)
	}
}

func (s *Sketch) add(name string, n uint64) {
	if c := s.byName[name]; c != nil {
		c.count += n
		heap.Fix(&s.counters, c.at)
		return
	}
	name = strings.Clone(name) // it may be part of something large
	if len(s.counters) < s.capacity {
		c := &counter{name: name, count: n}
		s.byName[name] = c
		heap.Push(&s.counters, c)
		return
	}
	c := s.counters[0] // the smallest: what it counted is how much too large it may be for the new name
	delete(s.byName, c.name)
	c.name, c.failing, c.count = name, c.count, c.count+n
	s.byName[name] = c
	heap.Fix(&s.counters, 0)
}

// Top are the n largest, the largest first.
func (s *Sketch) Top(n int) []Count {
	s.mu.Lock()
	all := make([]Count, 0, len(s.counters))
	for _, c := range s.counters {
		all = append(all, Count{c.name, c.count, c.failing})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error), strings.Compare(a.Name, b.Name))
	})
	return all[:min(n, len(all))]
}

type counter struct {
	name           string
	count, failing uint64
	at             int // in the heap
}

// counters is a heap with the smallest first.
type counters []*counter

func (c *counters) Len() int           { return len(*c) }
func (c *counters) Less(i, j int) bool { return (*c)[i].count < (*c)[j].count }
func (c *counters) Swap(i, j int) {
	all := *c
	all[i], all[j] = all[j], all[i]
	all[i].at, all[j].at = i, j
}

func (c *counters) Push(x any) {
	one := x.(*counter)
	one.at = len(*c)
	*c = append(*c, one)
}

// Pop is part of heap.Interface; counters never leave.
func (c *counters) Pop() any {
	last := len(*c) - 1
	one := (*c)[last]
	*c = (*c)[:last]
	return one
}
