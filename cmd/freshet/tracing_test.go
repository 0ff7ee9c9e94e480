package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/proto/otlp/trace/v1"

	"freshet/events"
	"freshet/internal/testenv"
)

// traceOf names a trace, and a span of somebody who calls, for the header traceparent.
func traceOf(n int) (id, parent string) {
	id = fmt.Sprintf("%032x", n)
	return id, "00-" + id + "-00000000000000ff-01"
}

// traced sends a request that is part of a trace, and returns the trace's id.
func traced(t *testing.T, n int, method, url, body string) (id string, a answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	id, parent := traceOf(n)
	req.Header.Set("Traceparent", parent)
	req.Header.Set("Authorization", "Bearer a-token")
	return id, do(t, req)
}

// spansOf are the spans of a trace.
func spansOf(c *testenv.TraceCollector, id string) []testenv.Span {
	return slices.DeleteFunc(c.Spans(), func(s testenv.Span) bool { return hex.EncodeToString(s.GetTraceId()) != id })
}

// spanOf is the only span of that name; service says whose it must be.
func spanOf(t *testing.T, spans []testenv.Span, service, name string) testenv.Span {
	t.Helper()
	var all []testenv.Span
	for _, s := range spans {
		if s.GetName() == name {
			all = append(all, s)
		}
	}
	require.Len(t, all, 1, "%s among %s", name, names(spans))
	require.Equal(t, service, all[0].Service)
	return all[0]
}

func names(spans []testenv.Span) []string {
	all := make([]string, len(spans))
	for i, s := range spans {
		all[i] = s.Service + ": " + s.GetName()
	}
	return all
}

// stopAll tells processes to end, in order, each with status 0.
func stopAll(t *testing.T, processes ...*testenv.Process) {
	t.Helper()
	for _, p := range processes {
		p.Signal(syscall.SIGTERM)
		exited(t, p)
		require.Zero(t, p.ExitCode())
	}
}

// exampleBackends has one blog of the example.
func exampleBackends(t *testing.T) *backends {
	t.Helper()
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	b.db.Exec(t, `INSERT INTO blogs (title, slug, content, status, author) VALUES ('A title', 'a', 'x', 'published', 'ada')`)
	return b
}

