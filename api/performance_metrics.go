package api

import (
	"time"

	"freshet/cache"
	"freshet/internal/telemetry"
)

// performanceMetrics is the answer of GET /performance/metrics. docs/performance.md and performance.schema.json describe it.
type performanceMetrics struct {
	At            time.Time        `json:"at"`
	Version       string           `json:"version"`
	StartedAt     time.Time        `json:"started_at"`
	UptimeSeconds float64          `json:"uptime_seconds"`
	SampledAt     *time.Time       `json:"sampled_at"` // nil before the first sample
	Pool          poolFigures      `json:"pool"`
	Watermark     *watermarkUse    `json:"watermark"`
	Redis         *redisUse        `json:"redis"`
	NATS          *natsUse         `json:"nats"` // nil if no invalidator tells of it
	System        *system          `json:"system"`
	Windows       []windowedMetric `json:"windows"`
}

// poolFigures is the pool of connections to Postgres now. Waits count since the start.
type poolFigures struct {
	InUse       int     `json:"in_use"`
	Idle        int     `json:"idle"`
	Max         int     `json:"max"`
	UsePercent  float64 `json:"use_percent"`
	Waits       int64   `json:"waits"`
	WaitMS      float64 `json:"wait_ms"`
	GateWaiting int64   `json:"gate_waiting"`
	GateMax     int64   `json:"gate_max"`
}

type watermarkUse struct {
	Sequence   uint64  `json:"sequence"`
	Position   string  `json:"position"`
	AgeSeconds float64 `json:"age_seconds"`
}

// natsUse is what invalidators say of the log.
type natsUse struct {
	// Stream is nil while no invalidator reaches NATS.
	Stream       *streamUse       `json:"stream"`
	Invalidators []invalidatorUse `json:"invalidators"`
}

type streamUse struct {
	Name         string `json:"name"`
	Messages     uint64 `json:"messages"`
	Bytes        uint64 `json:"bytes"`
	LastSequence uint64 `json:"last_sequence"`
	LastPosition string `json:"last_position"`
}

type invalidatorUse struct {
	Instance        string              `json:"instance"`
	StartedAt       time.Time           `json:"started_at"`
	At              time.Time           `json:"at"`
	Problem         string              `json:"problem,omitempty"`
	Applied         cache.AppliedStatus `json:"applied"`
	Lag             *lagUse             `json:"lag"` // nil while it does not reach NATS
	CommitToCleared cache.LatencyStatus `json:"commit_to_cleared"`
	ChainBreaks     uint64              `json:"chain_breaks"`
}

