package telemetry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Window counts what happened from its beginning, and can say at any time what of that was in the last minutes, up to an hour.
//
// Whoever observes adds to counters that are never set back, and that is all: no lock, no allocation. Time comes in by subtraction. At
// the end of each slot the first observation of the next takes the mutex, once, and keeps by how much the counters have grown; a
// Snapshot adds up such differences. So an observation is never lost nor counted twice, whatever races with whatever; one that races
// with the end of a slot may be counted in the slot beside it.
type Window struct {
	began time.Time
	// counts are since the beginning: the buckets of latencies, then the counters of countBytes and after.
	counts []atomic.Uint64
	// longest is the longest latency since the last flush.
	longest atomic.Int64
	// due is when the current slot ends, in nanoseconds since the beginning.
	due atomic.Int64

	mu sync.Mutex
	// slot is the current one: slots are counted from the beginning.
	slot int64
	// kept are the counts as they were at the last flush.
	kept   []uint64
	fine   [fineSlots]slot
	coarse [coarseSlots]slot
}

// The counters that are no latencies.
const (
	countBytes = latencyCounts + iota
	countTime  // nanoseconds that all latencies are together
	countErrors
	countOutcomes // and one for each outcome
)

const (
	// fineTime is the length of a slot: what a window says is about that much more than was asked for.
	fineTime = 5 * time.Second
	// fineSpan is up to where slots are kept as they are. Beyond, those of a minute are merged.
	fineSpan  = 5 * time.Minute
	fineSlots = int64(fineSpan/fineTime) + 1 // one is not over yet
	// MaxSpan is how far back a window goes.
	MaxSpan     = time.Hour
	coarseTime  = time.Minute
	coarseSlots = int64(MaxSpan/coarseTime) + 1
	perCoarse   = int64(coarseTime / fineTime)
)

// Spans are those that the performance endpoints answer for.
var Spans = []time.Duration{time.Minute, 5 * time.Minute, time.Hour}

// NewWindow begins a window with so many outcomes, which are numbers from 0. Every other call wants a time that is not earlier: the
// clock is the caller's.
func NewWindow(now time.Time, outcomes int) *Window {
	w := &Window{began: now, counts: make([]atomic.Uint64, countOutcomes+outcomes), kept: make([]uint64, countOutcomes+outcomes)}
	w.due.Store(int64(fineTime))
	for i := range w.fine {
		w.fine[i].number = -1
	}
	for i := range w.coarse {
		w.coarse[i].number = -1
	}
	return w
}

// Begin says that something begins now, so that what is counted until it is observed is not taken for older.
func (w *Window) Begin(now time.Time) { w.advance(now) }

