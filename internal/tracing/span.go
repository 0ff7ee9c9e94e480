//nolint:spancheck // whoever begins a span ends it
package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HeaderTraceparent is that of W3C Trace Context, in HTTP requests and in the log's messages.
const HeaderTraceparent = "traceparent"

var w3c propagation.TraceContext

// Begin begins a span. A nil Tracing begins one that does nothing.
func (t *Tracing) Begin(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return t.tracer.Start(ctx, name, options...)
}

// BeginLinked begins a trace that another one, whose traceparent is given, has caused. It is made if the other one is; without another
// one the sampler decides.
func (t *Tracing) BeginLinked(ctx context.Context, cause, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil {
		return t.Begin(ctx, name)
	}
	options = append(options, trace.WithNewRoot())
	link := parse(cause)
	if !link.IsSampled() {
		return t.tracer.Start(ctx, name, options...)
	}
	return t.always.Start(ctx, name, append(options, trace.WithLinks(trace.Link{SpanContext: link}))...)
}

// Child begins a span in the trace of a context's span, whatever the sampler says of others.
func Child(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(scope).Start(ctx, name, options...)
}

// Continue begins a span that goes on with the trace of a message. There is none if the message is not traced: ok is false.
func (t *Tracing) Continue(ctx context.Context, traceparent, name string, options ...trace.SpanStartOption) (_ context.Context, _ trace.Span, ok bool) {
	parent := parse(traceparent)
	if t == nil || !parent.IsSampled() {
		return ctx, nil, false
	}
	ctx, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), name, options...)
	return ctx, span, true
}

// FromRequest returns a context in which the span of an HTTP request is the parent, if it names one.
func FromRequest(ctx context.Context, header http.Header) context.Context {
	return w3c.Extract(ctx, propagation.HeaderCarrier(header))
}

// Traceparent names the span of a context; "" if it has none, or one that is not sampled.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier[HeaderTraceparent]
}

// parse reads a traceparent; the zero SpanContext is none.
func parse(traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier{HeaderTraceparent: traceparent}))
}
