package cdc

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"freshet/events"
	"freshet/internal/tracing"
)

// tracedMessages bounds the messages of one transaction that get spans, here and where they are applied: one that has millions would
// be no help to anybody. The last message always has one.
const tracedMessages = 64

// maxTraceparent bounds what is read of a message that names a request: version 00 has 55 bytes.
const maxTraceparent = 64

// transactionTrace is the trace of one transaction, from its decoding on. It begins with the first message that is published of it: most
// transactions are none of ours. A nil one traces nothing.
type transactionTrace struct {
	tracing *tracing.Tracing
	source  string
	begin   beginMessage
	began   time.Time
	cause   string // the request's traceparent

	ctx      context.Context //nolint:containedctx // of the span, which is that of the transaction, not of a call
	span     trace.Span
	messages int
	changes  int
}

// traceTransaction begins the trace of a transaction.
func (d *decoder) traceTransaction(m beginMessage) {
	d.trace = nil
	if d.tracing != nil {
		d.trace = &transactionTrace{tracing: d.tracing, source: d.builder.Source, begin: m, began: time.Now()}
	}
}

// causedBy notes which request made the transaction. Anybody may emit such a message: what is none of a trace is ignored.
func (t *transactionTrace) causedBy(content []byte) {
	if t != nil && len(content) <= maxTraceparent {
		t.cause = string(content)
	}
}

// message begins the span of a finished message; nil if it has none. last says that the transaction ends with it.
func (t *transactionTrace) message(ctx context.Context, body *events.Body, last bool) *messageTrace {
	if t == nil || body == nil {
		return nil
	}
	if t.span == nil {
		t.ctx, t.span = t.tracing.BeginLinked(ctx, t.cause, "transaction", trace.WithTimestamp(t.began), trace.WithAttributes(
			attribute.String("freshet.source", t.source), attribute.String("freshet.position", t.begin.final.String()),
			attribute.Int64("freshet.xid", int64(t.begin.xid)), attribute.String("freshet.committed", t.begin.commit.UTC().Format(time.RFC3339Nano)),
		))
	}
	if !t.span.IsRecording() {
		return nil
	}
	t.messages, t.changes = t.messages+1, t.changes+body.Count
	m := &messageTrace{}
	if last {
		t.span.SetAttributes(attribute.Int("freshet.messages", t.messages), attribute.Int("freshet.changes", t.changes))
		m.transaction = t.span
	} else if t.messages >= tracedMessages {
		return nil
	}
	m.ctx, m.span = tracing.Child(t.ctx, "publish "+body.Table.Schema+"."+body.Table.Name, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"), attribute.String("freshet.table", body.Table.Schema+"."+body.Table.Name),
			attribute.Int("freshet.changes", body.Count), attribute.Int("messaging.message.body.size", len(body.Data)),
		))
	return m
}

// messageTrace is the span of one message on its way into the stream. A nil one traces nothing.
type messageTrace struct {
	ctx         context.Context //nolint:containedctx // that of the span
	span        trace.Span
	transaction trace.Span // which ends with this message, if not nil
}

// visible says that the barrier has let the message pass, and names the span in the message.
func (t *messageTrace) visible(m *nats.Msg) *nats.Msg {
	if t != nil {
		t.span.AddEvent("visible")
		m.Header[tracing.HeaderTraceparent] = []string{tracing.Traceparent(t.ctx)}
	}
	return m
}

// stored says that the stream has the message.
func (t *messageTrace) stored(sequence uint64) {
	if t == nil {
		return
	}
	t.span.SetAttributes(attribute.Int64("freshet.sequence", int64(sequence)))
	t.span.End()
	if t.transaction != nil {
		t.transaction.End()
	}
}
