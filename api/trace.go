package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"freshet/internal/postgres"
	"freshet/internal/tracing"
	"freshet/query"
)

// begin gives a request what goes with all that is done for it: its id, for the log, and the time that it has. Routes whose answers do
// not end have as much as they want.
func (a *API) begin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx := tracing.WithRequestID(r.Context(), c.Response().Header().Get(echo.HeaderXRequestID))
		if !isLive(c) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.cfg.RequestTimeout)
			defer cancel()
		}
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// untraced begin the routes that machines, or the page, ask for all the time.
var untraced = []string{"/health", "/metrics", "/performance", "/ui"}

// methods are those that may be part of a span's name: the outside must not make up names.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// trace makes a span of each request, named after its route. It answers errors itself, as measure does.
func (a *API) trace(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		route := c.Path()
		if slices.ContainsFunc(untraced, func(p string) bool { return route == p || strings.HasPrefix(route, p+"/") }) {
			return next(c)
		}
		r := c.Request()
		method := r.Method
		if !slices.Contains(methods, method) {
			method = "HTTP"
		}
		ctx, span := a.cfg.Tracing.Begin(tracing.FromRequest(r.Context(), r.Header), strings.TrimSpace(method+" "+route),
			trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
				attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.String("url.path", r.URL.Path),
				attribute.String("freshet.request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
			))
		defer span.End()
		c.SetRequest(r.WithContext(ctx))
		if err := next(c); err != nil {
			c.Error(err)
		}
		status := c.Response().Status
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if how := c.Response().Header().Get(headerCacheStatus); how != "" {
			span.SetAttributes(attribute.String("freshet.cache_status", how))
		}
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		return nil
	}
}

// writeOn runs the statement of a write. If the request is traced its trace goes into the log with the same transaction, so that
// what the write clears can be linked to it.
func writeOn(ctx context.Context, conn *pgxpool.Conn, q *query.Query, args query.Args) (result []byte, err error) {
	parent := tracing.Traceparent(ctx)
	if parent == "" {
		err = conn.QueryRow(ctx, q.Text, args.Values()...).Scan(&result)
		return result, err
	}
	// A batch is one transaction and one round trip. The message first: cdc is to know it before the changes.
	batch := &pgx.Batch{}
	batch.Queue(postgres.MessageStatement, postgres.TracePrefix, []byte(parent))
	batch.Queue(q.Text, args.Values()...)
	results := conn.SendBatch(ctx, batch)
	_, err = results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&result)
	}
	// It has committed once that is read, or has not.
	if closed := results.Close(); closed != nil && (err == nil || errors.Is(err, pgx.ErrNoRows)) {
		err = closed
	}
	return result, err
}
