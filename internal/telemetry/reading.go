package telemetry

import (
	"math"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// reading is a gauge that does not exist until it is known: 0 would say that all is well. A function makes the value of what was noted.
type reading struct {
	desc  *prometheus.Desc
	value func(noted float64) float64
	bits  atomic.Uint64
	known atomic.Bool
}

func (r Registry) reading(name, help string, value func(noted float64) float64) *reading {
	return register(r, &reading{desc: metric(name, help), value: value})
}

// note keeps a value.
func (r *reading) note(v float64) {
	r.bits.Store(math.Float64bits(v))
	r.known.Store(true)
}

// Describe is part of prometheus.Collector.
func (r *reading) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

// Collect is part of prometheus.Collector.
func (r *reading) Collect(to chan<- prometheus.Metric) {
	if r.known.Load() {
		to <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, r.value(math.Float64frombits(r.bits.Load())))
	}
}

// asNoted is the value of a reading that is its own.
func asNoted(v float64) float64 { return v }
