package tracing

import (
	"context"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// Pool traces the statements of a pool that is about to be made, for postgres.NewPool. The texts of statements are shown, not their
// parameters.
func (t *Tracing) Pool(cfg *pgxpool.Config) {
	if t != nil {
		// It makes no trace of its own. Without the prefix to prepare a statement would be called as to run it is.
		cfg.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider), otelpgx.WithQuerySpanNamePrefix())
	}
}

// Redis traces the commands of a client. Their names are shown, not their arguments: keys have values of rows in them, and entries are
// nothing else.
func (t *Tracing) Redis(client *redis.Client) error {
	if t == nil {
		return nil
	}
	return redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(within{tracers: t.provider}),
		redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false))
}

// within makes spans in traces that there are, and no trace of its own: what a process asks in the background would else be one each.
type within struct {
	embedded.TracerProvider
	tracers trace.TracerProvider
}

// Tracer is that of trace.TracerProvider.
func (w within) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return withinTracer{tracer: w.tracers.Tracer(name, options...)}
}

type withinTracer struct {
	embedded.Tracer
	tracer trace.Tracer
}

// Start is that of trace.Tracer.
func (w withinTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return w.tracer.Start(ctx, name, options...) //nolint:spancheck // whoever begins it ends it
}