// A read is one trace, from HTTP through Redis to SQL; what a transaction clears is another one, through both processes, linked to the
// request that wrote. All of it is exported by the time that the processes have ended, though none of them was due to export anything yet.
func TestTraces(t *testing.T) {
	b := exampleBackends(t)
	c := testenv.Collector(t)
	b.env = b.with("OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_BSP_SCHEDULE_DELAY=3600000", "OTEL_BSP_MAX_QUEUE_SIZE=20000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=20000")
	processes, url := b.start(t, "--example")
	require.Contains(t, processes[2].Output(), "msg=tracing")
	untilHit(t, url+"/blogs/1")
	b.db.Exec(t, "UPDATE blogs SET title = 'By hand' WHERE id = 1")
	untilShows(t, url+"/blogs/1", "By hand")
	untilHit(t, url+"/blogs/1")

	hitID, hit := traced(t, 0xa2, http.MethodGet, url+"/blogs/1", "")
	require.True(t, hit.hit())
	missID, miss := traced(t, 0xa3, http.MethodGet, url+"/blogs/4711", "")
	require.Equal(t, http.StatusNotFound, miss.status)
	require.Contains(t, miss.header.Get("Cache-Status"), "fwd=miss")
	writeID, written := traced(t, 0xa4, http.MethodPatch, url+"/blogs/1", `{"title": "Through the api"}`)
	require.Equal(t, http.StatusOK, written.status, written.body)
	untilShows(t, url+"/blogs/1", "Through the api")
	require.Equal(t, http.StatusOK, get(t, url+"/health").status)
	require.Equal(t, http.StatusOK, get(t, url+"/metrics").status)
	stopAll(t, processes[2], processes[0], processes[1])

	spans := spansOf(c, hitID)
	server := spanOf(t, spans, "freshet-api", "GET /blogs/:id")
	require.Equal(t, v1.Span_SPAN_KIND_SERVER, server.GetKind())
	require.Equal(t, "00000000000000ff", hex.EncodeToString(server.GetParentSpanId()))
	require.Equal(t, "/blogs/:id", server.Attribute("http.route"))
	require.EqualValues(t, 200, server.Attribute("http.response.status_code"))
	require.Equal(t, hit.header.Get("X-Request-ID"), server.Attribute("freshet.request_id"))
	require.Equal(t, hit.header.Get("Cache-Status"), server.Attribute("freshet.cache_status"))
	lookup := spanOf(t, spans, "freshet-api", "redis.pipeline hmget")
	require.Equal(t, server.GetSpanId(), lookup.GetParentSpanId())
	require.NotContains(t, strings.Join(names(spans), " "), "query", "a hit asks Postgres nothing")

	spans = spansOf(c, missID)
	server = spanOf(t, spans, "freshet-api", "GET /blogs/:id")
	require.EqualValues(t, 404, server.Attribute("http.response.status_code"))
	sql := spanOf(t, spans, "freshet-api", "query SELECT")
	require.Equal(t, server.GetSpanId(), sql.GetParentSpanId())
	require.Contains(t, sql.Attribute("db.query.text"), "FROM blogs")

	// The write's request, and the transaction's own trace.
	request := spanOf(t, spansOf(c, writeID), "freshet-api", "PATCH /blogs/:id")
	linked := slices.DeleteFunc(c.Spans(), func(s testenv.Span) bool { return len(s.GetLinks()) == 0 })
	transaction := spanOf(t, linked, "freshet-cdc", "transaction")
	require.Equal(t, writeID, hex.EncodeToString(transaction.GetLinks()[0].GetTraceId()))
	require.Equal(t, request.GetSpanId(), transaction.GetLinks()[0].GetSpanId())
	require.Empty(t, transaction.GetParentSpanId())
	spans = spansOf(c, hex.EncodeToString(transaction.GetTraceId()))
	publish := spanOf(t, spans, "freshet-cdc", "publish public.blogs")
	require.Equal(t, transaction.GetSpanId(), publish.GetParentSpanId())
	require.Equal(t, "visible", publish.GetEvents()[0].GetName())
	cleared := spanOf(t, spans, "freshet-invalidator", "clear public.blogs")
	require.Equal(t, publish.GetSpanId(), cleared.GetParentSpanId())
	require.Equal(t, publish.Attribute("freshet.sequence"), cleared.Attribute("freshet.sequence"))
	require.Equal(t, transaction.Attribute("freshet.position"), cleared.Attribute("freshet.position"))
	require.Positive(t, cleared.Attribute("freshet.tags"))
	require.EqualValues(t, 1, cleared.Attribute("freshet.step.buckets_cleared"))
	script := spanOf(t, spans, "freshet-invalidator", "evalsha")
	require.Equal(t, cleared.GetSpanId(), script.GetParentSpanId())
	require.GreaterOrEqual(t, cleared.GetStartTimeUnixNano(), transaction.GetStartTimeUnixNano())

	// The write by hand has a trace, and no link; what processes ask in the background has none.
	byHand := 0
	for _, s := range c.Spans() {
		if s.GetName() == "transaction" && len(s.GetLinks()) == 0 {
			byHand++
		}
		require.False(t, len(s.GetParentSpanId()) == 0 && s.GetKind() == v1.Span_SPAN_KIND_CLIENT, s.GetName())
		for _, route := range []string{"/health", "/metrics"} {
			require.NotContains(t, s.GetName(), route)
		}
	}
	require.Positive(t, byHand)
	for _, value := range []string{"By hand", "Through the api", "a-token", "A title", "public.blogs:id="} {
		require.False(t, c.Mentions(value), value)
	}
}

