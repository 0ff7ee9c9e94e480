package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CDC is what the process measures that streams changes into the log. A nil CDC measures nothing.
type CDC struct {
	Registry

	now    func() time.Time
	began  time.Time
	tables tables

	changes      *prometheus.CounterVec
	transactions prometheus.Counter
	messages     prometheus.Counter
	bytes        prometheus.Counter
	barrierWaits prometheus.Counter
	barrierWait  prometheus.Histogram
	resets       *prometheus.CounterVec
	sessions     prometheus.Counter
	streaming    prometheus.Gauge
	lagBytes     *reading
	lagSeconds   *reading
	retained     *reading

	end, published atomic.Uint64 // positions
}

// NewCDC makes the metrics of a cdc.
func NewCDC(version string, now func() time.Time) *CDC {
	c := &CDC{Registry: newRegistry("cdc", version), now: now, began: now()}
	c.changes = c.counters("cdc_changes_total", "Changes read from the WAL to be published, by table and operation.", "table", "op")
	c.transactions = c.counter("cdc_transactions_total", "Transactions published to their end.")
	c.messages = c.counter("cdc_messages_total", "Messages published, watermarks included.")
	c.bytes = c.counter("cdc_message_bytes_total", "Bytes of the bodies of published messages.")
	c.barrierWaits = c.counter("cdc_barrier_waits_total",
		"Batches that were committed and not visible yet when they were to be published.")
	c.barrierWait = c.histogram("cdc_barrier_wait_seconds", "Time that such a batch had to wait until it was visible.", latencyBuckets)
	c.resets = c.counters("cdc_resets_total", "Times that the log began anew, and caches cleared everything.", "reason")
	c.sessions = c.counter("cdc_sessions_total", "Sessions that have begun to stream; each but the first follows a failure.")
	c.streaming = c.gauge("cdc_streaming", "1 while a session streams.")
	c.lagBytes = c.reading("cdc_lag_bytes", "WAL that the server has sent, or could send, and that is not in the log yet.", asNoted)
	c.lagSeconds = c.reading("cdc_lag_seconds",
		"Time since everything that was committed was in the log: how far the log is behind the database at most.", c.since)
	c.retained = c.reading("cdc_slot_retained_bytes", "WAL that Postgres keeps for the replication slot.", asNoted)
	return c
}

// since is the time that has passed since a moment, which is in seconds since the beginning.
func (c *CDC) since(moment float64) float64 { return max(0, c.now().Sub(c.began).Seconds()-moment) }

// Changes counts changes of one kind that were decoded.
func (c *CDC) Changes(table, op string, n int) {
	if c != nil {
		c.changes.WithLabelValues(c.tables.label(table), op).Add(float64(n))
	}
}

// Transaction counts a transaction whose last message was published.
func (c *CDC) Transaction() {
	if c != nil {
		c.transactions.Inc()
	}
}

// Message counts a message of whatever kind.
func (c *CDC) Message(bytes int) {
	if c != nil {
		c.messages.Inc()
		c.bytes.Add(float64(bytes))
	}
}

// BarrierWaited counts a batch that was not visible at once.
func (c *CDC) BarrierWaited(d time.Duration) {
	if c != nil {
		c.barrierWaits.Inc()
		c.barrierWait.Observe(d.Seconds())
	}
}

// Reset counts that the log begins anew; the reason is one of a few words, not a sentence.
func (c *CDC) Reset(reason string) {
	if c != nil {
		c.resets.WithLabelValues(reason).Inc()
	}
}

// Streaming says that a session has begun to stream, or has ended.
func (c *CDC) Streaming(yes bool) {
	switch {
	case c == nil:
	case yes:
		c.sessions.Inc()
		c.streaming.Set(1)
	default:
		c.streaming.Set(0)
	}
}

// WALEnd notes how far the server's WAL goes.
func (c *CDC) WALEnd(position uint64) {
	if c != nil {
		c.end.Store(position)
		c.noteLag()
	}
}

// Reached notes up to where everything is in the log, and when that was known to be where the WAL ended: a time of this process's clock,
// read before the server was asked.
func (c *CDC) Reached(position uint64, asked time.Time) {
	if c == nil {
		return
	}
	c.published.Store(position)
	c.noteLag()
	if !asked.IsZero() {
		c.lagSeconds.note(asked.Sub(c.began).Seconds())
	}
}

func (c *CDC) noteLag() {
	end, published := c.end.Load(), c.published.Load()
	if end != 0 && published != 0 {
		c.lagBytes.note(float64(max(end, published) - published))
	}
}

// Retained notes how much WAL the slot makes Postgres keep.
func (c *CDC) Retained(bytes int64) {
	if c != nil {
		c.retained.note(float64(bytes))
	}
}
