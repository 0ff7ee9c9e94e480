// Package telemetry owns what Freshet's processes measure of themselves: the names of the Prometheus metrics, the registry of each
// process, and the sliding windows behind the figures of the last minutes.
//
// Every metric is looked up once, at the start, so that an observation on the way of a request is a few atomic additions: it takes no
// lock, allocates nothing and builds no label. All methods of API, CDC and Invalidator do nothing on a nil pointer: whoever measures
// need not ask whether anybody wants to know.
//
// It must never give a label values that the outside chooses: a URL, a parameter, an error's text. Each distinct one would be kept for
// ever, here and in Prometheus.
package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins the name of every metric of ours.
const namespace = "freshet"

// Registry has the metrics of one process. It is not the global one: `freshet dev` and tests run several processes in one.
type Registry struct{ *prometheus.Registry }

// newRegistry has the metrics that every process has: Go's runtime, the operating system's view of the process, and the version.
func newRegistry(process, version string) Registry {
	r := Registry{prometheus.NewRegistry()}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which version of which process this is.",
	}, []string{"version", "process"})
	build.WithLabelValues(version, process).Set(1)
	r.MustRegister(build)
	return r
}

// The limits of Handler.
const (
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
)

// Handler serves the metrics in Prometheus's format. A metric that cannot be read does not take the others with it.
func (r Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout,
	})
}

// register adds a collector and returns it. Names are constants, so that a collision shows in the first test that makes the struct.
func register[C prometheus.Collector](r Registry, c C) C {
	r.MustRegister(c)
	return c
}

func (r Registry) counter(name, help string) prometheus.Counter {
	return register(r, prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}))
}

func (r Registry) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels))
}

func (r Registry) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}))
}

func (r Registry) gaugeFunc(name, help string, read func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read))
}

func (r Registry) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(r, prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}))
}