// Nothing is traced unless the environment says so: not exported, not put into the log, not put into messages. A cdc that traces nothing
// passes over what a write of an api says that does.
func TestNoTraces(t *testing.T) {
	b := exampleBackends(t)
	c := testenv.Collector(t)
	cdc := begin(t, b.env, "cdc")
	cdc.WaitForLine(t, "msg=streaming", patience)
	invalidator := begin(t, b.with("OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_SDK_DISABLED=true"), "invalidator")
	off := begin(t, b.with("OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_TRACES_EXPORTER=none"), "api", "--example")
	url := serving(t, off)
	untilHit(t, url+"/blogs/1")
	_, a := traced(t, 0xb1, http.MethodPatch, url+"/blogs/1", `{"title": "Untraced"}`)
	require.Equal(t, http.StatusOK, a.status, a.body)
	untilShows(t, url+"/blogs/1", "Untraced")
	stopAll(t, off)
	require.Empty(t, c.Spans())
	require.NotContains(t, cdc.Output()+invalidator.Output()+off.Output(), "msg=tracing")

	on := begin(t, b.with("OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL), "api", "--example")
	url = serving(t, on)
	untilHit(t, url+"/blogs/1")
	_, a = traced(t, 0xb2, http.MethodPatch, url+"/blogs/1", `{"title": "Traced by the api"}`)
	require.Equal(t, http.StatusOK, a.status, a.body)
	untilShows(t, url+"/blogs/1", "Traced by the api")
	stopAll(t, on, cdc, invalidator)
	for _, s := range c.Spans() {
		require.Equal(t, "freshet-api", s.Service)
	}
	require.NotContains(t, cdc.Output()+invalidator.Output(), "cannot be read")

	js := b.nats.JetStream(t)
	stream, err := js.Stream(t.Context(), events.StreamName(sourceName(b.db)))
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	changes := 0
	for sequence := uint64(1); sequence <= info.State.LastSeq; sequence++ {
		m, err := stream.GetMsg(t.Context(), sequence)
		require.NoError(t, err)
		require.NotContains(t, m.Header, "traceparent")
		if kind, err := events.SubjectKind(m.Subject); err == nil && kind == events.KindChange {
			changes++
		}
	}
	require.Positive(t, changes)
}

// A collector that takes what is sent and never answers costs nobody anything: neither reads nor writes, nor the end of a process.
func TestHangingCollector(t *testing.T) {
	b := exampleBackends(t)
	hole, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hole.Close()) })
	b.env = b.with("OTEL_EXPORTER_OTLP_ENDPOINT=http://"+hole.Addr().String(), "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_MAX_QUEUE_SIZE=8",
		"OTEL_EXPORTER_OTLP_TIMEOUT=200", "OTEL_BSP_EXPORT_TIMEOUT=300")
	processes, url := b.start(t, "--example")
	untilHit(t, url+"/blogs/1")
	for n := range 300 {
		began := time.Now()
		require.Equal(t, http.StatusOK, get(t, url+"/blogs/1").status)
		require.Less(t, time.Since(began), 5*time.Second)
		if n%100 == 0 {
			_, a := traced(t, 0xc1, http.MethodPatch, url+"/blogs/1", fmt.Sprintf(`{"title": "Title %d"}`, n))
			require.Equal(t, http.StatusOK, a.status, a.body)
			untilShows(t, url+"/blogs/1", fmt.Sprintf("Title %d", n))
		}
	}
	processes[2].WaitForLine(t, "traces are not exported", patience)
	began := time.Now()
	for _, p := range processes {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range processes {
		exited(t, p)
		require.Zero(t, p.ExitCode())
		require.Less(t, time.Since(began), 15*time.Second)
		require.LessOrEqual(t, strings.Count(p.Output(), "traces are not exported"), 1)
	}
}

// Settings of OpenTelemetry that mean nothing here are errors.
func TestBadTracingSettings(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	require.Contains(t, refused(t, b.with("OTEL_TRACES_EXPORTER=zipkin"), "cdc"), `OTEL_TRACES_EXPORTER="zipkin" must be otlp or none`)
	require.Contains(t, refused(t, b.with("OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"), "api", "--example"), "must be http/protobuf or grpc")
}
