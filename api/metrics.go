package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/internal/telemetry"
	"freshet/query"
	"freshet/query/plan"
)

// The numbers of the outcomes that are no bypass.
const (
	outcomeHit = iota
	outcomeStale
	outcomeMiss
	outcomeBypass // and one for each of bypassReasons
)

// bypassReasons are all that there are; what is none of them counts as the last.
var bypassReasons = []string{
	cache.ReasonUntagged, cache.ReasonUnavailable, cache.ReasonForeign, cache.ReasonNoWatermark, cache.ReasonInactive, cache.ReasonSchema,
	cache.ReasonStale, cache.ReasonBehind, cache.ReasonNoMark, reasonDisabled, reasonNoStore, "other",
}

// outcomes are the ways in which a read can be answered, by number.
var outcomes = func() []telemetry.Outcome {
	all := []telemetry.Outcome{
		outcomeHit:   {Status: telemetry.StatusHit, Tier: telemetry.TierRedis},
		outcomeStale: {Status: telemetry.StatusHit, Tier: telemetry.TierRedis, Reason: "stale"},
		outcomeMiss:  {Status: telemetry.StatusMiss, Tier: telemetry.TierNone},
	}
	for _, reason := range bypassReasons {
		all = append(all, telemetry.Outcome{Status: telemetry.StatusBypass, Tier: telemetry.TierNone, Reason: reason})
	}
	return all
}()

// outcomeOf is the number of an answer's outcome.
func outcomeOf(a *cache.Answer) int {
	switch {
	case a.Stale:
		return outcomeStale
	case a.Status == cache.Hit:
		return outcomeHit
	case a.Status == cache.Miss:
		return outcomeMiss
	}
	if i := slices.Index(bypassReasons, a.Reason); i >= 0 {
		return outcomeBypass + i
	}
	return len(outcomes) - 1
}

// startMeasuring makes the metrics, which the routes need.
func (a *API) startMeasuring() {
	if a.cfg.Unmeasured {
		return
	}
	a.metrics = telemetry.NewAPI(a.cfg.Version, time.Now, outcomes, a.State)
	a.measured = make(map[*query.Query]*telemetry.Query, len(a.cfg.Queries))
	for _, q := range a.cfg.Queries {
		a.measured[q] = a.metrics.Named(q.Name, q.Cached())
	}
}

// measure counts requests. It answers errors itself: what a request was answered is known only then.
func (a *API) measure(next echo.HandlerFunc) echo.HandlerFunc {
	if a.metrics == nil {
		return next
	}
	return func(c echo.Context) error {
		method := c.Request().Method
		route, began := a.metrics.Begin(method, c.Path())
		asked := false
		defer func() { // also if the handler panics in a way that ends the connection
			r := c.Response()
			bytes := r.Size
			if method == http.MethodHead { // net/http has thrown away what was written
				bytes = 0
			}
			route.End(began, r.Status, bytes, r.Status >= http.StatusInternalServerError && !asked)
		}()
		if err := next(c); err != nil {
			asked = errors.Is(err, cache.ErrNotCached)
			c.Error(err)
		}
		return nil
	}
}

// serveMetrics adds the route of the metrics, and gives those routes metrics that have none yet: Freshet's own.
func (a *API) serveMetrics(e *echo.Echo) {
	if a.metrics == nil {
		return
	}
	readable(e, metricsPath, echo.WrapHandler(a.metrics.Handler()))
	all := e.Routes()
	slices.SortFunc(all, func(x, y *echo.Route) int { return strings.Compare(x.Method, y.Method) }) // HEAD after GET
	for _, r := range all {
		a.metrics.Serve(r.Method, r.Path, nil)
	}
}

