package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stage is an api that answers as a test wants it: the phases cannot be told apart from outside of a real one.
type stage struct {
	load    atomic.Pointer[Load]
	reached map[string]chan struct{} // closed at the 50th request in a phase
	count   map[string]*atomic.Int64
	// fromCache counts the reads that could be answered from the cache while everything is to be asked past it.
	fromCache atomic.Int64
	// fails says in which phases everything fails.
	fails map[string]bool
}

func newStage(t *testing.T, cfg Config, fails ...string) (*stage, *Load) {
	t.Helper()
	s := &stage{reached: map[string]chan struct{}{}, count: map[string]*atomic.Int64{}, fails: map[string]bool{}}
	for _, name := range []string{phaseWarmUp, phaseMeasure, phaseWithout, phaseAlone} {
		s.reached[name], s.count[name] = make(chan struct{}), &atomic.Int64{}
	}
	for _, name := range fails {
		s.fails[name] = true
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	cfg.URL = srv.URL
	l, err := New(t.Context(), cfg)
	require.NoError(t, err)
	s.load.Store(l)
	return s, l
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l := s.load.Load(); l != nil {
		phase := l.Progress().Phase
		if s.count[phase].Add(1) == 50 {
			close(s.reached[phase])
		}
		if phase == phaseWithout && r.Method == http.MethodGet && r.URL.Path != "/health" && r.Header.Get("Cache-Control") == "" {
			s.fromCache.Add(1)
		}
		if s.fails[phase] {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	status := "freshet; hit; ttl=1; detail=redis"
	if r.Header.Get("Cache-Control") == "no-store" {
		status = "freshet; fwd=bypass; detail=no-store"
	}
	w.Header().Set("Cache-Status", status)
	switch {
	case r.URL.Path == "/blogs" && r.URL.Query().Get("offset") == "0":
		fmt.Fprint(w, `[{"id":1,"slug":"s","title":"T","author":"a","tags":["t"]}]`)
	case r.URL.Path == "/quizzes":
		fmt.Fprint(w, `[{"id":1,"topic":"o"}]`)
	case strings.HasSuffix(r.URL.Path, "/dashboard") && len(r.URL.Path) > len("/users/9/dashboard"):
		w.WriteHeader(http.StatusNotFound) // there are nine users
	case r.URL.Path == "/health":
		fmt.Fprint(w, `{"version":"v1"}`)
	default:
		fmt.Fprint(w, "[]")
	}
}

func config() Config {
	return Config{Users: 4, WarmUp: 200 * time.Millisecond, Duration: 300 * time.Millisecond, Compare: 100 * time.Millisecond, Writes: 5, Edits: 50, Seed: 1}
}

func TestDiscovery(t *testing.T) {
	_, l := newStage(t, config())
	assert.Equal(t, "v1", l.version)
	assert.Len(t, l.site.blogs, 3, "one of each status")
	assert.Len(t, l.site.users, 9)
	assert.Equal(t, []string{"a"}, l.site.authors)
	assert.Equal(t, []string{"t"}, l.site.tags)
	assert.Equal(t, []string{"o"}, l.site.topics)
}

// What happens while warming up does not count, and neither does what comes after the measurement.
func TestOnlyTheMeasurementCounts(t *testing.T) {
	s, l := newStage(t, config(), phaseWarmUp, phaseWithout)
	r := l.Run(t.Context())
	assert.Zero(t, r.Errors, r.Failures)
	assert.Zero(t, r.HealthErrors)
	assert.Positive(t, r.Requests)
	assert.InDelta(t, 1, r.HitRate, 0, "what was asked past the cache does not count")
	assert.Positive(t, r.Database.N)
	assert.GreaterOrEqual(t, r.Seconds, 0.3)
	assert.Equal(t, r.Without.Requests, r.Without.Errors, "this is another load")
	assert.Zero(t, s.fromCache.Load())
	assert.Positive(t, r.Queries[0].Alone.SpeedUp)
	assert.False(t, r.Interrupted)
	assert.False(t, r.Pass, "the connections were not measured")
	assert.Equal(t, Pass, r.Targets[6].Status, "errors")
	assert.Equal(t, NotMeasured, r.Targets[7].Status, "connections")
}

// Users who pause ask no more than that allows.
func TestPauses(t *testing.T) {
	cfg := config()
	cfg.Users, cfg.Pause = 20, 100*time.Millisecond
	_, l := newStage(t, cfg)
	r := l.Run(t.Context())
	assert.Positive(t, r.Requests)
	assert.Less(t, r.PerSecond, 2*float64(cfg.Users)/cfg.Pause.Seconds())
}

// An api that fails while it is measured does not pass.
func TestFailuresCount(t *testing.T) {
	_, l := newStage(t, config(), phaseMeasure)
	r := l.Run(t.Context())
	assert.Equal(t, r.Requests, r.Errors)
	assert.Zero(t, r.PerSecond)
	assert.Positive(t, r.HealthErrors)
	assert.Equal(t, Fail, r.Targets[4].Status)
	assert.Equal(t, Fail, r.Targets[6].Status)
}

// A run that is interrupted ends at once, whatever it does, and passes nothing.
func TestInterrupted(t *testing.T) {
	for _, during := range []string{phaseWarmUp, phaseMeasure, phaseWithout, phaseAlone} {
		t.Run(during, func(t *testing.T) {
			cfg := config()
			*map[string]*time.Duration{phaseWarmUp: &cfg.WarmUp, phaseMeasure: &cfg.Duration, phaseWithout: &cfg.Compare, phaseAlone: new(time.Duration)}[during] = time.Hour
			s, l := newStage(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-s.reached[during]
				cancel()
			}()
			r := l.Run(ctx)
			assert.True(t, r.Interrupted)
			assert.False(t, r.Pass)
			if during == phaseWarmUp {
				assert.Zero(t, r.Requests)
			}
			assert.Zero(t, r.Errors, r.Failures)
		})
	}
}