// Observe counts something that has ended now.
func (w *Window) Observe(now time.Time, took time.Duration, bytes int64, failed bool) {
	w.advance(now)
	w.counts[bucketOf(took)].Add(1)
	w.counts[countTime].Add(uint64(max(0, took)))
	if bytes > 0 {
		w.counts[countBytes].Add(uint64(bytes))
	}
	if failed {
		w.counts[countErrors].Add(1)
	}
	for {
		longest := w.longest.Load()
		if int64(took) <= longest || w.longest.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

// Count counts an outcome of what has begun, beside what Observe counts.
func (w *Window) Count(outcome int) { w.counts[countOutcomes+outcome].Add(1) }

// Total is how often an outcome was counted since the beginning.
func (w *Window) Total(outcome int) uint64 { return w.counts[countOutcomes+outcome].Load() }

// TotalBytes are the bytes since the beginning.
func (w *Window) TotalBytes() uint64 { return w.counts[countBytes].Load() }

// TotalErrors are the errors since the beginning.
func (w *Window) TotalErrors() uint64 { return w.counts[countErrors].Load() }

// histogram adds the latencies since the beginning up for Prometheus: below has the number of those up to each bound.
func (w *Window) histogram(below []uint64) (count uint64, sum time.Duration) {
	bound := 0
	for i := range latencyCounts {
		count += w.counts[i].Load()
		if bound < len(below) && i == layout.last[bound] {
			below[bound] += count
			bound++
		}
	}
	return count, time.Duration(w.counts[countTime].Load())
}

// advance begins the slot of now, if it is another than the current one. If somebody else is at it, it goes without us.
func (w *Window) advance(now time.Time) {
	elapsed := int64(now.Sub(w.began))
	if elapsed < w.due.Load() || !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	w.roll(elapsed)
}

// roll ends the current slot if it is over. mu is held.
func (w *Window) roll(elapsed int64) {
	if elapsed < w.due.Load() { // somebody was faster
		return
	}
	w.flush()
	w.slot = elapsed / int64(fineTime)
	w.due.Store((w.slot + 1) * int64(fineTime))
}

// flush moves what was counted since the last flush into the current slot: the first observation of a later one would have ended it. mu
// is held.
func (w *Window) flush() {
	var grown []cell
	for i := range w.counts {
		if now := w.counts[i].Load(); now != w.kept[i] {
			grown = append(grown, cell{i, now - w.kept[i]})
			w.kept[i] = now
		}
	}
	longest := w.longest.Swap(0)
	if len(grown) == 0 && longest == 0 {
		return
	}
	w.fine[w.slot%fineSlots].add(w.slot, grown, longest)
	w.coarse[w.slot/perCoarse%coarseSlots].add(w.slot/perCoarse, grown, longest)
}

// Snapshot is what happened in the last span, which is at most MaxSpan.
func (w *Window) Snapshot(now time.Time, span time.Duration) Snapshot { return snapshot(now, span, w) }

// snapshot is what several windows say together, which began at the same time with the same outcomes.
func snapshot(now time.Time, span time.Duration, windows ...*Window) Snapshot {
	sum := make([]uint64, len(windows[0].counts))
	var covered, longest time.Duration
	for _, w := range windows {
		var one time.Duration
		covered, one = w.collect(now, span, sum)
		longest = max(longest, one)
	}
	return newSnapshot(span, covered, sum, longest)
}

// collect adds what happened in the last span to sum.
func (w *Window) collect(now time.Time, span time.Duration, sum []uint64) (covered, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	elapsed := max(0, int64(now.Sub(w.began)))
	w.roll(elapsed)
	w.flush()

	ring, length, current := w.fine[:], fineTime, w.slot
	if span > fineSpan {
		ring, length, current = w.coarse[:], coarseTime, w.slot/perCoarse
	}
	slots := min(int64((span+length-1)/length)+1, int64(len(ring)))
	first := max(0, current-slots+1)
	for n := first; n <= current; n++ {
		s := &ring[n%int64(len(ring))]
		if s.number != n { // nothing happened in it
			continue
		}
		for _, c := range s.cells {
			sum[c.counter] += c.n
		}
		longest = max(longest, time.Duration(s.longest))
	}
	return time.Duration(elapsed - first*int64(length)), longest
}

// slot is by how much counters grew in a time.
type slot struct {
	number  int64 // -1: never used
	longest int64
	cells   []cell // of the counters that grew, in order: most of them do not
}

type cell struct {
	counter int
	n       uint64
}

// add merges what has grown into a slot, which is emptied before if it still is that of an earlier time.
func (s *slot) add(number int64, grown []cell, longest int64) {
	if s.number != number {
		s.number, s.longest, s.cells = number, 0, nil
	}
	s.longest = max(s.longest, longest)
	merged := make([]cell, 0, len(s.cells)+len(grown))
	old := s.cells
	for _, g := range grown {
		for len(old) > 0 && old[0].counter < g.counter {
			merged, old = append(merged, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].counter == g.counter {
			g.n, old = g.n+old[0].n, old[1:]
		}
		merged = append(merged, g)
	}
	merged = append(merged, old...)
	s.cells = merged
}

// Snapshot is what a window says about a span of time.
type Snapshot struct {
	// Span is what was asked for. Covered is the time that the counts are of: up to a slot more (5 s, or a minute for more than 5
	// minutes), or less if the window is younger. Rates are per Covered.
	Span, Covered time.Duration
	// Requests is how many were observed, Errors how many of them failed, Bytes what they sent.
	Requests, Errors, Bytes uint64
	// P50, P90 and P99 are at most 1/32 away from the exact ones (32 ns below a microsecond), Max is exact. 0 if there is none.
	P50, P90, P99, Max time.Duration
	// Outcomes has the count of each outcome.
	Outcomes []uint64
}

func newSnapshot(span, covered time.Duration, sum []uint64, longest time.Duration) Snapshot {
	s := Snapshot{
		Span: span, Covered: covered, Errors: sum[countErrors], Bytes: sum[countBytes], Max: longest, Outcomes: sum[countOutcomes:],
	}
	latencies := sum[:latencyCounts]
	for _, n := range latencies {
		s.Requests += n
	}
	for q, to := range map[float64]*time.Duration{0.5: &s.P50, 0.9: &s.P90, 0.99: &s.P99} {
		*to = quantileOf(latencies, s.Requests, q, longest)
	}
	return s
}

// PerSecond is the rate of requests.
func (s Snapshot) PerSecond() float64 { return s.rate(s.Requests) }

// BytesPerSecond is the rate of bytes.
func (s Snapshot) BytesPerSecond() float64 { return s.rate(s.Bytes) }

// ErrorRatio is the share of requests that failed, 0 to 1.
func (s Snapshot) ErrorRatio() float64 {
	if s.Requests == 0 {
		return 0
	}
	return float64(s.Errors) / float64(s.Requests)
}

func (s Snapshot) rate(n uint64) float64 {
	// A window that has just begun says nothing about a second.
	return float64(n) / math.Max(s.Covered.Seconds(), 1)
}