type lagUse struct {
	Messages uint64  `json:"messages"`
	Bytes    uint64  `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// windowedMetric is what happened in the last minutes.
type windowedMetric struct {
	Minutes        int            `json:"minutes"`
	CoveredSeconds float64        `json:"covered_seconds"`
	Total          totalMetrics   `json:"total"`
	Routes         []routeMetrics `json:"routes"`
	Pool           *poolWindow    `json:"pool"` // nil before the first sample, like Redis and System
	Redis          *redisWindow   `json:"redis"`
	System         *systemWindow  `json:"system"`
}

type totalMetrics struct {
	Requests  uint64       `json:"requests"`
	Errors    uint64       `json:"errors"`
	ErrorRate float64      `json:"error_rate"`
	PerSecond float64      `json:"per_second"`
	MaxMS     float64      `json:"max_ms"`
	Bytes     uint64       `json:"bytes"`
	Cache     cacheMetrics `json:"cache"`
}

type routeMetrics struct {
	Method    string  `json:"method"`
	Path      string  `json:"path"`
	Query     string  `json:"query,omitempty"`
	Requests  uint64  `json:"requests"`
	Errors    uint64  `json:"errors"`
	ErrorRate float64 `json:"error_rate"`
	PerSecond float64 `json:"per_second"`
	P50MS     float64 `json:"p50_ms"`
	P90MS     float64 `json:"p90_ms"`
	P99MS     float64 `json:"p99_ms"`
	MaxMS     float64 `json:"max_ms"`
	Bytes     uint64  `json:"bytes"`
	// Cache is nil for a route that the cache has no part in.
	Cache *cacheMetrics `json:"cache"`
}

// cacheMetrics say how reads were answered.
type cacheMetrics struct {
	Answers    uint64 `json:"answers"`
	HitsRedis  uint64 `json:"hits_redis"`
	HitsMemory uint64 `json:"hits_memory"`
	// Stale hits were given because Postgres was not available; they are among the others.
	Stale    uint64            `json:"stale"`
	Misses   uint64            `json:"misses"`
	Bypasses uint64            `json:"bypasses"`
	Reasons  map[string]uint64 `json:"bypass_reasons"`
	// HitRate is between 0 and 1; nil without answers.
	HitRate *float64 `json:"hit_rate"`
}

type poolWindow struct {
	InUseMax      int     `json:"in_use_max"`
	UsePercentMax float64 `json:"use_percent_max"`
	UsePercent    float64 `json:"use_percent_mean"`
	Waits         int64   `json:"waits"`
	WaitMS        float64 `json:"wait_ms"`
}

type redisWindow struct {
	CommandsPerSecond float64 `json:"commands_per_second"`
	Evicted           int64   `json:"evicted"`
	Expired           int64   `json:"expired"`
	MemoryMax         int64   `json:"memory_max_bytes"`
}

type systemWindow struct {
	ProcessCPU    *float64 `json:"process_cpu_percent_mean"`
	ProcessCPUMax *float64 `json:"process_cpu_percent_max"`
	MachineCPU    *float64 `json:"machine_cpu_percent_mean"`
	MachineCPUMax *float64 `json:"machine_cpu_percent_max"`
	RSSMax        *uint64  `json:"rss_max_bytes"`
	GoroutinesMax uint64   `json:"goroutines_max"`
	GCCycles      uint64   `json:"gc_cycles"`
}

// metrics puts the answer together. It asks nobody.
func (p *performance) metrics() performanceMetrics {
	now := time.Now()
	m := performanceMetrics{
		At: now.UTC(), Version: p.api.cfg.Version, StartedAt: p.began.UTC(), UptimeSeconds: now.Sub(p.began).Seconds(),
		Pool: p.poolNow(), Windows: make([]windowedMetric, 0, len(telemetry.Spans)),
	}
	if s := p.samples.latest(); s != nil {
		at := s.at.UTC()
		m.SampledAt, m.System, m.NATS = &at, &s.system, natsOf(s.statuses)
		if s.redis != nil {
			redis := *s.redis
			redis.LatencyMS = ms(s.latency)
			m.Redis = &redis
		}
		if s.mark.Chain != "" {
			m.Watermark = &watermarkUse{Sequence: s.mark.Sequence, Position: s.mark.Position.String(), AgeSeconds: s.state.WatermarkAge.Seconds()}
		}
	}
	for _, span := range telemetry.Spans {
		m.Windows = append(m.Windows, p.window(span))
	}
	return m
}

func (p *performance) poolNow() poolFigures {
	s := p.api.cfg.Pool.Stat()
	use := poolFigures{
		InUse: int(s.AcquiredConns()), Idle: int(s.IdleConns()), Max: int(s.MaxConns()), Waits: s.EmptyAcquireCount(),
		WaitMS: ms(s.EmptyAcquireWaitTime()), GateWaiting: p.api.gate.waiting.Load() + p.api.writes.waiting.Load(),
		GateMax: p.api.gate.most + p.api.writes.most,
	}
	use.UsePercent = share(use.InUse, use.Max)
	return use
}

func share(part, whole int) float64 { return 100 * float64(part) / float64(max(1, whole)) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func natsOf(statuses []cache.InvalidatorStatus) *natsUse {
	if len(statuses) == 0 {
		return nil
	}
	n := &natsUse{Invalidators: make([]invalidatorUse, 0, len(statuses))}
	var newest time.Time
	for _, s := range statuses {
		one := invalidatorUse{
			Instance: s.Instance, StartedAt: s.Began.UTC(), At: s.At.UTC(), Problem: s.Problem, Applied: s.Applied,
			CommitToCleared: s.CommitToCleared, ChainBreaks: s.ChainBreaks,
		}
		if l := s.Log; l != nil {
			one.Lag = &lagUse{Messages: l.LagMessages, Bytes: l.LagBytes, Seconds: l.LagSeconds}
			if s.At.After(newest) {
				newest = s.At
				n.Stream = &streamUse{Name: l.Stream, Messages: l.Messages, Bytes: l.Bytes, LastSequence: l.LastSequence, LastPosition: l.LastPosition}
			}
		}
		n.Invalidators = append(n.Invalidators, one)
	}
	return n
}

func (p *performance) window(span time.Duration) windowedMetric {
	w := windowedMetric{Minutes: int(span / time.Minute), Routes: []routeMetrics{}}
	stats := p.api.Stats(span)
	w.Total.Cache = cacheOf(nil)
	var answers Answers
	for _, r := range stats.Routes {
		one := routeMetrics{
			Method: r.Method, Path: r.Path, Query: r.Query, Requests: r.Requests, Errors: r.Errors, ErrorRate: r.ErrorRatio(),
			PerSecond: r.PerSecond(), P50MS: ms(r.P50), P90MS: ms(r.P90), P99MS: ms(r.P99), MaxMS: ms(r.Max), Bytes: r.Bytes,
		}
		if q := p.api.byName[r.Query]; q != nil {
			use := cacheOf(r.Answers)
			one.Cache = &use
		}
		w.Routes = append(w.Routes, one)
		w.CoveredSeconds = max(w.CoveredSeconds, r.Covered.Seconds())
		w.Total.Requests += r.Requests
		w.Total.Errors += r.Errors
		w.Total.Bytes += r.Bytes
		w.Total.PerSecond += one.PerSecond
		w.Total.MaxMS = max(w.Total.MaxMS, one.MaxMS)
	}
	for _, q := range stats.Queries { // not of the routes: an answer together with others counts too
		answers = append(answers, q.Answers...)
	}
	w.Total.Cache = cacheOf(answers)
	if w.Total.Requests > 0 {
		w.Total.ErrorRate = float64(w.Total.Errors) / float64(w.Total.Requests)
	}
	w.addSamples(p.samples.span(span))
	return w
}

func cacheOf(answers Answers) cacheMetrics {
	c := cacheMetrics{Answers: answers.Of(""), Reasons: map[string]uint64{}}
	for _, a := range answers {
		switch a.Status {
		case telemetry.StatusHit:
			if a.Tier == telemetry.TierMemory {
				c.HitsMemory += a.N
			} else {
				c.HitsRedis += a.N
			}
			if a.Reason != "" {
				c.Stale += a.N
			}
		case telemetry.StatusMiss:
			c.Misses += a.N
		case telemetry.StatusBypass:
			c.Bypasses += a.N
			c.Reasons[a.Reason] += a.N
		}
	}
	if rate, known := answers.HitRatio(); known {
		c.HitRate = &rate
	}
	return c
}

// addSamples adds what samples say, of which the first may be from before the window: gauges are those of the samples, counters what they
// have grown by from the first to the last.
func (w *windowedMetric) addSamples(samples []*observation) {
	if len(samples) == 0 {
		return
	}
	first, last := samples[0], samples[len(samples)-1]
	pool, sys := &poolWindow{}, &systemWindow{}
	var process, machine mean
	for _, s := range samples {
		use := share(s.state.PoolInUse, s.state.PoolMax)
		pool.InUseMax, pool.UsePercentMax = max(pool.InUseMax, s.state.PoolInUse), max(pool.UsePercentMax, use)
		pool.UsePercent += use / float64(len(samples))
		process.add(s.system.Process.CPUPercent)
		if s.system.Machine != nil {
			machine.add(s.system.Machine.CPUPercent)
		}
		if rss := s.system.Process.RSS; rss != nil && (sys.RSSMax == nil || *rss > *sys.RSSMax) {
			sys.RSSMax = rss
		}
		sys.GoroutinesMax = max(sys.GoroutinesMax, s.system.Process.Goroutines)
	}
	pool.Waits, pool.WaitMS = last.state.PoolWaits-first.state.PoolWaits, ms(last.state.PoolWait-first.state.PoolWait)
	sys.ProcessCPU, sys.ProcessCPUMax = process.value(), process.most
	sys.MachineCPU, sys.MachineCPUMax = machine.value(), machine.most
	sys.GCCycles = last.system.Process.GC.Cycles - first.system.Process.GC.Cycles
	w.Pool, w.System, w.Redis = pool, sys, redisOf(samples)
}

// redisOf adds up growth from sample to sample: the counters of a server that was started again begin at 0.
func redisOf(samples []*observation) *redisWindow {
	var before *observation
	w := &redisWindow{}
	var commands int64
	var seconds float64
	for _, s := range samples {
		if s.redis == nil {
			continue
		}
		w.MemoryMax = max(w.MemoryMax, s.redis.Memory)
		if before != nil {
			commands += grown(before.redis.Commands, s.redis.Commands)
			w.Evicted += grown(before.redis.Evicted, s.redis.Evicted)
			w.Expired += grown(before.redis.Expired, s.redis.Expired)
			seconds += s.at.Sub(before.at).Seconds()
		}
		before = s
	}
	if before == nil {
		return nil
	}
	if seconds > 0 {
		w.CommandsPerSecond = float64(commands) / seconds
	}
	return w
}

func grown(before, now int64) int64 {
	if now < before {
		return now
	}
	return now - before
}

// mean is the mean of what is known, and the largest of it.
type mean struct {
	sum  float64
	n    int
	most *float64
}

func (m *mean) add(v *float64) {
	if v == nil {
		return
	}
	m.sum += *v
	m.n++
	if m.most == nil || *v > *m.most {
		m.most = v
	}
}

func (m *mean) value() *float64 {
	if m.n == 0 {
		return nil
	}
	v := m.sum / float64(m.n)
	return &v
}
