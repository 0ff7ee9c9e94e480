package prometheus_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/config"
	"freshet/internal/testenv"
)

const adminToken = "a-token"

// stack is a whole Freshet, with two of each process: what is true of one may not be of several.
type stack struct {
	db        *testenv.Database
	processes map[string][]*testenv.Process
	urls      map[string][]string // where each serves its metrics
}

var serving = regexp.MustCompile(`msg="?serving.* url=(http://\S+)`)

// startStack starts servers and processes, and a load that lasts as long as the test.
func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{db: testenv.Postgres(t), processes: map[string][]*testenv.Process{}, urls: map[string][]string{}}
	env := []string{
		"DATABASE_URL=" + s.db.URL, "REDIS_URL=" + testenv.Redis(t).URL, "NATS_URL=" + testenv.NATS(t).URL,
		"FRESHET_SOURCE=main_" + s.db.Name[:min(len(s.db.Name), 40)], "FRESHET_ADMIN_TOKEN=" + adminToken, "FRESHET_EXAMPLE=true",
		"FRESHET_HTTP_ADDR=127.0.0.1:0", "FRESHET_CDC_HTTP_ADDR=127.0.0.1:0", "FRESHET_INVALIDATOR_HTTP_ADDR=127.0.0.1:0",
		"FRESHET_NATS_SYNC_INTERVAL=1s", "DB_MIN_CONNECTIONS=0", "FRESHET_VERIFY_RATE=100/s", "HEALTH_INTERVAL=500ms",
	}
	migrate := s.begin(t, env, "migrate", "up", "--example")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, migrate.Wait(ctx))
	s.db.Exec(t, `INSERT INTO blogs (title, slug, content, status, author) SELECT 'T', 'slug-' || n, 'x', 'published', 'ada' FROM generate_series(1, 20) n`)
	for range 2 {
		for _, process := range []string{"cdc", "invalidator", "api"} {
			p := s.begin(t, env, process)
			s.processes[process] = append(s.processes[process], p)
			line := p.WaitForLine(t, " url=http://", patience)
			s.urls[process] = append(s.urls[process], serving.FindStringSubmatch(line)[1])
		}
	}
	s.load(t)
	return s
}

// begin starts a process of the real program, which inherits no setting.
func (s *stack) begin(t *testing.T, env []string, args ...string) *testenv.Process {
	t.Helper()
	var none []string
	for _, v := range config.All() {
		none = append(none, v.Name+"=") // empty counts as not set
	}
	return testenv.StartProcess(t, testenv.Binary(t), append(none, env...), args...)
}

// load reads and writes a little, in all the ways that metrics tell apart, until the test ends.
func (s *stack) load(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	pool := s.db.Pool(t)
	client := &http.Client{Timeout: patience}
	send := func(method, url, body string, header ...string) {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		if len(header) > 0 {
			req.Header.Set(header[0], header[1])
		}
		if resp, err := client.Do(req); err == nil { // it is not the answers that are judged here
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	var loads sync.WaitGroup
	for i, api := range s.urls["api"] {
		loads.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for n := i; ; n++ {
				blog := fmt.Sprintf("%s/blogs/%d", api, n%20+1)
				send(http.MethodGet, blog, "")
				send(http.MethodGet, api+"/blogs", "")
				switch n % 10 {
				case 0:
					send(http.MethodPatch, blog, fmt.Sprintf(`{"title": "T%d"}`, n))
				case 3:
					_, _ = pool.Exec(ctx, "UPDATE blogs SET title = $1 WHERE id = $2", fmt.Sprint(n), n%20+1)
				case 5:
					send(http.MethodGet, blog, "", "Cache-Control", "no-store")
				case 7:
					send(http.MethodGet, blog, "", "Cache-Control", "no-cache")
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	t.Cleanup(func() { // before the servers go
		stop()
		loads.Wait()
		client.CloseIdleConnections()
	})
}
