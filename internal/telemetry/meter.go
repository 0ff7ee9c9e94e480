package telemetry

import "time"

// Meter tells what the queries answered between two looks at it, exactly, however short the time. It is for one goroutine.
type Meter struct {
	api  *API
	last []uint64
	at   time.Time
}

// Meter begins now. An API that is nil has none.
func (a *API) Meter() *Meter {
	if a == nil {
		return nil
	}
	return &Meter{api: a, last: a.reads(), at: a.now()}
}

// Look is what reads were answered since the last look. Max is not known: it is the middle of the bucket of the longest latency.
func (m *Meter) Look() Snapshot {
	if m == nil {
		return Snapshot{}
	}
	now, counts := m.api.now(), m.api.reads()
	grown, longest := make([]uint64, len(counts)), time.Duration(0)
	for i := range counts {
		grown[i] = counts[i] - m.last[i]
		if i < latencyCounts && grown[i] > 0 {
			longest = layout.middles[i]
		}
	}
	span := now.Sub(m.at)
	m.last, m.at = counts, now
	return newSnapshot(span, span, grown, longest)
}

// reads adds up what was counted of the reads since the beginning.
func (a *API) reads() []uint64 {
	sum := make([]uint64, countOutcomes+len(a.outcomes))
	for _, q := range a.queries {
		if !q.Reads {
			continue
		}
		for _, w := range q.windows() {
			for i := range w.counts {
				sum[i] += w.counts[i].Load()
			}
		}
	}
	return sum
}

// Now is the likely time by the clock of Postgres, or the machine's where nothing is measured.
func (v *Invalidator) Now() time.Time {
	if v == nil {
		return time.Now()
	}
	return v.likely()
}
