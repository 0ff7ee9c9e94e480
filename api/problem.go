package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/query"
)

// problem is an error as the client sees it: problem details (RFC 9457). Title is that of the status.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Instance  string         `json:"instance,omitempty"`
	RequestID string         `json:"request_id,omitempty"`
	Errors    []paramProblem `json:"errors,omitempty"`

	retryAfter bool
}

// paramProblem is one bad parameter.
type paramProblem struct {
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

func (p *problem) Error() string { return p.Detail }

var errNotFound = &problem{Status: http.StatusNotFound, Detail: "there is no such row"}

// unavailableError says that Postgres could not be reached, or had no connection to spare.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return "Postgres is not available: " + e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// problemOf maps an error to what the client is told: the one place that does. What it does not know becomes a 500 whose
// detail only the log shows.
func problemOf(err error) problem {
	var (
		known   *problem
		httpErr *echo.HTTPError
		pg      *pgconn.PgError
		gone    *unavailableError
	)
	switch params := query.ParamErrors(err); {
	case errors.As(err, &known):
		return *known
	case len(params) > 0:
		return paramsProblem(params)
	case errors.As(err, &httpErr):
		return problem{Status: httpErr.Code, Detail: http.StatusText(httpErr.Code)}
	case errors.Is(err, errStatementTimeout), errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &gone):
		return problem{Status: http.StatusGatewayTimeout, Detail: "Postgres did not answer in time"}
	case errors.Is(err, cache.ErrNotCached):
		return problem{Status: http.StatusGatewayTimeout, Detail: "the cache has no answer, and the request wanted no other (only-if-cached)"}
	case errors.Is(err, cache.ErrFormerPrimary):
		return problem{Status: http.StatusServiceUnavailable, Detail: "the Postgres server that was asked is not the primary any more", retryAfter: true}
	case errors.Is(err, errCrowded):
		return problem{Status: http.StatusServiceUnavailable, Detail: "too many requests wait for Postgres", retryAfter: true}
	case errors.As(err, &gone):
		return problem{Status: http.StatusServiceUnavailable, Detail: "Postgres is not available", retryAfter: true}
	case errors.As(err, &pg):
		return databaseProblem(pg)
	case errors.Is(err, context.Canceled):
		return problem{Status: 499, Detail: "the client went away"}
	case pgconn.SafeToRetry(err), isConnectionError(err):
		return problem{Status: http.StatusServiceUnavailable, Detail: "the connection to Postgres was lost", retryAfter: true}
	}
	return problem{Status: http.StatusInternalServerError, Detail: "an internal error; the log has it under this request id"}
}

func paramsProblem(params []*query.ParamError) problem {
	p := problem{Status: http.StatusBadRequest}
	details := make([]string, len(params))
	for i, e := range params {
		details[i] = e.Error()
		p.Errors = append(p.Errors, paramProblem{e.Param, e.Msg})
	}
	p.Detail = strings.Join(details, "; ")
	return p
}

// databaseProblem maps SQLSTATE (appendix A of the Postgres manual). Messages of Postgres can show data, so only the names of
// constraints and columns are passed on.
func databaseProblem(pg *pgconn.PgError) problem {
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case pg.Code == "23505":
		return problem{Status: http.StatusConflict, Detail: "a row with this value exists already (constraint " + pg.ConstraintName + ")"}
	case pg.Code == "23503":
		return problem{Status: http.StatusConflict, Detail: "a row that is referred to is missing, or still referred to (constraint " + pg.ConstraintName + ")"}
	case pg.Code == "23502":
		return problem{Status: http.StatusUnprocessableEntity, Detail: "column " + pg.ColumnName + " needs a value"}
	case class == "23":
		return problem{Status: http.StatusUnprocessableEntity, Detail: "a value violates the constraint " + pg.ConstraintName}
	case class == "22":
		return problem{Status: http.StatusBadRequest, Detail: "Postgres refuses a value"}
	case pg.Code == "57014":
		return problem{Status: http.StatusGatewayTimeout, Detail: "Postgres did not answer in time"}
	case class == "40", class == "53", class == "57", class == "08":
		return problem{Status: http.StatusServiceUnavailable, Detail: "Postgres cannot do this now", retryAfter: true}
	}
	return problem{Status: http.StatusInternalServerError, Detail: "an internal error; the log has it under this request id"}
}

// unavailable tells whether an error means that Postgres cannot answer at all.
func unavailable(err error) bool {
	p := problemOf(err)
	return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusGatewayTimeout
}

// isConnectionError tells whether the connection broke, rather than the statement failed.
func isConnectionError(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || strings.Contains(err.Error(), "conn closed") ||
		errors.Is(err, errPoolTimeout) || isNetwork(err)
}

// fail answers an error. echo calls it.
func (a *API) fail(err error, c echo.Context) {
	if c.Response().Committed && isConnectionError(err) { // the client has gone: whatever else fails does so before the answer begins
		a.log.DebugContext(c.Request().Context(), "an answer could not be sent", "path", c.Request().URL.Path, "error", err)
		return
	}
	p := problemOf(err)
	if errors.Is(err, cache.ErrFormerPrimary) {
		a.cfg.Pool.Reset() // the next connections may find the primary
	}
	r, h := c.Request(), c.Response().Header()
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	if p.Title == "" {
		p.Title = "Client Closed Request"
	}
	p.Instance, p.RequestID = r.URL.Path, h.Get(echo.HeaderXRequestID)
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, cache.ErrNotCached) { // that one was asked for
		a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	}
	if c.Response().Committed {
		return
	}
	if p.retryAfter {
		h.Set(echo.HeaderRetryAfter, "1")
	}
	// That there is no such row says itself how it may be cached; every other 404 could be kept by a proxy (RFC 9110, section 15.1).
	if p.Status != http.StatusNotFound || h.Get(echo.HeaderCacheControl) == "" {
		h.Set(echo.HeaderCacheControl, "no-store")
	}
	body, encodeErr := json.Marshal(p)
	if encodeErr == nil && r.Method == http.MethodHead {
		body = nil
	}
	if err := errors.Join(encodeErr, c.Blob(p.Status, "application/problem+json", body)); err != nil {
		a.log.DebugContext(r.Context(), "an error could not be sent", "error", err)
	}
}

// logRequest logs each request at debug level; failures are logged by fail.
func (a *API) logRequest(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		err := next(c)
		if ctx := c.Request().Context(); a.log.Enabled(ctx, -4) {
			if err != nil {
				c.Error(err)
			}
			a.log.DebugContext(ctx, "request", "method", c.Request().Method,
				"path", c.Request().URL.Path, "status", c.Response().Status, "took", time.Since(start),
				"cache", c.Response().Header().Get(headerCacheStatus))
			return nil
		}
		return err
	}
}
