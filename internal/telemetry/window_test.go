package telemetry

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// outcomesOfTest is how many outcomes the windows here have.
const outcomesOfTest = 3

// event is what was observed, as the naive computation keeps it.
type event struct {
	at      time.Time
	took    time.Duration
	bytes   int64
	failed  bool
	outcome int
}

// naive computes a snapshot from all events.
func naive(began, now time.Time, span time.Duration, all []event) (s Snapshot, sorted []time.Duration) {
	length := fineTime
	if span > fineSpan {
		length = coarseTime
	}
	// The slot of now, and as many before it as the span has.
	slots := max(0, int64(now.Sub(began)/length)-int64((span+length-1)/length))
	first := began.Add(time.Duration(slots * int64(length)))
	s = Snapshot{Span: span, Covered: now.Sub(first), Outcomes: make([]uint64, outcomesOfTest)}
	for _, e := range all {
		if e.at.Before(first) {
			continue
		}
		s.Requests++
		s.Bytes += uint64(e.bytes)
		s.Outcomes[e.outcome]++
		if e.failed {
			s.Errors++
		}
		sorted = append(sorted, e.took)
		s.Max = max(s.Max, e.took)
	}
	slices.Sort(sorted)
	return s, sorted
}

func exact(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(1, int(math.Ceil(q*float64(len(sorted)))))-1]
}

// Two hours with busy times, quiet ones and pauses longer than the rings: at any time a window says what happened, to the request.
func TestWindowCountsWhatANaiveOneCounts(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	began := time.Unix(1_000_000, 0)
	w := NewWindow(began, outcomesOfTest)
	var all []event
	pauses := []time.Duration{
		time.Millisecond, 10 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second, fineTime, 20 * time.Second, coarseTime, 6 * time.Minute, 70 * time.Minute,
	}
	kind := 0
	for now, step := began, 0; step < 15_000; step++ {
		if step%400 == 0 { // mostly busy: the long pauses come once
			kind = min(draw.IntN(2*len(pauses)), draw.IntN(len(pauses)))
		}
		now = now.Add(time.Duration(draw.Int64N(int64(pauses[kind]) + 1)))
		if kind >= 5 {
			kind = draw.IntN(4)
		}
		if draw.IntN(20) > 0 {
			e := event{
				at: now, took: time.Duration(math.Exp(draw.Float64() * math.Log(float64(100*time.Second)))), bytes: draw.Int64N(5000),
				failed: draw.IntN(50) == 0, outcome: draw.IntN(outcomesOfTest),
			}
			all = append(all, e)
			if step%2 == 0 {
				w.Begin(now)
				w.Count(e.outcome)
				w.Observe(now, e.took, e.bytes, e.failed)
			} else {
				w.Observe(now, e.took, e.bytes, e.failed)
				w.Count(e.outcome)
			}
			continue
		}
		if step%5 != 0 {
			continue
		}
		for _, span := range append([]time.Duration{time.Second, 7 * time.Second, 90 * time.Second, 17 * time.Minute}, Spans...) {
			compareSnapshots(t, w.Snapshot(now, span), began, now, span, all)
		}
	}
	require.Equal(t, len(all), int(w.Total(0)+w.Total(1)+w.Total(2)))
}

func compareSnapshots(t *testing.T, got Snapshot, began, now time.Time, span time.Duration, all []event) {
	t.Helper()
	want, sorted := naive(began, now, span, all)
	for q, value := range map[float64]time.Duration{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		near(t, exact(sorted, q), value)
	}
	got.P50, got.P90, got.P99 = 0, 0, 0
	require.Equal(t, want, got)
}

// near wants the error that is promised: 1/32, and below a microsecond half a bucket.
func near(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, (got - want).Abs(), max(want/32, 32), "%s instead of %s", got, want)
}

func TestBucketsAreCloseToWhatTheyCount(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < 130*time.Second; d += d/50 + 7 {
		bucket := bucketOf(d)
		require.GreaterOrEqual(t, bucket, last)
		last = bucket
		near(t, d, layout.middles[bucket])
	}
	require.Equal(t, lastLatency, bucketOf(time.Hour))
	require.Equal(t, lastLatency, bucketOf(math.MaxInt64))
	require.Equal(t, 0, bucketOf(-time.Second))
}

