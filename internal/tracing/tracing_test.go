package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestEnabled(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want bool
	}{
		{"", false},
		{"OTEL_SERVICE_NAME=x OTEL_TRACES_SAMPLER=always_on", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", true},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://x:4318/v1/traces", true},
		{"OTEL_TRACES_EXPORTER=otlp", true},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", false},
		{"OTEL_SDK_DISABLED=TRUE OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", false},
		{"OTEL_SDK_DISABLED=false OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", true},
	} {
		got, err := enabled(environment(tt.env))
		require.NoError(t, err)
		require.Equal(t, tt.want, got, tt.env)
	}
	_, err := enabled(environment("OTEL_TRACES_EXPORTER=jaeger"))
	require.ErrorContains(t, err, `"jaeger" must be otlp or none`)
	_, err = newClient(environment("OTEL_EXPORTER_OTLP_PROTOCOL=http/json"))
	require.ErrorContains(t, err, "must be http/protobuf or grpc")
	_, err = newClient(environment("OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc"))
	require.NoError(t, err)
}

func environment(settings string) func(string) string {
	return func(name string) string {
		for one := range strings.FieldsSeq(settings) {
			if key, value, _ := strings.Cut(one, "="); key == name {
				return value
			}
		}
		return ""
	}
}

// started traces into a collector.
func started(t *testing.T, settings ...string) (*Tracing, *testenv.TraceCollector) {
	t.Helper()
	c := testenv.Collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		t.Setenv(name, value)
	}
	tracing, err := Start(t.Context(), "test", "v1", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NotNil(t, tracing)
	return tracing, c
}

// Whoever traces need not ask whether anybody wants to know.
func TestNil(t *testing.T) {
	var none *Tracing
	ctx, span := none.Begin(t.Context(), "x")
	span.End()
	require.Empty(t, Traceparent(ctx))
	_, span = none.BeginLinked(t.Context(), "00-0000000000000000000000000000000a-000000000000000b-01", "x")
	span.End()
	_, _, ok := none.Continue(t.Context(), "00-0000000000000000000000000000000a-000000000000000b-01", "x")
	require.False(t, ok)
	none.Pool(nil)
	require.NoError(t, none.Redis(nil))
	none.Stop(t.Context())
}

// What a traced request causes is traced, linked and whole, whatever the sampler says of the rest.
func TestLinked(t *testing.T) {
	tracing, c := started(t, "OTEL_TRACES_SAMPLER=always_off", "OTEL_SERVICE_NAME=mine")
	const request = "00-0000000000000000000000000000000a-000000000000000b-01"
	for _, cause := range []string{request, "", "00-0000000000000000000000000000000a-000000000000000c-00", "nonsense"} {
		ctx, span := tracing.BeginLinked(t.Context(), cause, "caused by "+cause)
		child, part := Child(ctx, "part")
		require.Equal(t, cause == request, Traceparent(child) != "")
		part.End()
		span.End()
	}
	tracing.Stop(t.Context())
	spans := c.Spans()
	require.Len(t, spans, 2)
	require.Equal(t, "part", spans[0].GetName())
	require.Equal(t, spans[1].GetSpanId(), spans[0].GetParentSpanId())
	require.Equal(t, "caused by "+request, spans[1].GetName())
	require.Len(t, spans[1].GetLinks(), 1)
	require.Equal(t, byte(0xb), spans[1].GetLinks()[0].GetSpanId()[7])
	require.NotEqual(t, spans[1].GetTraceId(), spans[1].GetLinks()[0].GetTraceId())
	require.Equal(t, "mine", spans[0].Service)
}

// A message without a trace, or of one that is not sampled, has no span where it is applied; the others go on with theirs.
func TestContinue(t *testing.T) {
	tracing, c := started(t)
	for _, traceparent := range []string{"", "00-0000000000000000000000000000000a-000000000000000b-00", "x"} {
		_, _, ok := tracing.Continue(t.Context(), traceparent, "none")
		require.False(t, ok, traceparent)
	}
	_, span, ok := tracing.Continue(t.Context(), "00-0000000000000000000000000000000a-000000000000000b-01", "next")
	require.True(t, ok)
	span.End()
	tracing.Stop(t.Context())
	require.Len(t, c.Spans(), 1)
	require.Equal(t, byte(0xa), c.Spans()[0].GetTraceId()[15])
	require.Equal(t, byte(0xb), c.Spans()[0].GetParentSpanId()[7])
	require.Equal(t, "freshet-test", c.Spans()[0].Service)
}

// A line that is logged for a request says of which, first of all; others are as they were.
func TestLogHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewJSONHandler(&out, nil))).With("component", "api")
	header := http.Header{"Traceparent": {"00-0000000000000000000000000000000a-000000000000000b-01"}}
	ctx := FromRequest(WithRequestID(t.Context(), "an-id"), header)
	log.WarnContext(ctx, "a line", "n", 1)
	require.Regexp(t, `"component":"api","request_id":"an-id","trace_id":"0000000000000000000000000000000a","n":1}`, out.String())
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	out.Reset()
	log.WarnContext(WithRequestID(t.Context(), "an-id"), "a line")
	require.Regexp(t, `"request_id":"an-id"}`, out.String())
	out.Reset()
	log.WithGroup("g").Warn("a line", "n", 1)
	require.Regexp(t, `"msg":"a line","component":"api","g":{"n":1}}`, out.String())
}

// What the SDK complains of, for each batch, is logged now and then.
func TestComplaints(t *testing.T) {
	var out bytes.Buffer
	c := &complaints{log: slog.New(slog.NewTextHandler(&out, nil))}
	c.Handle(context.Canceled)
	require.Empty(t, out.String())
	for range 100 {
		c.Handle(errors.New("it does not answer"))
	}
	require.Equal(t, 1, strings.Count(out.String(), "it does not answer"))
}

// The end of a process does not wait for a collector that does not answer.
func TestStopIsBounded(t *testing.T) {
	hole, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
	require.NoError(t, err)
	tracing, _ := started(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+hole.Addr().String())
	_, span := tracing.Begin(t.Context(), "never taken")
	span.End()
	began := time.Now()
	tracing.Stop(t.Context())
	require.Less(t, time.Since(began), flushTimeout+3*time.Second)
	require.NoError(t, hole.Close()) // what was still waiting ends too
}

// The tracers of the clients begin no trace of their own, and have no part in one that is not sampled.
func TestWithin(t *testing.T) {
	tracing, c := started(t)
	tracer := within{tracers: tracing.provider}.Tracer("client")
	for _, ctx := range []context.Context{t.Context(), FromRequest(t.Context(), http.Header{"Traceparent": {"00-0000000000000000000000000000000a-000000000000000b-00"}})} {
		_, span := tracer.Start(ctx, "background")
		require.False(t, span.IsRecording())
		span.End()
	}
	ctx, root := tracing.Begin(t.Context(), "root", trace.WithSpanKind(trace.SpanKindServer))
	_, span := tracer.Start(ctx, "command")
	span.End()
	root.End()
	tracing.Stop(t.Context())
	require.Len(t, c.Spans(), 2)
}
