package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/warm"
)

// warmed is what a test looks at of freshet warm --format json.
type warmed struct {
	Pairs, Filled, Skipped, Inadmissible int64
	Failed                               map[string]int64
	More, Resumed, Interrupted           bool
	Seconds                              float64
	Read                                 *struct{ Changes int64 }
	List                                 []struct{ Query, Path string }
}

func parseWarmed(t *testing.T, output string) (w warmed) {
	t.Helper()
	from, to := strings.Index(output, "{\n"), strings.LastIndex(output, "\n}")
	require.Positive(t, to, output)
	require.NoError(t, json.Unmarshal([]byte(output[from:to+2]), &w), output)
	return w
}

// warmSite is an example application that runs, its cache empty.
type warmSite struct {
	*backends

	t     *testing.T
	url   string
	state string
}

func newWarmSite(t *testing.T) *warmSite {
	t.Helper()
	s := &warmSite{backends: newBackends(t, testenv.Postgres(t)), t: t, state: filepath.Join(t.TempDir(), "warm.json")}
	s.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), s.db.Conn(t)))
	_, s.url = s.start(t, "--example")
	untilHit(t, s.url+"/blogs/1")
	untilHit(t, s.url+"/users/1/dashboard")
	untilHit(t, s.url+"/quizzes")
	return s
}

// settled waits until everything that was committed is in the log and applied, and empties the cache.
func (s *warmSite) settled() {
	s.t.Helper()
	output, status := finish(s.t, s.env, "wait")
	require.Zero(s.t, status, output)
	r := send(s.t, http.MethodPost, s.url+"/performance/cache/clear", "a-token", `{"everything": true}`)
	require.Equal(s.t, http.StatusOK, r.status, r.body)
}

// args are those of freshet warm.
func (s *warmSite) args(more ...string) []string {
	return append([]string{"warm", "--url", s.url, "--state", s.state, "--format", "json"}, more...)
}

func (s *warmSite) warm(status int, more ...string) warmed {
	s.t.Helper()
	output, got := finish(s.t, s.env, s.args(more...)...)
	require.Equal(s.t, status, got, output)
	return parseWarmed(s.t, output)
}

// What was changed is warm afterwards, rows that are gone too, and what is warm already is left alone.
func TestWarm(t *testing.T) {
	s := newWarmSite(t)
	for i := range 40 {
		s.db.Exec(t, "UPDATE blogs SET views = views + 1 WHERE id = $1", 100+i)
	}
	for range 20 {
		s.db.Exec(t, "UPDATE blogs SET views = views + 1 WHERE id = 117")
	}
	s.db.Exec(t, "INSERT INTO attempts (user_id, quiz_id, score) VALUES (7, 1, 50)")
	s.db.Exec(t, "DELETE FROM blogs WHERE id = 139")
	s.settled()

	dry := s.warm(0, "--dry-run", "--since", "oldest")
	require.Equal(t, dry.Pairs, int64(len(dry.List)))
	require.Zero(t, dry.Filled)
	require.False(t, get(t, s.url+"/blogs/117").hit(), "nothing was asked for")
	paths := map[string]bool{}
	for _, p := range dry.List {
		paths[p.Path] = true
	}
	for _, path := range []string{"/blogs/100", "/blogs/139", "/users/7/dashboard", "/blogs?limit=50&offset=0&status=published"} {
		require.True(t, paths[path], "%s of %v", path, paths)
	}
	only := s.warm(0, "--dry-run", "--query", "blog_by_id", "--table", "blogs", "--top", "3")
	require.True(t, only.More)
	require.Len(t, only.List, 3)
	require.Equal(t, "/blogs/117", only.List[0].Path, "changed most often")

	s.settled()
	first := s.warm(0, "--since", "oldest")
	require.Equal(t, dry.Pairs, first.Pairs)
	require.Equal(t, first.Pairs, first.Filled)
	require.Empty(t, first.Failed)
	require.NoFileExists(t, s.state)
	for path := range paths {
		require.True(t, get(t, s.url+path).hit(), path)
	}
	gone := get(t, s.url+"/blogs/139")
	require.Equal(t, http.StatusNotFound, gone.status)
	require.True(t, gone.hit())
	again := s.warm(0, "--since", "oldest", "--resume=false")
	require.Equal(t, again.Pairs, again.Skipped)

	// For people, and what cannot be.
	output, status := finish(t, s.env, "warm", "--url", s.url, "--state", s.state, "--table", "attempts")
	require.Zero(t, status, output)
	require.Contains(t, output, "found    1 pairs in ")
	require.Contains(t, output, "skipped  1 that were cached and valid\n")
	output, status = finish(t, s.env, "warm", "--url", s.url, "--dry-run", "--query", "blog_by_id")
	require.Zero(t, status, output)
	require.Contains(t, output, "40 of blog_by_id\n")
	require.Regexp(t, `(?m)^1 +/blogs/117$`, output)
	for want, args := range map[string][]string{
		"there is no table that a query reads, public.blogz; there are public.attempts, public.blogs,": {"--table", "blogz"},
		"there is no read blog_by_idd; there are blog_by_id,":                                          {"--query", "blog_by_idd"},
		"there is no read blog_create; ":                                                               {"--query", "blog_create"},
		"does not reach back to position 0/1: the oldest is sequence 1":                                {"--from-position", "0/1"},
		"there is no warm-up to go on with":                                                            {"--resume"},
	} {
		output, status := finish(t, s.env, s.args(args...)...)
		require.Equal(t, notThere, status, output)
		require.Contains(t, output, want)
	}
	for want, args := range map[string][]string{
		`--since: "soon" is neither a duration`: {"--since", "soon"},
		"exclude one another":                   {"--since", "1h", "--from-sequence", "3"},
		"--rate":                                {"--rate", "0"},
		"--concurrency must be":                 {"--concurrency", "0"},
		"--top must be 1 to 1000000":            {"--top", "-1"},
		"it takes no --table":                   {"--resume", "--table", "blogs"},
	} {
		require.Contains(t, refused(t, s.env, s.args(args...)...), want)
	}
}

