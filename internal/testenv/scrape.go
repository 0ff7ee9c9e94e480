package testenv

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// Scrape is what Prometheus would get of a handler, by series. What promtool would complain of fails the test.
func Scrape(tb testing.TB, handler http.Handler) map[string]float64 {
	tb.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		tb.Fatalf("testenv: /metrics answers %d", w.Code)
	}
	text := w.Body.String()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		tb.Fatalf("testenv: the metrics are not as they should be: %v %v", problems, err)
	}
	series := map[string]float64{}
	for line := range strings.SplitSeq(text, "\n") {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			if series[line[:i]], err = strconv.ParseFloat(line[i+1:], 64); err != nil {
				tb.Fatalf("testenv: the metric %q: %v", line, err)
			}
		}
	}
	return series
}
