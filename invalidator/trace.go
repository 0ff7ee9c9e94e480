package invalidator

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"freshet/events"
	"freshet/internal/tracing"
)

// traced are the spans of the messages of a step, of those that have a trace. They end when the step is stored: one that fails, or that
// another invalidator was faster with, is begun again with the next step, and its spans are nobody's.
type traced struct{ spans []trace.Span }

// begin begins the span of a message that was matched, as the next part of the trace that the message names.
func (t *traced) begin(ctx context.Context, by *tracing.Tracing, m jetstream.Msg, c *events.Changes, sequence uint64, matched int) {
	if by == nil {
		return
	}
	table := c.Schema + "." + c.Table
	_, span, ok := by.Continue(ctx, m.Headers().Get(tracing.HeaderTraceparent), "clear "+table, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"), attribute.String("freshet.table", table), attribute.String("freshet.position", c.Position.String()),
			attribute.Int64("freshet.sequence", int64(sequence)), attribute.Int("freshet.changes", len(c.Changes)), attribute.Int("freshet.tags", matched),
		))
	if ok {
		t.spans = append(t.spans, span)
	}
}

// context is that of the one script that applies all the messages: it is shown in the trace of the first.
func (t *traced) context(ctx context.Context) context.Context {
	if len(t.spans) == 0 {
		return ctx
	}
	return trace.ContextWithSpan(ctx, t.spans[0])
}

// end says that everything is stored: what the messages clear is gone.
func (t *traced) end(cleared map[[2]string]int) {
	if len(t.spans) == 0 {
		return
	}
	buckets, now := 0, time.Now()
	for _, n := range cleared {
		buckets += n
	}
	for _, span := range t.spans {
		span.SetAttributes(attribute.Int("freshet.step.messages", len(t.spans)), attribute.Int("freshet.step.buckets_cleared", buckets))
		span.End(trace.WithTimestamp(now))
	}
}
