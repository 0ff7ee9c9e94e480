package telemetry

import (
	"math"
	"math/bits"
	"time"
)

// Latencies are counted in log-linear buckets: 16 of the same width in each power of two, so that a bucket is at most 1/16 as wide as
// what it counts, and its middle at most 1/32 away from it, whether that is a microsecond or a minute. A bucket in which one of
// Prometheus's bounds lies is two: the histogram that Prometheus gets is a sum of them, exactly, and costs nothing to count.
const (
	// unitShift makes the unit of the buckets: 64 ns. Below 1 µs the buckets are that wide.
	unitShift = 6
	// splitShift makes 16 buckets of each power of two.
	splitShift     = 4
	splitsPerPower = 1 << splitShift
	// topBits is how many bits the largest latency has, in units: 2 minutes. What takes longer is in the last bucket.
	topBits   = 31
	logCounts = (topBits-splitShift-1)<<splitShift + 2<<splitShift
	// latencyCounts is how many buckets there are.
	latencyCounts = logCounts + len(latencyBounds)
	lastLatency   = latencyCounts - 1
)

// latencyBounds are those of Prometheus: 0.25 ms is what a hit takes, 10 s is more than anybody waits. A latency is counted under the first
// that it does not exceed.
var latencyBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// latencyBuckets are the bounds as Prometheus wants them, in seconds.
var latencyBuckets = func() []float64 {
	all := make([]float64, len(latencyBounds))
	for i, bound := range latencyBounds {
		all[i] = bound.Seconds()
	}
	return all
}()

// layout says where the buckets are.
var layout = newLayout()

type bucketLayout struct {
	// logs has the bucket of each log-linear one, and the bound that splits it: what is larger is in the next.
	logs [logCounts]struct {
		bucket int
		bound  time.Duration
	}
	// middles are what the buckets stand for.
	middles [latencyCounts]time.Duration
	// last is the last bucket at or below each of latencyBounds.
	last [len(latencyBounds)]int
}

func newLayout() *bucketLayout {
	l, bucket, next := &bucketLayout{}, 0, 0
	for i := range l.logs {
		low, high := logRange(i)
		l.logs[i].bucket, l.logs[i].bound = bucket, math.MaxInt64
		if next < len(latencyBounds) && latencyBounds[next] < high {
			bound := latencyBounds[next]
			l.logs[i].bound, l.last[next] = bound, bucket
			l.middles[bucket] = (low + bound) / 2
			low = bound
			bucket, next = bucket+1, next+1
		}
		l.middles[bucket] = (low + high) / 2
		bucket++
	}
	return l
}

// logOf is the log-linear bucket of a latency.
func logOf(d time.Duration) int {
	units := uint64(max(0, d)) >> unitShift
	if units < splitsPerPower {
		return int(units)
	}
	shift := bits.Len64(units) - splitShift - 1
	return min(shift<<splitShift+int(units>>shift), logCounts-1)
}

// logRange is what a log-linear bucket counts: from low to just below high.
func logRange(i int) (low, high time.Duration) {
	if i < splitsPerPower {
		return time.Duration(i) << unitShift, time.Duration(i+1) << unitShift
	}
	shift := i>>splitShift - 1
	n := time.Duration(i - shift<<splitShift)
	return n << (unitShift + shift), (n + 1) << (unitShift + shift)
}

// bucketOf is the bucket of a latency.
func bucketOf(d time.Duration) int {
	at := &layout.logs[logOf(d)]
	if d > at.bound {
		return at.bucket + 1
	}
	return at.bucket
}

// quantileOf is the latency that a share q of those counted do not exceed. longest is the largest of them, exactly: no quantile is larger.
func quantileOf(counts []uint64, total uint64, q float64, longest time.Duration) time.Duration {
	if total == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(total))))
	for bucket, n := range counts {
		if rank <= n {
			if bucket == lastLatency {
				return longest
			}
			return min(layout.middles[bucket], longest)
		}
		rank -= n
	}
	return longest
}
