package testenv

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TraceCollector takes traces by OTLP over HTTP.
type TraceCollector struct {
	URL string

	mu    sync.Mutex
	raw   [][]byte
	spans []Span
}

// Span is one that was exported, and the service that did.
type Span struct {
	*trace.Span

	Service string
}

// Collector starts a TraceCollector for this test.
func Collector(tb testing.TB) *TraceCollector {
	tb.Helper()
	c := &TraceCollector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			tb.Errorf("testenv: OTLP: %v", err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	tb.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *TraceCollector) take(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var export collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body)
	for _, from := range export.GetResourceSpans() {
		service := ""
		for _, a := range from.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, Span{s, service})
			}
		}
	}
	return nil
}

// Spans are all that have come.
func (c *TraceCollector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Mentions tells whether a text stands anywhere in what has come.
func (c *TraceCollector) Mentions(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, body := range c.raw {
		if bytes.Contains(body, []byte(text)) {
			return true
		}
	}
	return false
}

// Attribute is the value of one of the span's attributes, as a text or a number; nil if it has none.
func (s Span) Attribute(key string) any {
	for _, a := range s.GetAttributes() {
		if a.GetKey() != key {
			continue
		}
		if text := a.GetValue().GetStringValue(); text != "" {
			return text
		}
		return a.GetValue().GetIntValue()
	}
	return nil
}
