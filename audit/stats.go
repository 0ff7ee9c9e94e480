package audit

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// stats counts. Everything is guarded by mu; told is held while somebody is told of a stale entry.
type stats struct {
	told sync.Mutex

	mu      sync.Mutex
	sum     Summary
	ended   time.Time
	known   map[string]bool // stale entries
	entries reservoir
	marks   reservoir
	lags    reservoir
}

func (s *stats) init(seed uint64) {
	s.sum = Summary{Unserved: map[string]int64{}, Foreign: map[string]int64{}, Failures: map[string]int64{}, Queries: map[string]Tally{}, Began: time.Now()}
	s.known = map[string]bool{}
	for i, r := range []*reservoir{&s.entries, &s.marks, &s.lags} {
		r.draw = rand.New(rand.NewPCG(seed, uint64(i)+1))
	}
}

func (s *stats) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Began = time.Now()
}

func (s *stats) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
}

func (s *stats) count(query string, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Sampled++
	switch o.verdict {
	case dead:
		s.sum.Dead++
		return
	case failed:
		s.sum.Failed++
		return
	case unserved:
		s.sum.Unserved[o.reason]++
		return
	}
	s.sum.add(o.verdict)
	s.tally(query, func(t *Tally) { t.add(o.verdict) })
	if o.first != nil {
		s.entries.add(o.entryAge)
		s.marks.add(o.watermarkAge)
	}
	if o.verdict == behind {
		s.lags.add(o.lag)
	}
}

func (s *stats) tally(query string, change func(*Tally)) {
	t := s.sum.Queries[query]
	change(&t)
	s.sum.Queries[query] = t
}

func (s *stats) foreign(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Sampled++
	s.sum.Foreign[reason]++
}

// failed is true for the first of a kind.
func (s *stats) failed(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Failures[what]++
	return s.sum.Failures[what] == 1
}

func (s *stats) cleared(query string, identical, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := func(t *Tally) {
		t.Cleared++
		if identical {
			t.Identical++
		}
		if whole {
			t.Whole++
		}
	}
	change(&s.sum.Tally)
	s.tally(query, change)
}

func (s *stats) asked(hit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hit {
		s.sum.AnsweredByAPI++
	} else {
		s.sum.NotByAPI++
	}
}

func (s *stats) evicted(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Evicted = n
}

// isNew is true once for each stale entry, as long as they are few enough to tell of each.
func (s *stats) isNew(e *Stale) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := e.field + " " + e.identity + " " + string(e.Kind)
	if s.known[id] || len(s.known) >= maxReported {
		return false
	}
	s.known[id] = true
	s.sum.StaleEntries++
	return true
}

func (s *stats) total() Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum.Tally
}

func (s *stats) summary() Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.sum
	sum.Unserved, sum.Foreign, sum.Failures = maps.Clone(sum.Unserved), maps.Clone(sum.Foreign), maps.Clone(sum.Failures)
	sum.Queries = maps.Clone(sum.Queries)
	end := s.ended
	if end.IsZero() {
		end = time.Now()
	}
	sum.Duration = end.Sub(sum.Began)
	sum.Seconds = sum.Duration.Seconds()
	sum.Consistency = consistency(sum.Stale, sum.Checked)
	if sum.Cleared > 0 {
		share := float64(sum.Identical) / float64(sum.Cleared)
		sum.Overclearing = &share
	}
	sum.EntryAge, sum.WatermarkAge, sum.BehindFor = s.entries.distribution(), s.marks.distribution(), s.lags.distribution()
	return sum
}

// reservoir keeps a random choice of the times that it was given, and the longest.
type reservoir struct {
	draw *rand.Rand
	n    int64
	max  time.Duration
	kept []time.Duration
}

// maxKept bounds a reservoir.
const maxKept = 10_000

func (r *reservoir) add(d time.Duration) {
	r.n++
	r.max = max(r.max, d)
	if len(r.kept) < maxKept {
		r.kept = append(r.kept, d)
	} else if i := r.draw.Int64N(r.n); i < maxKept {
		r.kept[i] = d
	}
}

func (r *reservoir) distribution() Distribution {
	if r.n == 0 {
		return Distribution{}
	}
	sorted := slices.Sorted(slices.Values(r.kept))
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1))].Seconds() }
	return Distribution{N: r.n, P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: r.max.Seconds()}
}
