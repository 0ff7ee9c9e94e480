package api

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"html/template"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"freshet/cache"
)

// health says that the process answers.
func (a *API) health(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok", "version": a.cfg.Version})
}

// readyTimeout bounds the checks of /health/ready.
const readyTimeout = time.Second

// ready says whether reads can be answered: from Postgres, or at least from a cache that is fresh.
func (a *API) ready(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	status := struct {
		Status   string `json:"status"`
		Postgres string `json:"postgres"`
		Cache    string `json:"cache"`
	}{"ready", "ok", "ok"}
	code := http.StatusOK
	if err := a.cfg.Pool.Ping(ctx); err != nil {
		status.Postgres = "does not answer"
	}
	if err := a.cacheFresh(ctx); err != nil {
		status.Cache = err.Error()
	}
	switch {
	case a.draining.Load():
		status.Status, code = "draining", http.StatusServiceUnavailable
	case status.Postgres != "ok" && status.Cache != "ok":
		status.Status, code = "not ready: neither Postgres nor the cache can answer", http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(code, status)
}

func (a *API) cacheFresh(ctx context.Context) error {
	state, found, err := a.cfg.Store.Load(ctx)
	switch {
	case err != nil:
		return errors.New("no answer from Redis: reads go to Postgres")
	case !found:
		return errors.New("no watermark: is the invalidator running?")
	case a.clock.Now().Sub(state.At) > a.cfg.MaxStaleness:
		return errors.New("the watermark is too old: are cdc and the invalidator running?")
	case state.Generations[cache.CatalogShape.String()] != a.plans.Load().generation:
		return errors.New("the queries are being analyzed: a definition has changed")
	}
	return nil
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
	return append(all,
		endpoint{Method: "GET", Path: "/health", Doc: "The process answers.", Try: "/health"},
		endpoint{Method: "GET", Path: "/health/ready", Doc: "Reads can be served, or why not.", Try: "/health/ready"})
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
