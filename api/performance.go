package api

import (
	"context"
	_ "embed"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/heavy"
	"freshet/query"
)

// The paths of the performance endpoints. docs/performance.md describes what they answer.
const (
	pathPerformance     = "/performance/metrics"
	pathCacheStats      = "/performance/cache/stats"
	pathCacheClear      = "/performance/cache/clear"
	pathCacheWarm       = "/performance/cache/warm"
	pathRecommendations = "/performance/optimization/recommendations"
	pathSchema          = "/performance/schema"
)

const (
	// sampleInterval is the time between two looks at the pool, Redis and the machine, contentsInterval between two samples of what is
	// cached.
	sampleInterval   = 5 * time.Second
	contentsInterval = 30 * time.Second
	// sampleTimeout bounds each look.
	sampleTimeout = 2 * time.Second
	// hitStride is how many hits there are for each that counts for the top buckets.
	hitStride = 64
	// topCounters are those of the sketch of buckets, topBuckets how many are shown.
	topCounters, topBuckets = 1000, 50
)

//go:embed performance.schema.json
var performanceSchema []byte

// performance is what the performance endpoints answer from. All of it is gathered in the background: a request only puts together what
// is known. Nothing of it may hold up a read.
type performance struct {
	api      *API
	began    time.Time
	system   *systemReader
	samples  ring
	contents atomic.Pointer[sampledContents]
	hits     *heavy.Sketch
	distinct map[*query.Query]*distinct
	advice   adviser
	warmer   *warmer
}

func newPerformance(a *API) *performance {
	p := &performance{
		api: a, began: time.Now(), system: newSystemReader(), hits: heavy.New(topCounters),
		distinct: make(map[*query.Query]*distinct, len(a.cfg.Queries)), warmer: newWarmer(a),
	}
	for _, q := range a.cfg.Queries {
		p.distinct[q] = &distinct{began: p.began}
	}
	p.advice.init(p)
	return p
}

// run gathers until ctx ends.
func (p *performance) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return every(ctx, 0, func() time.Duration {
			p.samples.add(p.sample(ctx))
			return sampleInterval
		})
	})
	g.Go(func() error {
		return every(ctx, 0, func() time.Duration {
			p.sampleContents(ctx)
			return contentsInterval
		})
	})
	g.Go(func() error { return p.advice.run(ctx) })
	g.Go(func() error { return p.warmer.run(ctx) })
	return g.Wait()
}

// answered counts a read for the top buckets and the number of different requests. It is on the way of each: of the hits all but one in
// hitStride cost a random number.
func (p *performance) answered(q *query.Query, req *cache.Request, answer *cache.Answer) {
	switch {
	case p.api.metrics == nil:
	case answer.Status == cache.Hit && len(req.Tags) > 0:
		if rand.Uint32()%hitStride == 0 {
			p.hits.TryAdd(req.Tags[0].Name, hitStride)
		}
	case answer.Status == cache.Miss:
		p.distinct[q].add(req.Field)
	}
}

// routes serves the endpoints.
func (p *performance) routes(e *echo.Echo) {
	readable(e, pathPerformance, p.allowed(func(c echo.Context) error { return show(c, p.metrics()) }))
	readable(e, pathCacheStats, p.allowed(func(c echo.Context) error { return show(c, p.cacheStats()) }))
	readable(e, pathRecommendations, p.allowed(p.recommend))
	// Of the schema nothing is secret: it is in the documentation.
	readable(e, pathSchema, func(c echo.Context) error { return c.Blob(http.StatusOK, "application/schema+json", performanceSchema) })
	e.POST(pathCacheClear, p.clear)
	e.POST(pathCacheWarm, p.startWarmUp)
	e.DELETE(pathCacheWarm, p.endWarmUp)
	readable(e, pathCacheWarm, p.allowed(p.showWarmUp))
}

// performanceEndpoints describes them to people and scripts.
func (a *API) performanceEndpoints() []endpoint {
	all := []endpoint{
		{Method: "POST", Path: pathCacheClear, Doc: "Clears everything, a table, a query, a tag or a pattern. Needs the admin token."},
		{Method: "POST", Path: pathCacheWarm, Doc: "Fills the cache with what was changed lately, in the background; DELETE ends that. Needs the admin token."},
		{Method: "GET", Path: pathSchema, Doc: "The JSON Schema of what /performance answers.", Try: pathSchema},
	}
	for path, doc := range map[string]string{
		pathPerformance:     "Routes, pool, Redis, log and system over 1, 5 and 60 minutes.",
		pathCacheStats:      "What is cached, hit and cleared, and how often.",
		pathCacheWarm:       "How far the warm-up is.",
		pathRecommendations: "What to change, with the numbers that say so.",
	} {
		e := endpoint{Method: "GET", Path: path, Doc: doc + " Needs the admin token."}
		if a.cfg.HealthOpen {
			e.Doc, e.Try = doc, path
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y endpoint) int { return strings.Compare(x.Path, y.Path) })
	return all
}

// allowed lets those in who may see /health/detailed.
func (p *performance) allowed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		switch status, why := p.api.monitor.Allow(c.Request()); status {
		case http.StatusOK:
			return next(c)
		case http.StatusUnauthorized:
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="freshet"`)
			fallthrough
		default:
			return &problem{Status: status, Detail: why}
		}
	}
}

func show(c echo.Context, body any) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, body)
}
