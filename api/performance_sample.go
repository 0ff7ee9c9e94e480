package api

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"freshet/cache"
	"freshet/internal/telemetry"
)

// observation is what was seen at a time.
type observation struct {
	at       time.Time
	state    telemetry.APIState
	system   system
	redis    *redisUse // nil if Redis did not answer
	problem  string    // why not
	latency  time.Duration
	mark     cache.State
	statuses []cache.InvalidatorStatus
}

// sample looks at everything once. What does not answer in time is not known.
func (p *performance) sample(ctx context.Context) *observation {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	s := &observation{at: time.Now(), state: p.api.State(ctx), system: p.system.read(ctx)}
	began := time.Now()
	info, err := p.api.cfg.Store.Info(ctx)
	if err != nil {
		s.problem = "no answer from Redis"
		p.api.log.Debug("sample Redis", "error", err)
		return s
	}
	s.latency, s.redis = time.Since(began), readRedis(info)
	if s.mark, _, err = p.api.cfg.Store.Peek(ctx); err != nil {
		s.mark = cache.State{}
	}
	if s.statuses, err = p.api.cfg.Store.Statuses(ctx); err != nil {
		p.api.log.Debug("read the invalidators' status", "error", err)
	}
	return s
}

// redisUse is what Redis says of itself.
type redisUse struct {
	Version       string   `json:"version"`
	Uptime        int64    `json:"uptime_seconds"`
	LatencyMS     float64  `json:"latency_ms"` // of the question for all this
	Memory        int64    `json:"memory_bytes"`
	MaxMemory     int64    `json:"maxmemory_bytes"` // 0: no limit
	MemoryPercent *float64 `json:"memory_percent"`  // of the limit; nil without one
	Policy        string   `json:"policy"`
	Clients       int64    `json:"clients"`
	Keys          int64    `json:"keys"` // of all databases
	Commands      int64    `json:"commands"`
	Evicted       int64    `json:"evicted"`
	Expired       int64    `json:"expired"`
}

// readRedis reads what INFO prints; what a server does not say is 0.
func readRedis(info string) *redisUse {
	r := &redisUse{}
	texts := map[string]*string{"redis_version": &r.Version, "maxmemory_policy": &r.Policy}
	numbers := map[string]*int64{
		"uptime_in_seconds": &r.Uptime, "used_memory": &r.Memory, "maxmemory": &r.MaxMemory, "connected_clients": &r.Clients,
		"total_commands_processed": &r.Commands, "evicted_keys": &r.Evicted, "expired_keys": &r.Expired,
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if to := texts[name]; to != nil {
			*to = value
		}
		if to := numbers[name]; to != nil {
			*to, _ = strconv.ParseInt(value, 10, 64)
		}
		var keys int64
		if n, _ := fmt.Sscanf(value, "keys=%d,", &keys); n == 1 && strings.HasPrefix(name, "db") {
			r.Keys += keys
		}
	}
	r.MemoryPercent = percentOf(float64(r.Memory), float64(r.MaxMemory))
	return r
}

// clears counts what invalidators have cleared since they began, by instance: two can compete, and one that was started again counts
// from 0.
type clears map[string]map[string]uint64

func (s *observation) clears() clears {
	all := clears{}
	for _, one := range s.statuses {
		all[one.Instance] = one.ClearsByTable
	}
	return all
}

// since is what was cleared, by table, after earlier. An instance that was not there then has begun since.
func (c clears) since(earlier clears) map[string]int64 {
	by := map[string]int64{}
	for instance, tables := range c {
		for table, n := range tables {
			by[table] += int64(n - min(n, earlier[instance][table]))
		}
	}
	return by
}

// ring keeps the samples of the last hour.
type ring struct {
	mu      sync.Mutex
	samples [telemetry.MaxSpan/sampleInterval + 1]*observation
	n       int
	// last has the last status of instances that have gone, as long as a window may ask for what they cleared.
	last map[string]cache.InvalidatorStatus
}

func (r *ring) add(s *observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n > 0 && len(r.at(r.n-1).statuses) > 0 {
		// All that later samples need of the statuses of one that is not the newest is what they had cleared.
		before := *r.at(r.n - 1)
		before.statuses = slim(before.statuses, s.statuses)
		r.samples[(r.n-1)%len(r.samples)] = &before
	}
	r.samples[r.n%len(r.samples)] = s
	r.n++
	if r.last == nil {
		r.last = map[string]cache.InvalidatorStatus{}
	}
	for _, one := range s.statuses {
		r.last[one.Instance] = cache.InvalidatorStatus{Instance: one.Instance, At: one.At, ClearsByTable: one.ClearsByTable}
	}
	maps.DeleteFunc(r.last, func(_ string, one cache.InvalidatorStatus) bool {
		return s.at.Sub(one.At) > telemetry.MaxSpan
	})
}

// slim drops from statuses what only the newest sample shows, and shares the maps of tables that have not changed since: there are 700
// samples.
func slim(statuses, newer []cache.InvalidatorStatus) []cache.InvalidatorStatus {
	out := make([]cache.InvalidatorStatus, len(statuses))
	for i, s := range statuses {
		out[i] = cache.InvalidatorStatus{Instance: s.Instance, Began: s.Began, ClearsByTable: s.ClearsByTable}
		for _, n := range newer {
			if n.Instance == s.Instance && maps.Equal(n.ClearsByTable, s.ClearsByTable) {
				out[i].ClearsByTable = n.ClearsByTable
			}
		}
	}
	return out
}

func (r *ring) at(i int) *observation { return r.samples[i%len(r.samples)] }

// latest is the newest sample; nil if there is none.
func (r *ring) latest() *observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return nil
	}
	return r.at(r.n - 1)
}

// span are the samples of the last span, oldest first, with the last one before it: what counters have grown by is the difference to
// that.
func (r *ring) span(span time.Duration) []*observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return nil
	}
	newest := r.at(r.n - 1).at
	var all []*observation
	for i := max(0, r.n-len(r.samples)); i < r.n; i++ {
		s := r.at(i)
		if newest.Sub(s.at) > span && len(all) > 0 {
			all = all[:0]
		}
		all = append(all, s)
	}
	return all
}

// cleared is what invalidators have cleared in the last span, by table, also those that are gone.
func (r *ring) cleared(span time.Duration) map[string]int64 {
	samples := r.span(span)
	if len(samples) == 0 {
		return map[string]int64{}
	}
	r.mu.Lock()
	now := clears{}
	for instance, one := range r.last {
		if samples[len(samples)-1].at.Sub(one.At) <= span {
			now[instance] = one.ClearsByTable
		}
	}
	r.mu.Unlock()
	// What was cleared before the first time that this process looked is not its to count.
	earlier := samples[0].clears()
	for _, s := range samples {
		for _, one := range s.statuses {
			if _, known := earlier[one.Instance]; !known && one.Began.Before(samples[0].at) && !one.Began.IsZero() {
				earlier[one.Instance] = one.ClearsByTable
			}
		}
	}
	return now.since(earlier)
}

// sampledContents is what is cached, as it was at a time.
type sampledContents struct {
	cache.Contents

	at time.Time
}

func (p *performance) sampleContents(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	c, err := p.api.cfg.Store.Contents(ctx, rand.Uint64)
	if err != nil { // the last one stands, and says of when it is
		p.api.log.Debug("sample what is cached", "error", err)
		return
	}
	p.contents.Store(&sampledContents{c, time.Now()})
}