// Ten thousand entries by their id: how long it takes, with the defaults, is logged.
func TestWarmTenThousand(t *testing.T) {
	s := newWarmSite(t)
	s.db.Exec(t, `INSERT INTO blogs (title, slug, content, author, status)
		SELECT 'Title ' || i, 'slug-' || i, repeat('x', 1000), 'ann', 'published' FROM generate_series(1, 10000) i`)
	s.settled()
	w := s.warm(0, "--query", "blog_by_id")
	require.Equal(t, int64(10_000), w.Filled)
	t.Logf("10,000 blog_by_id: %.1f s in all, %d changes read", w.Seconds, w.Read.Changes)
	s.settled()
	w = s.warm(0, "--query", "blog_by_id", "--rate", "100000", "--concurrency", "16")
	t.Logf("10,000 blog_by_id without a rate, 16 at once: %.1f s in all", w.Seconds)
}

// Killed in the middle, at once, it is gone on with: no pair is missing, and each is counted once.
func TestWarmIsGoneOnWith(t *testing.T) {
	s := newWarmSite(t)
	s.db.Exec(t, "UPDATE blogs SET views = views + 1")
	s.settled()
	total := s.warm(0, "--dry-run", "--since", "oldest").Pairs
	require.Greater(t, total, int64(3000))
	next := func() int64 {
		var state struct{ Next int64 }
		raw, err := os.ReadFile(s.state)
		if err == nil {
			require.NoError(t, json.Unmarshal(raw, &state), "whatever is killed leaves a state that can be read")
		}
		return state.Next
	}
	interrupt := func(more ...string) *testenv.Process {
		before := next()
		p := begin(t, s.env, s.args(append(more, "--rate", "300")...)...)
		testenv.Eventually(t, patience, func() (bool, string) { return next() > before, "it goes on" })
		return p
	}
	p := interrupt("--since", "oldest")
	output, status := finish(t, s.env, s.args("--resume")...)
	require.Equal(t, 1, status, output)
	require.Contains(t, output, "another warm-up is under way")
	p.Kill()
	p = interrupt("--resume")
	p.Signal(syscall.SIGINT)
	exited(t, p)
	require.Equal(t, 1, p.ExitCode())
	require.Contains(t, p.Output(), "freshet warm --resume goes on")
	stopped := parseWarmed(t, p.Output())
	require.True(t, stopped.Interrupted)
	require.Equal(t, total, stopped.Pairs)
	require.Less(t, stopped.Filled+stopped.Skipped, total)

	w := s.warm(0, "--resume")
	require.True(t, w.Resumed)
	require.Equal(t, total, w.Pairs)
	require.Equal(t, total, w.Filled+w.Skipped)
	require.Less(t, w.Skipped, total/4, "only what was under way when it was killed is asked for twice")
	all := s.warm(0, "--since", "oldest")
	require.Equal(t, total, all.Skipped, "none is missing")
}

