package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/health"
	"freshet/internal/testenv"
)

// patience bounds each wait, on a machine that is busy.
const patience = 20 * time.Second

const often = 5 * time.Millisecond

// always is ready whatever the checks say.
func always(*health.Monitor) health.Readiness {
	return health.Readiness{OK: true, Status: "ready", Parts: map[string]string{"session": "ok"}}
}

// run runs a monitor until the end of the test.
func run(tb testing.TB, cfg health.Config) *health.Monitor {
	tb.Helper()
	if cfg.Ready == nil {
		cfg.Ready = always
	}
	m := health.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }() // awaited at the end
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, <-done)
	})
	return m
}

// until waits until a check has a status, and returns it.
func until(tb testing.TB, m *health.Monitor, name string, status health.Status) health.Result {
	tb.Helper()
	var r health.Result
	testenv.Eventually(tb, patience, func() (bool, string) {
		r = m.Result(name)
		return r.Status == status, name + " is " + string(r.Status) + ": " + r.Error
	})
	return r
}

// get asks a handler.
func get(tb testing.TB, h http.Handler, path string, headers ...string) (status int, body map[string]any) {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, path, nil)
	for _, authorization := range headers {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.NoError(tb, json.Unmarshal(w.Body.Bytes(), &body), w.Body)
	return w.Code, body
}

// A look that does not end is shown as hanging, with since when; the others go on, and so does the process when it is told to stop.
func TestHanging(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	looks := make(chan struct{}, 1)
	t.Cleanup(func() { close(release) }) // after the monitor has given up
	m := run(t, health.Config{Interval: often, Checks: []health.Check{
		{Name: "deaf", Timeout: often, Look: func(context.Context) (any, error) {
			asked <- struct{}{}
			<-release
			return "details", nil
		}},
		{Name: "slow", Timeout: often, Look: func(ctx context.Context) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
		{Name: "fine", Look: func(context.Context) (any, error) {
			select {
			case looks <- struct{}{}:
			default:
			}
			return nil, nil
		}},
	}})
	began := time.Now()
	<-asked
	r := until(t, m, "deaf", health.Hanging)
	require.InDelta(t, 0, r.Since.Sub(began).Seconds(), 1)
	require.Contains(t, r.Error, "no answer since")
	require.True(t, r.LastSuccess.IsZero())
	slow := until(t, m, "slow", health.Hanging)
	require.Contains(t, slow.Error, "deadline exceeded")
	for range 3 { // still looked at
		<-looks
	}
	require.Equal(t, health.OK, m.Result("fine").Status)
	require.Equal(t, slow.Since, m.Result("slow").Since, "since the first look that got no answer")
	status, body := get(t, m.Handler(), health.PathBasic)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, health.ProcessDegraded, body["status"])

	release <- struct{}{}
	r = until(t, m, "deaf", health.OK)
	require.Equal(t, "details", r.Details)
	require.False(t, r.LastSuccess.IsZero())
	<-asked // it hangs again
}

// What is wrong is shown with since when, and when it was right last.
func TestFailing(t *testing.T) {
	results := make(chan error)
	m := run(t, health.Config{Interval: often, Secrets: []string{"hush"}, Checks: []health.Check{
		{Name: "one", Look: func(ctx context.Context) (any, error) {
			select {
			case err := <-results:
				return 1, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}, Timeout: patience},
	}})
	require.Equal(t, health.Unknown, m.Result("one").Status)
	require.Equal(t, health.Unknown, m.Result("none").Status)
	results <- nil
	first := until(t, m, "one", health.OK)
	results <- errors.New("hush: refused")
	failing := until(t, m, "one", health.Failing)
	require.Equal(t, "xxxxx: refused", failing.Error)
	require.Equal(t, first.LastSuccess, failing.LastSuccess)
	require.Equal(t, "does not answer", failing.Public(), "what a driver says is for those who may see details")
	require.True(t, failing.Since.After(first.Since))
	results <- &health.PublicError{Text: "too old", Err: errors.New("by far")}
	testenv.Eventually(t, patience, func() (bool, string) { return m.Result("one").Public() == "too old", m.Result("one").Error })
	require.Equal(t, "too old (by far)", m.Result("one").Error)
	require.Equal(t, failing.Since, m.Result("one").Since)
	results <- nil
	require.True(t, until(t, m, "one", health.OK).Since.After(failing.Since))
}

// The first request waits for the first look: nothing is known before. That of who only wants to know whether the process lives does not.
func TestFirstRequest(t *testing.T) {
	release := make(chan struct{})
	m := run(t, health.Config{
		Checks: []health.Check{{Name: "one", Timeout: patience, Look: func(context.Context) (any, error) {
			<-release
			return nil, nil
		}}},
		Ready: func(m *health.Monitor) health.Readiness {
			return health.Readiness{OK: m.Result("one").Status == health.OK, Status: "of one", Parts: map[string]string{"one": m.Result("one").Public()}}
		},
	})
	status, body := get(t, m.Handler(), health.PathLive)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "alive", body["status"])
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m.AwaitFirst(impatient)
	require.Error(t, impatient.Err(), "it waits")

	entered, answered := make(chan struct{}), make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		m.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	go func() { // ends with the request
		resp, err := server.Client().Get(server.URL + health.PathReady)
		if err == nil {
			_ = resp.Body.Close()
			answered <- resp.StatusCode
		}
	}()
	<-entered
	select {
	case code := <-answered:
		t.Fatalf("answered %d before anything was known", code)
	case <-time.After(50 * time.Millisecond): // more than an answer takes
	}
	close(release)
	require.Equal(t, http.StatusOK, <-answered)
}

