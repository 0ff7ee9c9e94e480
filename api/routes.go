package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"freshet/query"
)

// reserved are the paths that are Freshet's own.
var reserved = []string{"/health", "/performance", metricsPath, "/ui", queryPath, positionPath}

const (
	metricsPath  = "/metrics" // for Prometheus
	queryPath    = "/query"
	positionPath = "/position"
)

func (a *API) routes() error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = a.fail
	e.Use(middleware.RequestIDWithConfig(middleware.RequestIDConfig{Generator: newRequestID}), a.begin)
	if a.cfg.Tracing != nil { // else it is not even in the way
		e.Use(a.trace)
	}
	e.Use(
		a.logRequest,
		unlessLive(a.measure),
		middleware.Recover(),
		middleware.BodyLimit(fmt.Sprintf("%dB", a.cfg.BodyLimit)),
	)
	e.Pre(cleanRequestID)
	for _, q := range a.cfg.Queries {
		if err := checkPath(q); err != nil {
			return err
		}
		if !q.Cached() {
			a.metrics.Serve(q.Method, q.Path, a.measured[q])
			e.Add(q.Method, q.Path, a.write(q))
			continue
		}
		a.byName[q.Name] = q
		readable(e, q.Path, a.read(q))
	}
	e.POST(queryPath, a.together)
	e.GET(positionPath, a.position)
	a.healthRoutes(e)
	a.perf.routes(e)
	a.watchRoutes(e)
	readable(e, "/", a.index)
	a.serveMetrics(e)
	a.echo = e
	return nil
}

// readable adds a route for GET and HEAD, which every server has to answer (RFC 9110, section 9.1). net/http drops the body.
func readable(e *echo.Echo, path string, handler echo.HandlerFunc) {
	e.GET(path, handler)
	e.HEAD(path, handler)
}

func checkPath(q *query.Query) error {
	for _, path := range reserved {
		if q.Path == "/" || q.Path == path || strings.HasPrefix(q.Path, path+"/") {
			return fmt.Errorf("%s: the route %s %s is Freshet's own: choose another path", q.File, q.Method, q.Path)
		}
	}
	return nil
}

// valuesOf reads the parameters that the URL carries.
func valuesOf(c echo.Context) (query.Values, error) {
	path, err := pathParams(c)
	if err != nil {
		return query.Values{}, err
	}
	// Not URL.Query, which leaves out what it cannot read: a default would then answer for a parameter that was sent.
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return query.Values{}, &problem{Status: http.StatusBadRequest, Detail: "the query string is malformed: " + err.Error()}
	}
	return query.Values{Path: path, Query: values}, nil
}

// pathParams resolves escapes: echo matches, and returns, the path as it was sent where that differs from how Go would write it
// (URL.RawPath), such as c%2B%2B.
func pathParams(c echo.Context) (map[string]string, error) {
	raw := c.ParamValues()
	values := make(map[string]string, len(raw))
	for i, name := range c.ParamNames() {
		values[name] = raw[i]
		if c.Request().URL.RawPath == "" {
			continue
		}
		var err error
		if values[name], err = url.PathUnescape(raw[i]); err != nil {
			return nil, &problem{Status: http.StatusBadRequest, Detail: "the path is malformed: " + err.Error()}
		}
	}
	return values, nil
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}