// State is what the process knows of itself now. It asks Redis where the watermark is; while that does not answer, the watermark that was
// seen last grows older.
func (a *API) State(ctx context.Context) telemetry.APIState {
	pool := a.cfg.Pool.Stat()
	s := telemetry.APIState{
		PoolInUse: int(pool.AcquiredConns()), PoolIdle: int(pool.IdleConns()), PoolMax: int(pool.MaxConns()),
		PoolWaits: pool.EmptyAcquireCount(), PoolWait: pool.EmptyAcquireWaitTime(),
		GateWaiting: a.gate.waiting.Load() + a.writes.waiting.Load(), ShapesWaiting: -1, WatermarkAge: -1,
	}
	ctx, cancel := context.WithTimeout(ctx, telemetry.StateTimeout)
	defer cancel()
	p := a.plans.Load()
	if state, _, err := a.cfg.Store.Peek(ctx); err == nil {
		if !state.At.IsZero() {
			a.lastMark.Store(state.At.UnixMicro())
		}
		s.ShapesWaiting = inactive(p, state)
	}
	if at := a.lastMark.Load(); at != 0 {
		s.WatermarkAge = max(0, a.clock.Now().Sub(time.UnixMicro(at)))
	}
	for _, one := range p.Of {
		if one.Refused != nil {
			s.QueriesDisabled++
		}
	}
	return s
}

// inactive is how many of the shapes are not active in the cache; without a watermark all of them.
func inactive(p *plan.Set, state cache.State) int {
	waiting := map[string]bool{}
	for _, one := range p.Of {
		for _, n := range one.Needs {
			if !n.Shape.ActiveIn(state) {
				waiting[n.Shape.String()] = true
			}
		}
	}
	return len(waiting)
}

// Stats are the figures of the last minutes.
type Stats struct {
	// Routes has every route, Freshet's own included, in the order of path and method; HEAD is part of GET.
	Routes []RouteStats
	// Queries has every query, in the order of their files.
	Queries []QueryStats
}

// RouteStats are the figures of one route.
type RouteStats struct {
	Method, Path string
	// Query is the name of the query that answers, "" for a route of Freshet's own.
	Query string
	telemetry.Snapshot
	// Answers say how its reads were answered; empty for writes and for Freshet's own.
	Answers Answers
}

// QueryStats are the figures of one query: those of its route, and its answers together with others.
type QueryStats struct {
	Name string
	// Reads tells a read from a write, which has no Answers and no Fills.
	Reads bool
	telemetry.Snapshot
	Answers Answers
	// Fills are the statements that were run to answer, without the wait for a connection.
	Fills telemetry.Snapshot
}

// Answers are the outcomes of reads that there were.
type Answers []AnswerCount

// AnswerCount is how often reads were answered in one way.
type AnswerCount struct {
	telemetry.Outcome

	N uint64
}

// Of is how many answers have a status; "" for all.
func (all Answers) Of(status string) (n uint64) {
	for _, a := range all {
		if status == "" || a.Status == status {
			n += a.N
		}
	}
	return n
}

// HitRatio is the share of hits, 0 to 1; known is false if there were no answers.
func (all Answers) HitRatio() (ratio float64, known bool) {
	total := all.Of("")
	if total == 0 {
		return 0, false
	}
	return float64(all.Of(telemetry.StatusHit)) / float64(total), true
}

// Stats are the figures of the last span, which is at most telemetry.MaxSpan. An api that measures nothing has none.
func (a *API) Stats(span time.Duration) Stats {
	var s Stats
	if a.metrics == nil {
		return s
	}
	now := time.Now()
	for _, r := range a.metrics.Routes() {
		one := RouteStats{Method: r.Method, Path: r.Path, Snapshot: r.Window.Snapshot(now, span)}
		if r.Query != nil {
			one.Query = r.Query.Name
		}
		one.Answers = answersOf(one.Snapshot)
		s.Routes = append(s.Routes, one)
	}
	slices.SortFunc(s.Routes, func(x, y RouteStats) int {
		return strings.Compare(x.Path+" "+x.Method, y.Path+" "+y.Method)
	})
	for _, q := range a.metrics.Queries() {
		one := QueryStats{Name: q.Name, Reads: q.Reads, Snapshot: q.Snapshot(now, span)}
		one.Answers = answersOf(one.Snapshot)
		if q.Fills != nil {
			one.Fills = q.Fills.Snapshot(now, span)
		}
		s.Queries = append(s.Queries, one)
	}
	return s
}

func answersOf(s telemetry.Snapshot) Answers {
	var all Answers
	for i, n := range s.Outcomes {
		if n > 0 {
			all = append(all, AnswerCount{outcomes[i], n})
		}
	}
	return all
}