// A process that is not ready is down, unless it drains.
func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		ready  health.Readiness
		failed error
		basic  string
		status int
		code   int
	}{
		"ready":        {health.Readiness{OK: true}, nil, health.ProcessOK, http.StatusOK, http.StatusOK},
		"ready enough": {health.Readiness{OK: true}, io.EOF, health.ProcessDegraded, http.StatusOK, http.StatusOK},
		"not ready":    {health.Readiness{}, nil, health.ProcessDown, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		"draining":     {health.Readiness{Draining: true}, nil, health.ProcessOK, http.StatusOK, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			m := run(t, health.Config{
				Checks: []health.Check{{Name: "one", Look: func(context.Context) (any, error) { return nil, tt.failed }}},
				Ready:  func(*health.Monitor) health.Readiness { return tt.ready },
			})
			status, body := get(t, m.Handler(), health.PathBasic)
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.basic, body["status"])
			status, _ = get(t, m.Handler(), health.PathReady)
			require.Equal(t, tt.code, status)
		})
	}
}

// The details need the token.
func TestDetailed(t *testing.T) {
	cfg := health.Config{
		Process: "cdc", Version: "v1", AdminToken: "sesame", NotKnown: map[string]string{"redis": "ask the invalidator"},
		Checks: []health.Check{{Name: "one", Look: func(context.Context) (any, error) { return map[string]int{"n": 1}, nil }}},
		Live:   map[string]func() any{"pool": func() any { return 7 }},
	}
	h := run(t, cfg).Handler()
	for _, headers := range [][]string{nil, {"Bearer wrong"}, {"Basic sesame"}, {"sesame"}, {"Bearer"}} {
		status, body := get(t, h, health.PathDetailed, headers...)
		require.Equal(t, http.StatusUnauthorized, status)
		require.NotContains(t, body, "checks")
	}
	status, body := get(t, h, health.PathDetailed, "bearer sesame")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "cdc", body["process"])
	require.Equal(t, map[string]any{"pool": 7.0}, body["live"])
	require.Equal(t, map[string]any{"redis": "ask the invalidator"}, body["not_known"])
	require.Equal(t, map[string]any{"status": "ready", "session": "ok"}, body["ready"])
	one := body["checks"].(map[string]any)["one"].(map[string]any)
	require.Equal(t, "ok", one["status"])
	require.Equal(t, map[string]any{"n": 1.0}, one["details"])
	for _, name := range []string{"since", "checked_at", "last_success", "latency_ms"} {
		require.Contains(t, one, name)
	}

	cfg.AdminToken = ""
	status, _ = get(t, run(t, cfg).Handler(), health.PathDetailed, "Bearer ")
	require.Equal(t, http.StatusForbidden, status, "no token is not the empty token")
	cfg.Open = true
	status, _ = get(t, run(t, cfg).Handler(), health.PathDetailed)
	require.Equal(t, http.StatusOK, status)
}

// BenchmarkRequest measures a request over loopback, with ten checks; p50-µs is the median.
func BenchmarkRequest(b *testing.B) {
	var checks []health.Check
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		checks = append(checks, health.Check{Name: name, Look: func(context.Context) (any, error) { return health.Watermark{}, nil }})
	}
	m := run(b, health.Config{Process: "api", Checks: checks, Open: true})
	server := httptest.NewServer(m.Handler())
	b.Cleanup(server.Close)
	for _, path := range []string{health.PathBasic, health.PathLive, health.PathReady, health.PathDetailed} {
		b.Run(path[1:], func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				began := time.Now()
				resp, err := server.Client().Get(server.URL + path)
				require.NoError(b, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(b, errors.Join(err, resp.Body.Close()))
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
		})
	}
}
