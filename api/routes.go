package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"freshet/cache"
	"freshet/query"
)

// reserved are the paths that are Freshet's own.
var reserved = []string{"/health", "/performance", "/metrics", "/ui", "/query", "/position"}

func (a *API) routes(ctx context.Context) error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = a.fail
	e.Use(
		middleware.RequestIDWithConfig(middleware.RequestIDConfig{Generator: newRequestID}),
		a.logRequest,
		middleware.Recover(),
		middleware.BodyLimit(fmt.Sprintf("%dB", a.cfg.BodyLimit)),
		// Without its error handler: problemOf tells a statement that was too slow from a Postgres that is not there.
		middleware.ContextTimeoutWithConfig(middleware.ContextTimeoutConfig{
			Timeout:      a.cfg.RequestTimeout,
			ErrorHandler: func(err error, _ echo.Context) error { return err },
		}),
	)
	e.Pre(cleanRequestID)
	for _, q := range a.cfg.Queries {
		if err := checkPath(q); err != nil {
			return err
		}
		if !q.Cached() {
			e.Add(q.Method, q.Path, a.write(q))
			continue
		}
		tags, err := a.dependencies(ctx, q)
		if err != nil {
			return err
		}
		readable(e, q.Path, a.read(q, tags))
	}
	readable(e, "/health", a.health)
	readable(e, "/health/ready", a.ready)
	readable(e, "/", a.index)
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

// dependency is a shape whose values come from a request's parameters.
type dependency struct {
	shape cache.Shape
	pins  []query.Pin // in the order of the shape's columns
}

func (d dependency) tag(args query.Args) cache.Tag {
	values := make([]string, len(d.pins))
	for i, pin := range d.pins {
		values[i] = args.Pin(pin)
	}
	return d.shape.Tag(values...)
}

// dependencies resolves what a query depends on, and adds the shapes to those that are registered.
func (a *API) dependencies(ctx context.Context, q *query.Query) ([]dependency, error) {
	var all []dependency
	for _, d := range q.Depends {
		schema, err := a.schemaOf(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: depends: %w", q.File, d.Line, err)
		}
		columns := make([]string, len(d.Columns)) // sorted, as a shape's are
		for i, pin := range d.Columns {
			columns[i] = pin.Column
		}
		shape := cache.NewShape(schema, d.Table, columns...)
		all = append(all, dependency{shape, d.Columns})
		a.addShape(shape)
	}
	return all, nil
}

func (a *API) addShape(shape cache.Shape) {
	for _, s := range a.shapes {
		if s.String() == shape.String() {
			return
		}
	}
	a.shapes = append(a.shapes, shape)
}

func (a *API) schemaOf(ctx context.Context, d query.Dependency) (string, error) {
	name := pgx.Identifier{d.Table}
	if d.Schema != "" {
		name = pgx.Identifier{d.Schema, d.Table}
	}
	var schema string
	err := a.cfg.Pool.QueryRow(ctx, `SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass($1)`, name.Sanitize()).Scan(&schema)
	if err != nil {
		return "", fmt.Errorf("find table %s: %w", d.Table, err)
	}
	return schema, nil
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
