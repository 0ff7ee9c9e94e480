package api

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/advice"
	"freshet/internal/telemetry"
)

const (
	// adviceLife is how long findings are answered before they are looked for again.
	adviceLife = 30 * time.Second
	// adviceTimeout bounds looking for them.
	adviceTimeout = 20 * time.Second
)

// recommendations is the answer of GET /performance/optimization/recommendations.
type recommendations struct {
	At time.Time `json:"at"`
	// WindowSeconds is how long the counters have been counting that they rest on.
	WindowSeconds float64 `json:"window_seconds"`
	TookMS        float64 `json:"took_ms"`
	// Missing is what could not be gathered: no rule that needs it has found anything.
	Missing  []string         `json:"missing"`
	Findings []advice.Finding `json:"findings"`
}

// adviser looks for findings when somebody asks for them and the last are too old, in the background: who asks waits for it, and it goes
// on when they have gone. One is at it at a time.
type adviser struct {
	*performance

	ask chan struct{}

	mu    sync.Mutex
	last  *recommendations
	ready chan struct{} // closed when there are new ones
	// analyses are of the plans with that fingerprint.
	fingerprint string
	analyses    map[string]advice.Analysis
}

func (a *adviser) init(p *performance) {
	a.performance, a.ask, a.ready = p, make(chan struct{}, 1), make(chan struct{})
}

func (a *adviser) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.ask:
		}
		if r, _ := a.fresh(); r != nil { // somebody asked while it was being made
			continue
		}
		r := a.gather(ctx)
		a.mu.Lock()
		a.last = r
		close(a.ready)
		a.ready = make(chan struct{})
		a.mu.Unlock()
	}
}

// fresh are the last ones if they are young enough; else ready is closed when there are others.
func (a *adviser) fresh() (r *recommendations, ready <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil && time.Since(a.last.At) < adviceLife {
		return a.last, nil
	}
	return nil, a.ready
}

// recommend answers.
func (p *performance) recommend(c echo.Context) error {
	format := c.QueryParam("format")
	if format != "" && format != "json" && format != "text" {
		return &problem{Status: http.StatusBadRequest, Detail: "format is json or text"}
	}
	r, ready := p.advice.fresh()
	if r == nil {
		select {
		case p.advice.ask <- struct{}{}:
		default: // somebody has asked
		}
		select {
		case <-ready:
		case <-c.Request().Context().Done():
			return c.Request().Context().Err()
		case <-p.api.abandoned.Done():
		}
		if r, _ = p.advice.fresh(); r == nil {
			return &problem{Status: http.StatusServiceUnavailable, Detail: "the process is stopping", retryAfter: true}
		}
	}
	if format == "text" {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		return c.String(http.StatusOK, advice.Text(r.Findings))
	}
	return show(c, r)
}

// gather gathers the evidence, and applies the rules.
func (a *adviser) gather(ctx context.Context) *recommendations {
	ctx, cancel := context.WithTimeout(ctx, adviceTimeout)
	defer cancel()
	began := time.Now()
	r := &recommendations{Missing: []string{}}
	missing := func(what string, err error) {
		if err != nil { // what it says may name hosts: the log has it
			r.Missing = append(r.Missing, what)
			a.api.log.WarnContext(ctx, "recommendations are incomplete", "missing", what, "error", err)
		}
	}
	e := &advice.Evidence{Window: min(telemetry.MaxSpan, time.Since(a.began))}
	var err error
	missing("analysis of the queries", a.analyze(ctx))
	slot := cmp.Or(a.api.cfg.Slot, "freshet_"+a.api.cfg.Source)
	e.Postgres, err = advice.GatherPostgres(ctx, a.api.cfg.Pool, slot, a.targets())
	missing("statistics of Postgres", err)
	e.Redis, err = advice.GatherRedis(ctx, a.api.cfg.Store.Client())
	missing("statistics of Redis", err)
	a.addQueries(e)
	a.addSamples(e)
	r.Findings = advice.Findings(e)
	r.At, r.WindowSeconds, r.TookMS = time.Now().UTC(), e.Window.Seconds(), ms(time.Since(began))
	return r
}

func (a *adviser) targets() []advice.Target {
	var all []advice.Target
	for _, q := range a.api.cfg.Queries {
		if q.Cached() {
			all = append(all, advice.Target{Query: q, Text: a.api.withEnd(q)})
		}
	}
	return all
}

// analyze analyses the queries, if a definition has changed since the last time.
func (a *adviser) analyze(ctx context.Context) error {
	fingerprint := a.api.plans.Load().Fingerprint
	if a.analyses != nil && fingerprint == a.fingerprint {
		return nil
	}
	return a.api.onConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		analyzer, err := advice.NewAnalyzer(ctx, conn.Conn())
		if err != nil {
			return err
		}
		all := map[string]advice.Analysis{}
		for _, q := range a.api.cfg.Queries {
			if !q.Cached() {
				continue
			}
			if one, err := analyzer.Analyze(q); err == nil { // one that cannot be cached says so in /health/detailed
				all[q.Name] = one
			}
		}
		a.fingerprint, a.analyses = fingerprint, all
		return nil
	})
}

// addQueries adds what the windows have counted in the last hour.
func (a *adviser) addQueries(e *advice.Evidence) {
	for _, s := range a.api.Stats(telemetry.MaxSpan).Queries {
		q := a.api.byName[s.Name]
		if q == nil {
			continue
		}
		use := cacheOf(s.Answers)
		one := advice.Query{
			Name: q.Name, File: q.File, Path: q.Path, Requests: int64(use.Answers), Hits: int64(use.HitsRedis + use.HitsMemory),
			Misses: int64(use.Misses), Bypasses: map[string]int64{}, Expired: -1, Entries: a.distinct[q].estimate(), TTL: q.TTL,
			// Half of the statements were faster, which says more of what to expect than a mean that a single slow one moves.
			MeanFill: s.Fills.P50, P99: s.P99, Analysis: a.analyses[q.Name],
		}
		for reason, n := range use.Reasons {
			one.Bypasses[reason] = int64(n)
		}
		e.Queries = append(e.Queries, one)
	}
}

// addSamples adds what was seen of the pool, the invalidators and the watermark.
func (a *adviser) addSamples(e *advice.Evidence) {
	samples := a.samples.span(telemetry.MaxSpan)
	if len(samples) == 0 {
		return
	}
	e.Cleared = a.samples.cleared(telemetry.MaxSpan)
	var w windowedMetric
	w.addSamples(samples)
	first, last := samples[0], samples[len(samples)-1]
	e.Pool = &advice.Pool{
		InUse: w.Pool.InUseMax, Max: last.state.PoolMax, Waits: w.Pool.Waits, Waited: last.state.PoolWait - first.state.PoolWait,
	}
	if last.state.WatermarkAge < 0 {
		return
	}
	e.Lag = &advice.Lag{
		WatermarkAge: last.state.WatermarkAge, MaxStaleness: a.api.cfg.MaxStaleness, CDC: -1, CDCBytes: -1, Invalidator: -1, Messages: -1,
	}
	for _, s := range last.statuses {
		if s.Log == nil {
			continue
		}
		behind := time.Duration(s.Log.LagSeconds * float64(time.Second))
		if e.Lag.Invalidator < 0 || behind < e.Lag.Invalidator { // the cache is as far as the fastest
			e.Lag.Invalidator, e.Lag.Messages = behind, int64(s.Log.LagMessages)
		}
	}
}
