package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Invalidator is what the process measures that applies the log to a cache. A nil Invalidator measures nothing.
type Invalidator struct {
	Registry

	now    func() time.Time // never too early: an age is rather overstated
	likely func() time.Time
	tables tables

	changes         *prometheus.CounterVec
	matched         *prometheus.CounterVec
	cleared         *prometheus.CounterVec
	commitToCleared prometheus.Histogram
	applied         prometheus.Histogram
	breaks          prometheus.Counter
	clears          *prometheus.CounterVec
	lagMessages     *reading
	lagBytes        *reading
	lagSeconds      *reading
	watermarkAge    *reading
}

// NewInvalidator makes the metrics of an invalidator. now is the time by the clock of Postgres, which the log's times are of: not
// earlier than it really is, for ages; likely is as near to it as can be, for latencies, which are shorter than a question for the time takes.
func NewInvalidator(version string, now, likely func() time.Time) *Invalidator {
	v := &Invalidator{Registry: newRegistry("invalidator", version), now: now, likely: likely}
	v.changes = v.counters("invalidator_changes_total", "Changes applied, by table and operation.", "table", "op")
	v.matched = v.counters("invalidator_matched_total", "Changes that belong to a shape, and clear something.", "table")
	v.cleared = v.counters("invalidator_buckets_cleared_total", "Buckets that were there, and were cleared.", "table")
	v.commitToCleared = v.histogram("invalidator_commit_to_cleared_seconds",
		"Time from a transaction's commit until what it changes was cleared, by the clock of Postgres.", latencyBuckets)
	v.applied = v.histogram("invalidator_apply_duration_seconds", "Time of the script that clears a batch and moves the watermark.", latencyBuckets)
	v.breaks = v.counter("invalidator_chain_breaks_total",
		"Times that the stored watermark was not the one written last: Redis lost writes, or another invalidator was faster.")
	v.clears = v.counters("invalidator_clears_total", "Times that everything was cleared.", "reason")
	v.lagMessages = v.reading("invalidator_lag_messages", "Messages in the log that are not applied: when the last batch came, or when the log was looked at since.", asNoted)
	v.lagBytes = v.reading("invalidator_lag_bytes", "WAL between the last watermark in the log and the one that was applied last.", asNoted)
	since := func(unix float64) float64 { return max(0, float64(v.now().UnixMicro())/1e6-unix) }
	v.lagSeconds = v.reading("invalidator_lag_seconds", "Age of the last message that was applied: its time by the clock of Postgres.", since)
	v.watermarkAge = v.reading("watermark_age_seconds",
		"How far the cache is behind the database: the time since the watermark, by the clock of Postgres.", since)
	return v
}

// Verified are the counters of an auditor in the same process.
type Verified struct {
	Checked, Stale int64
	// Cleared are watched entries that were cleared, Overcleared those of them whose refill was the same.
	Cleared, Overcleared int64
}

// Verify adds the metrics of an auditor, which are read each time that they are asked for.
func (v *Invalidator) Verify(read func() Verified) {
	v.MustRegister(&verified{read: read, of: []verifiedMetric{
		{describe("verify_checked_total", "Cached entries that were compared with the database."), func(n Verified) int64 { return n.Checked }},
		{describe("verify_stale_total", "Checked entries that were stale: any is an error of Freshet."), func(n Verified) int64 { return n.Stale }},
		{describe("verify_cleared_total", "Watched entries that were cleared."), func(n Verified) int64 { return n.Cleared }},
		{describe("verify_overcleared_total", "Cleared entries whose refill was the same: they were cleared for nothing."), func(n Verified) int64 { return n.Overcleared }},
	}})
}

// verified is read in one step, so that there are never more stale entries than checked ones.
type verified struct {
	read func() Verified
	of   []verifiedMetric
}

type verifiedMetric struct {
	desc  *prometheus.Desc
	value func(Verified) int64
}

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil)
}

// Describe is that of prometheus.Collector.
func (v *verified) Describe(out chan<- *prometheus.Desc) {
	for _, m := range v.of {
		out <- m.desc
	}
}

// Collect is that of prometheus.Collector.
func (v *verified) Collect(out chan<- prometheus.Metric) {
	now := v.read()
	for _, m := range v.of {
		out <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value(now)))
	}
}

// Changes counts changes of a table.
func (v *Invalidator) Changes(table, op string, n int) {
	if v != nil && n > 0 {
		v.changes.WithLabelValues(v.tables.label(table), op).Add(float64(n))
	}
}

// Matched counts changes that clear something.
func (v *Invalidator) Matched(table string, n int) {
	if v != nil && n > 0 {
		v.matched.WithLabelValues(v.tables.label(table)).Add(float64(n))
	}
}

// Cleared counts buckets.
func (v *Invalidator) Cleared(table string, n int) {
	if v != nil && n > 0 {
		v.cleared.WithLabelValues(v.tables.label(table)).Add(float64(n))
	}
}

// CommitCleared counts a transaction whose buckets are gone now.
func (v *Invalidator) CommitCleared(committed time.Time) {
	if v != nil {
		v.commitToCleared.Observe(max(0, v.likely().Sub(committed)).Seconds())
	}
}

// Applied counts a batch.
func (v *Invalidator) Applied(took time.Duration) {
	if v != nil {
		v.applied.Observe(took.Seconds())
	}
}

// Lag notes how many messages are still to come, and the time of the one that was applied last; the zero time is not noted.
func (v *Invalidator) Lag(messages uint64, at time.Time) {
	if v == nil {
		return
	}
	v.lagMessages.note(float64(messages))
	if !at.IsZero() {
		v.lagSeconds.note(float64(at.UnixMicro()) / 1e6)
	}
}

// Behind notes what a look at the log has found that is not applied: while nothing can be applied no batch tells.
func (v *Invalidator) Behind(messages, bytes uint64) {
	if v != nil {
		v.lagMessages.note(float64(messages))
		v.lagBytes.note(float64(bytes))
	}
}

// Watermark notes the time that the stored watermark is of.
func (v *Invalidator) Watermark(at time.Time) {
	if v != nil && !at.IsZero() {
		v.watermarkAge.note(float64(at.UnixMicro()) / 1e6)
	}
}

// ChainBroke counts that the stored watermark was another one.
func (v *Invalidator) ChainBroke() {
	if v != nil {
		v.breaks.Inc()
	}
}

// ClearedAll counts that everything was cleared; the reason is one of a few words, not a sentence.
func (v *Invalidator) ClearedAll(reason string) {
	if v != nil {
		v.clears.WithLabelValues(reason).Inc()
	}
}