// Redis gone in the middle, and then the whole path to Postgres: it waits, and goes on.
func TestWarmWaitsOutAnOutage(t *testing.T) {
	s := newWarmSite(t)
	s.db.Exec(t, "UPDATE blogs SET views = views + 1")
	s.settled()
	p := begin(t, s.env, s.args("--since", "oldest", "--query", "blog_by_id", "--rate", "400")...)
	progress := func(text string) {
		t.Helper()
		testenv.Eventually(t, patience, func() (bool, string) { return strings.Contains(p.Output(), text), p.Output() })
	}
	testenv.Eventually(t, patience, func() (bool, string) {
		_, err := os.Stat(s.state + ".pairs")
		return err == nil, "it should fill"
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.redis.Server.Kill())
	progress("waiting: bypass: ")
	require.NoError(t, s.redis.Server.Restart(ctx))
	exited(t, p)
	require.Zero(t, p.ExitCode(), p.Output())
	w := parseWarmed(t, p.Output())
	require.Equal(t, int64(2000), w.Filled+w.Skipped)
	require.Empty(t, w.Failed)
}

// Beside a thousand writes a second, warm-ups one after the other, and an auditor that looks at all of it: nothing is stale.
func TestWarmBesideWrites(t *testing.T) {
	const writers, each = 4, 250 // a second
	s := newWarmSite(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	var written atomic.Int64
	for w := range writers {
		conn := s.db.Conn(t)
		writing.Go(func() {
			began := time.Now()
			for n := 0; ctx.Err() == nil; n++ {
				sql := []string{
					"UPDATE blogs SET views = views + 1 WHERE id = $1", "UPDATE blogs SET title = title || 'x' WHERE id = $1",
					"UPDATE blogs SET status = CASE status WHEN 'draft' THEN 'published' ELSE 'draft' END WHERE id = $1",
				}[n%3]
				if _, err := conn.Exec(context.WithoutCancel(ctx), sql, 1+(w+n*writers)%400); err != nil {
					t.Error(err)
					return
				}
				written.Add(1)
				wait(ctx, time.Until(began.Add(time.Duration(n)*time.Second/each)))
			}
		})
	}
	began := time.Now()
	verify := begin(t, s.env, "verify", "--duration", "8s", "--rate", "1000/s", "--format", "json", "--url", s.url)
	var total warmed
	for verifying := true; verifying; {
		select {
		case <-verify.Done():
			verifying = false
		default:
			output, _ := finish(t, s.env, s.args("--since", "30s", "--rate", "5000")...)
			w := parseWarmed(t, output)
			total.Filled += w.Filled
			total.Skipped += w.Skipped
		}
	}
	rate := float64(written.Load()) / time.Since(began).Seconds()
	stop()
	writing.Wait()
	require.Zero(t, verify.ExitCode(), verify.Output())
	v := parseVerified(t, verify.Output())
	t.Logf("%.0f writes/s, %d filled, %d skipped; %d checked, %d stale", rate, total.Filled, total.Skipped, v.Checked, v.Stale)
	require.Zero(t, v.Stale)
	require.Greater(t, v.Checked, int64(500))
	require.Greater(t, total.Filled, int64(500))
}

// The api warms its own cache: before it is ready, and when it is told to.
func TestWarmOnStart(t *testing.T) {
	s := newWarmSite(t)
	s.db.Exec(t, "UPDATE blogs SET views = views + 1 WHERE id <= 500")
	s.settled()
	require.Contains(t, refused(t, s.with("NATS_URL="), "api", "--example", "--warm-on-start", "10"), "--warm-on-start needs --nats-url")
	p := begin(t, s.env, "api", "--example", "--warm-on-start", "5000", "--warm-deadline", "20s")
	url := serving(t, p)
	testenv.Eventually(t, patience, func() (bool, string) {
		a := get(t, url+"/health/ready")
		return a.status == http.StatusOK, a.body
	})
	require.Contains(t, p.Output(), "the cache was warmed")
	for id := 1; id <= 500; id += 50 {
		require.True(t, get(t, fmt.Sprint(url, "/blogs/", id)).hit())
	}
	var told struct {
		State string
		Asked warm.Asked
		Pairs int64
	}
	a := send(t, http.MethodGet, url+"/performance/cache/warm", "a-token", "")
	require.NoError(t, json.Unmarshal([]byte(a.body), &told))
	require.Equal(t, "done", told.State, a.body)
	require.Equal(t, 5000, told.Asked.Top)
	require.Positive(t, told.Pairs)
	p.Signal(syscall.SIGTERM)
	exited(t, p)
	require.Zero(t, p.ExitCode(), p.Output())
}

// freshet dev --warm is ready once what was changed before is cached again.
func TestDevWarm(t *testing.T) {
	d := newDevFolder(t)
	p, env := d.running()
	execute(t, env["DATABASE_URL"], "UPDATE blogs SET views = views + 1 WHERE id <= 20")
	output, status := finish(t, []string{"DATABASE_URL=" + env["DATABASE_URL"], "REDIS_URL=" + env["REDIS_URL"]}, "wait")
	require.Zero(t, status, output)
	d.stop(p, syscall.SIGTERM)
	p, env = d.running("FRESHET_DEV_WARM=true")
	for id := 1; id <= 20; id++ {
		require.True(t, get(t, fmt.Sprint(env["FRESHET_URL"], "/blogs/", id)).hit())
	}
	d.stop(p, syscall.SIGTERM)
}
