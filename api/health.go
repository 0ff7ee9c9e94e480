package api

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"freshet/api/ui"
	"freshet/cache"
	"freshet/internal/health"
)

const (
	// checkTimeout bounds each look at what the api depends on.
	checkTimeout = time.Second
	// notHere says who knows what the api does not: it has no connection to NATS.
	notHere = "the api has no connection to NATS: ask "
)

// newMonitor makes the background checks, which the health endpoints answer from.
func (a *API) newMonitor() *health.Monitor {
	checks := []health.Check{
		health.Postgres(a.cfg.Pool, nil),
		health.ReplicationSlot(a.cfg.Pool, cmp.Or(a.cfg.Slot, "freshet_"+a.cfg.Source)),
		health.Redis(a.cfg.Store),
		health.WatermarkOf(a.cfg.Store, a.clock.Now, a.cfg.MaxStaleness),
		{Name: health.CheckQueries, Look: a.checkQueries},
	}
	for i := range checks {
		checks[i].Timeout = checkTimeout
	}
	return health.New(health.Config{
		Process: "api", Version: a.cfg.Version, Interval: a.cfg.HealthInterval, Checks: checks, Ready: a.readiness,
		Live: map[string]func() any{
			"pool": func() any { return health.PoolUse(a.cfg.Pool) },
			"gate": func() any { return map[string]int64{"waiting": a.gate.waiting.Load(), "most": a.gate.most} },
		},
		NotKnown: map[string]string{
			health.CheckStream:   notHere + "/health/detailed of cdc or the invalidator",
			health.CheckConsumer: notHere + "/health/detailed of the invalidator",
		},
		Secrets:    append(health.SecretsOf(a.cfg.Pool.Config().ConnString()), a.cfg.Secrets...),
		AdminToken: a.cfg.AdminToken, Open: a.cfg.HealthOpen,
	})
}