// What is longer than the buckets go is at least not shortened.
func TestLatencyBeyondTheBuckets(t *testing.T) {
	now := time.Now()
	w := NewWindow(now, 0)
	w.Observe(now, 3*time.Hour, 0, false)
	s := w.Snapshot(now, time.Minute)
	require.Equal(t, 3*time.Hour, s.Max)
	require.Equal(t, 3*time.Hour, s.P50)
}

func TestEmptyWindow(t *testing.T) {
	now := time.Now()
	w := NewWindow(now, outcomesOfTest)
	require.Equal(t, Snapshot{Span: time.Minute, Outcomes: []uint64{0, 0, 0}}, w.Snapshot(now, time.Minute))
	// The clock of whoever asks may be a little behind that of whoever made the window.
	require.Equal(t, Snapshot{Span: time.Minute, Outcomes: []uint64{0, 0, 0}}, w.Snapshot(now.Add(-time.Second), time.Minute))
	s := w.Snapshot(now.Add(5*time.Hour), time.Minute)
	require.Zero(t, s.PerSecond())
	require.Zero(t, s.ErrorRatio())
	require.Zero(t, s.P99)
}

func TestRates(t *testing.T) {
	now := time.Now()
	w := NewWindow(now, 0)
	for i := range 100 {
		w.Observe(now, time.Millisecond, 10, i%4 == 0)
	}
	// It has just begun: that is no rate of 100 in no time.
	require.InDelta(t, 100, w.Snapshot(now, time.Minute).PerSecond(), 0)
	s := w.Snapshot(now.Add(20*time.Second), time.Minute)
	require.InDelta(t, 5, s.PerSecond(), 0)
	require.InDelta(t, 50, s.BytesPerSecond(), 0)
	require.InDelta(t, 0.25, s.ErrorRatio(), 0)
}

// Observations from everywhere, slots that end and snapshots, all at once: none is lost and none is counted twice.
func TestWindowUnderContention(t *testing.T) {
	const observers, each = 8, 20_000
	began := time.Unix(1_000_000, 0)
	w := NewWindow(began, outcomesOfTest)
	var clock atomic.Int64 // since the beginning
	var group sync.WaitGroup
	done := make(chan struct{})
	for o := range observers {
		group.Go(func() {
			for i := range each {
				now := began.Add(time.Duration(clock.Add(int64(time.Millisecond))))
				w.Begin(now)
				w.Count((o + i) % outcomesOfTest)
				w.Observe(now, time.Duration(i)*time.Microsecond, 3, i%10 == 0)
			}
		})
	}
	snapshots := make(chan int)
	go func() { // ends when done is closed
		n := 0
		for {
			select {
			case <-done:
				snapshots <- n
				return
			default:
			}
			s := w.Snapshot(began.Add(time.Duration(clock.Load())), MaxSpan)
			if s.Requests > observers*each || s.Errors > observers*each/10 {
				t.Errorf("counted too much: %+v", s)
			}
			n++
		}
	}()
	group.Wait()
	close(done)
	require.Positive(t, <-snapshots)
	s := w.Snapshot(began.Add(time.Duration(clock.Load())), MaxSpan)
	require.EqualValues(t, observers*each, s.Requests)
	require.EqualValues(t, observers*each/10, s.Errors)
	require.EqualValues(t, observers*each*3, s.Bytes)
	require.EqualValues(t, observers*each, s.Outcomes[0]+s.Outcomes[1]+s.Outcomes[2])
	require.Equal(t, (each-1)*time.Microsecond, s.Max)
	near(t, each/2*time.Microsecond, s.P50)
	for i := range outcomesOfTest {
		require.Equal(t, s.Outcomes[i], w.Total(i))
	}
}

func BenchmarkObserve(b *testing.B) {
	w := NewWindow(time.Now(), outcomesOfTest)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Observe(time.Now(), 300*time.Microsecond, 1024, false)
		}
	})
}
