package invalidator

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	dto "github.com/prometheus/client_model/go"

	"freshet/cache"
	"freshet/internal/health"
	"freshet/internal/heavy"
)

const (
	// tellTimeout bounds what is asked, and the writing, each time.
	tellTimeout = time.Second
	// latencySpan is the time that CommitToCleared is about.
	latencySpan = 5 * time.Minute
	// topCounters are those of the sketch of tags, topTags how many are told.
	topCounters, topTags = 1000, 50
	// fewTags are always all counted; of more, one in tagStride is.
	fewTags, tagStride = 64, 8
)

// teller says every few seconds, in Redis, how the invalidator is: who has no connection to NATS learns it there. It must never hold up
// the applying, nor fail it.
type teller struct {
	*Invalidator

	instance string
	began    time.Time
	past     []reached // of the histogram, oldest first
	warned   bool
}

// reached is a histogram as it was.
type reached struct {
	at     time.Time
	bounds []float64
	below  []uint64 // cumulative, by bound
	count  uint64
}

// tellStatus runs until ctx ends.
func (v *Invalidator) tellStatus(ctx context.Context) error {
	t := &teller{Invalidator: v, instance: cache.NewToken(), began: time.Now()}
	tick := time.NewTicker(cache.StatusInterval)
	defer tick.Stop()
	for {
		t.tell(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
			defer cancel()
			if err := v.cfg.Store.RemoveStatus(last, t.instance); err != nil {
				v.log.Debug("the status stays until it expires", "error", err)
			}
			return ctx.Err()
		}
	}
}

func (t *teller) tell(ctx context.Context) {
	err := t.cfg.Store.WriteStatus(ctx, t.compose(ctx))
	switch {
	case err == nil:
		t.warned = false
	case ctx.Err() == nil && !t.warned: // once for each outage
		t.warned = true
		t.log.Warn("others cannot learn how the invalidator is", "error", err)
	}
}

func (t *teller) compose(ctx context.Context) *cache.InvalidatorStatus {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	s := &cache.InvalidatorStatus{
		Instance: t.instance, Source: t.cfg.Source, Began: t.began, At: time.Now(),
		ClearsByTable: map[string]uint64{}, ClearsByReason: map[string]uint64{}, TopTags: []cache.TagCount{},
	}
	// The watermark first: what comes meanwhile counts as lag for a moment, never the other way round.
	var applied health.Applied
	if state, found, err := t.cfg.Store.Peek(ctx); err == nil && found {
		applied = health.Applied{Sequence: state.Sequence, Mark: state.Mark, At: state.At}
		s.Applied = cache.AppliedStatus{Sequence: state.Sequence, Position: state.Position.String(), At: state.At.UTC()}
	}
	if err := t.askLog(ctx, s, applied); err != nil {
		s.Problem = err.Error()
	}
	t.count(s)
	for _, c := range t.tags.Top(topTags) {
		s.TopTags = append(s.TopTags, cache.TagCount{Tag: c.Name, Count: c.Count, Error: c.Error})
	}
	if t.cfg.Verified != nil {
		s.Verify = t.cfg.Verified()
	}
	return s
}

// askLog asks the stream how long it is.
func (t *teller) askLog(ctx context.Context, s *cache.InvalidatorStatus, applied health.Applied) error {
	details, err := health.StreamOf(t.cfg.JetStream, t.cfg.Source).Look(ctx)
	if err != nil {
		return err
	}
	consumed, err := health.ConsumerOf(t.cfg.JetStream, t.cfg.Source, func() health.Applied { return applied }, math.MaxInt64).Look(ctx)
	if err != nil {
		return err
	}
	stream, _ := details.(health.Stream)
	lag, _ := consumed.(health.Consumer)
	s.Log = &cache.LogStatus{
		Stream: stream.Name, Messages: stream.Messages, Bytes: stream.Bytes,
		LastSequence: stream.LastSequence, LastPosition: stream.LastPosition,
		LagMessages: lag.LagMessages, LagBytes: lag.LagBytes, LagSeconds: lag.LagSeconds,
	}
	return nil
}

// count reads the metrics, which count already.
func (t *teller) count(s *cache.InvalidatorStatus) {
	if t.cfg.Metrics == nil {
		return
	}
	families, err := t.cfg.Metrics.Gather() // what cannot be read is missing among the others
	if err != nil {
		t.log.Debug("read the metrics", "error", err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "freshet_invalidator_buckets_cleared_total":
				s.ClearsByTable[labelOf(m)] = uint64(m.GetCounter().GetValue())
			case "freshet_invalidator_clears_total":
				s.ClearsByReason[labelOf(m)] = uint64(m.GetCounter().GetValue())
			case "freshet_invalidator_chain_breaks_total":
				s.ChainBreaks = uint64(m.GetCounter().GetValue())
			case "freshet_invalidator_commit_to_cleared_seconds":
				s.CommitToCleared = t.latency(m.GetHistogram(), s.At)
			}
		}
	}
}

// labelOf is the value of a metric's only label.
func labelOf(m *dto.Metric) string {
	if len(m.GetLabel()) == 0 {
		return ""
	}
	return m.GetLabel()[0].GetValue()
}

// latency compares the histogram with what it was at the beginning of the span.
func (t *teller) latency(h *dto.Histogram, at time.Time) cache.LatencyStatus {
	now := reached{at: at, count: h.GetSampleCount()}
	for _, b := range h.GetBucket() {
		now.bounds, now.below = append(now.bounds, b.GetUpperBound()), append(now.below, b.GetCumulativeCount())
	}
	for len(t.past) > 1 && at.Sub(t.past[1].at) >= latencySpan {
		t.past = t.past[1:]
	}
	first := reached{at: t.began, below: make([]uint64, len(now.below))}
	if len(t.past) > 0 && at.Sub(t.past[0].at) >= latencySpan {
		first = t.past[0]
	}
	t.past = append(t.past, now)
	s := cache.LatencyStatus{Seconds: at.Sub(first.at).Seconds(), Count: now.count - first.count}
	grown := make([]uint64, len(now.below))
	for i := range grown {
		grown[i] = now.below[i] - first.below[i]
	}
	s.P50MS, s.P99MS = 1000*quantile(now.bounds, grown, s.Count, 0.5), 1000*quantile(now.bounds, grown, s.Count, 0.99)
	return s
}

// quantile interpolates within the bucket that it falls into, as Prometheus does; beyond the last bound it is that bound.
func quantile(bounds []float64, below []uint64, count uint64, q float64) float64 {
	if count == 0 {
		return 0
	}
	rank, lower, before := q*float64(count), 0.0, uint64(0)
	for i, n := range below {
		if n > 0 && float64(n) >= rank {
			return lower + (bounds[i]-lower)*(rank-float64(before))/float64(n-before)
		}
		lower, before = bounds[i], n
	}
	return lower
}

// touched counts the tags that a batch clears.
func (v *Invalidator) touched(tags []cache.Tag) {
	first, stride := 0, 1
	if len(tags) > fewTags {
		first, stride = rand.IntN(tagStride), tagStride // it only must not follow the order of the tags
	}
	for i := first; i < len(tags); i += stride {
		v.tags.Add(tags[i].Name, uint64(stride))
	}
}

func newTags() *heavy.Sketch { return heavy.New(topCounters) }