// healthRoutes serves the endpoints.
func (a *API) healthRoutes(e *echo.Echo) {
	for path, serve := range map[string]http.HandlerFunc{
		health.PathBasic: a.monitor.ServeBasic, health.PathLive: a.monitor.ServeLive, health.PathReady: a.monitor.ServeReady,
	} {
		readable(e, path, echo.WrapHandler(serve))
	}
	readable(e, health.PathDetailed, func(c echo.Context) error {
		switch status, why := a.monitor.Allow(c.Request()); status {
		case http.StatusOK:
			a.monitor.ServeDetailed(c.Response(), c.Request())
			return nil
		case http.StatusUnauthorized:
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="freshet"`)
			fallthrough
		default:
			return &problem{Status: status, Detail: why}
		}
	})
}

// readiness says whether reads can be answered: from Postgres, or at least from a cache that is fresh.
func (a *API) readiness(m *health.Monitor) health.Readiness {
	postgres, cached := m.Result(health.CheckPostgres), a.cacheFresh(m)
	r := health.Readiness{OK: true, Status: "ready", Parts: map[string]string{"postgres": postgres.Public(), "cache": cached}}
	switch {
	case a.draining.Load():
		r.OK, r.Draining, r.Status = false, true, "draining"
	case a.warmingFirst():
		r.OK, r.Status = false, "not ready: the cache is being warmed"
	case postgres.Status != health.OK && cached != "ok":
		r.OK, r.Status = false, "not ready: neither Postgres nor the cache can answer"
	}
	return r
}

// cacheFresh is "ok" if reads that ask for nothing special can be answered from the cache.
func (a *API) cacheFresh(m *health.Monitor) string {
	r := m.Result(health.CheckWatermark)
	if r.Status != health.OK {
		return r.Public()
	}
	w, known := r.Details.(health.Watermark)
	if known && w.State.Generations[cache.CatalogShape.String()] != a.plans.Load().Generation {
		return "the queries are being analyzed: a definition has changed"
	}
	return "ok"
}

// queryHealth is what the check of the queries shows.
type queryHealth struct {
	Total  int `json:"total"`
	Cached int `json:"cached"`
	// Disabled are the queries that are not cached because they cannot be analyzed or registered, with the reason.
	Disabled map[string]string `json:"disabled,omitempty"`
	// WaitingShapes are registered and not active in the cache yet: their queries read Postgres until then.
	WaitingShapes []string `json:"waiting_shapes,omitempty"`
}

// checkQueries compares the shapes that the queries need with those that are active in the cache. A query that is disabled fails it.
func (a *API) checkQueries(ctx context.Context) (any, error) {
	h := queryHealth{Total: len(a.cfg.Queries), Disabled: map[string]string{}}
	plans := a.plans.Load()
	var shapes []cache.Shape
	for q, one := range plans.Of {
		if one.Refused != nil {
			h.Disabled[q.Name] = one.Refused.Error()
			continue
		}
		h.Cached++
		for _, n := range one.Needs {
			shapes = append(shapes, n.Shape)
		}
	}
	state, _, err := a.cfg.Store.Peek(ctx)
	if err != nil {
		return h, errors.New("the shapes that are active are not known: no answer from Redis")
	}
	for _, s := range cache.Union(shapes) {
		if !s.ActiveIn(state) {
			h.WaitingShapes = append(h.WaitingShapes, s.String())
		}
	}
	if n := len(h.Disabled); n > 0 {
		return h, fmt.Errorf("%d of %d queries are disabled: they read Postgres", n, h.Total)
	}
	return h, nil
}

//go:embed index.html
var indexHTML string

var indexPage = template.Must(template.New("index").Parse(indexHTML))

// endpoint describes a route to people and scripts.
type endpoint struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Doc    string `json:"doc,omitempty"`
	Try    string `json:"try,omitempty"`
}

func (a *API) endpoints() []endpoint {
	var all []endpoint
	for _, q := range a.cfg.Queries {
		e := endpoint{Method: q.Method, Path: q.Path, Query: q.Name, Doc: q.Doc}
		if q.Cached() {
			e.Try = q.Example
			if e.Try == "" && !strings.Contains(q.Path, ":") {
				e.Try = q.Path
			}
		}
		all = append(all, e)
	}
	all = append(all,
		endpoint{Method: "GET", Path: ui.Path, Doc: "A page to watch the cache on.", Try: ui.Path},
		endpoint{Method: "GET", Path: health.PathBasic, Doc: "How the process is, in a word.", Try: health.PathBasic},
		endpoint{Method: "GET", Path: health.PathLive, Doc: "The process answers.", Try: health.PathLive},
		endpoint{Method: "GET", Path: health.PathReady, Doc: "Reads can be served, or why not.", Try: health.PathReady})
	all = append(all,
		endpoint{Method: "POST", Path: queryPath, Doc: "Several reads of one moment."},
		endpoint{Method: "GET", Path: positionPath, Doc: "Answers once the cache has applied whatever was committed before.", Try: positionPath})
	if a.metrics != nil {
		all = append(all, endpoint{Method: "GET", Path: metricsPath, Doc: "Metrics for Prometheus.", Try: metricsPath})
	}
	if a.cfg.HealthOpen { // else a link would only show that it needs the token
		all = append(all, endpoint{Method: "GET", Path: health.PathDetailed, Doc: "What the api depends on, and how that is.", Try: health.PathDetailed})
	}
	return append(all, a.performanceEndpoints()...)
}

// index lists the endpoints: a page for browsers, JSON for everybody else.
func (a *API) index(c echo.Context) error {
	data := struct {
		Name      string     `json:"name"`
		Version   string     `json:"version"`
		Endpoints []endpoint `json:"endpoints"`
	}{"freshet", a.cfg.Version, a.endpoints()}
	if !strings.Contains(c.Request().Header.Get(echo.HeaderAccept), "text/html") {
		return c.JSONPretty(http.StatusOK, data, "  ")
	}
	var page strings.Builder
	if err := indexPage.Execute(&page, data); err != nil {
		return err
	}
	return c.HTML(http.StatusOK, page.String())
}

func newRequestID() string { return rand.Text()[:20] }

// cleanRequestID drops a request id that does not belong into a log or a header.
func cleanRequestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.Request().Header.Del(echo.HeaderXRequestID)
		}
		return next(c)
	}
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
