package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/internal/servers"
	"freshet/internal/testenv"
)

// devFolder is a data folder of freshet dev with four ports of its own.
type devFolder struct {
	t     *testing.T
	data  string
	ports []int // HTTP, Postgres, Redis, NATS
}

func newDevFolder(t *testing.T) *devFolder {
	t.Helper()
	dir, err := servers.MkdirTemp("freshet-dev-*") // Postgres's user can enter it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	d := &devFolder{t: t, data: filepath.Join(dir, "data")}
	for range 4 {
		port, err := servers.FreePort()
		require.NoError(t, err)
		d.ports = append(d.ports, port)
	}
	return d
}

// begin starts freshet dev.
func (d *devFolder) begin(settings ...string) *testenv.Process {
	d.t.Helper()
	env := []string{
		"FRESHET_DEV_DATA=" + d.data,
		fmt.Sprintf("FRESHET_HTTP_ADDR=127.0.0.1:%d", d.ports[0]),
		fmt.Sprintf("FRESHET_DEV_POSTGRES_PORT=%d", d.ports[1]),
		fmt.Sprintf("FRESHET_DEV_REDIS_PORT=%d", d.ports[2]),
		fmt.Sprintf("FRESHET_DEV_NATS_PORT=%d", d.ports[3]),
		"FRESHET_CDC_HTTP_ADDR=127.0.0.1:0", "FRESHET_INVALIDATOR_HTTP_ADDR=127.0.0.1:0",
	}
	return begin(d.t, append(env, settings...), "dev")
}

// running is a freshet dev that is ready, and what its dev.env says.
func (d *devFolder) running(settings ...string) (*testenv.Process, map[string]string) {
	d.t.Helper()
	p := d.begin(settings...)
	p.WaitForLine(d.t, "freshet: ready in", 2*patience)
	p.WaitForLine(d.t, "stop     Ctrl-C", patience)
	return p, d.source()
}

// source reads dev.env with a shell, as a person would.
func (d *devFolder) source() map[string]string {
	d.t.Helper()
	names := []string{"DATABASE_URL", "REDIS_URL", "NATS_URL", "FRESHET_URL", "FRESHET_ADMIN_TOKEN"}
	script := `set -eu; . "$0"; env` // exported, so that a program of the shell has them
	out, err := exec.CommandContext(d.t.Context(), "sh", "-c", script, filepath.Join(d.data, "dev.env")).Output()
	require.NoError(d.t, err)
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	for _, name := range names {
		require.NotEmpty(d.t, values[name], name)
	}
	return values
}

// stop ends it with a signal; it has to end in order and leave nothing behind.
func (d *devFolder) stop(p *testenv.Process, sig syscall.Signal) {
	d.t.Helper()
	p.Signal(sig)
	exited(d.t, p)
	require.Zero(d.t, p.ExitCode(), p.Output())
	d.nothingLeft()
}

// nothingLeft checks that nobody listens on the ports and no process names the folder.
func (d *devFolder) nothingLeft() {
	d.t.Helper()
	for _, port := range d.ports {
		conn, err := new(net.Dialer).DialContext(d.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			require.NoError(d.t, conn.Close())
		}
		require.Error(d.t, err, "somebody listens on port %d", port)
	}
	require.Empty(d.t, d.processes())
	require.NoFileExists(d.t, filepath.Join(d.data, "dev.env"))
}

// processes are the command lines that name the folder. Where there is no /proc, there are none to be seen.
func (d *devFolder) processes() (found []string) {
	d.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(d.t, err)
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may have ended meanwhile
		if strings.Contains(string(line), filepath.Dir(d.data)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// execute runs a statement as psql would, on a connection of its own.
func execute(t *testing.T, url, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, sql)
	require.NoError(t, err)
	require.NoError(t, conn.Close(ctx))
}

// The tour of a new user, and the life of the data folder: it goes on after Ctrl-C, SIGTERM and kill -9.
func TestDev(t *testing.T) {
	t.Parallel() // beside the soak
	d := newDevFolder(t)
	p, env := d.running()
	tour(t, env)
	showsEverything(t, env["FRESHET_URL"])
	info, err := os.Stat(filepath.Join(d.data, "dev.env"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds passwords")
	require.NotEmpty(t, d.processes())

	// A second one on the same folder, or on the same ports, is turned away; the first goes on.
	require.Contains(t, d.refused(), fmt.Sprintf("is in use by process %d: stop it or choose another folder with --data", p.PID()))
	require.Equal(t, env, d.source(), "the settings file of the first is still there")
	other := newDevFolder(t)
	other.ports[1] = d.ports[1]
	require.Contains(t, other.refused(), "--dev-postgres-port or FRESHET_DEV_POSTGRES_PORT")
	require.NotContains(t, p.Output(), "RESET")
	require.Equal(t, http.StatusOK, get(t, env["FRESHET_URL"]+"/health/ready").status)
	d.stop(p, syscall.SIGINT)
	require.Contains(t, p.Output(), "freshet: stopping")

	p, again := d.running()
	require.Equal(t, env, again, "the next start is reached in the same way")
	goesOn(t, p, again, false)
	d.stop(p, syscall.SIGTERM)

	p, _ = d.running()
	p.Kill()
	p, again = d.running()
	require.Contains(t, get(t, again["FRESHET_URL"]+"/blogs/2").body, `"title":"Other"`)
	tour(t, again)
	goesOn(t, p, again, true)
	d.stop(p, syscall.SIGINT)
}

// tour is what the README shows: a miss, a hit, an UPDATE by psql, and the key is gone; then a write through the api.
func tour(t *testing.T, env map[string]string) {
	t.Helper()
	blog := env["FRESHET_URL"] + "/blogs/1"
	first := get(t, blog)
	require.Equal(t, "freshet; fwd=miss; stored", first.header.Get("Cache-Status"))
	second := get(t, blog)
	require.True(t, second.hit(), second.header)
	require.Equal(t, first.body, second.body)

	options, err := redis.ParseURL(env["REDIS_URL"])
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	const key = "freshet:public.blogs:id=1"
	cached := func() int64 {
		n, err := client.Exists(t.Context(), key).Result()
		require.NoError(t, err)
		return n
	}
	require.Equal(t, int64(1), cached())
	execute(t, env["DATABASE_URL"], "update blogs set title = 'x' where id = 1")
	testenv.Eventually(t, patience, func() (bool, string) { return cached() == 0, key + " is still there" })
	third := get(t, blog)
	require.Contains(t, third.body, `"title":"x"`)
	require.Contains(t, third.header.Get("Cache-Status"), "fwd=miss")

	patched := send(t, http.MethodPatch, blog, env["FRESHET_ADMIN_TOKEN"], `{"title":"Kept"}`)
	require.Equal(t, http.StatusOK, patched.status, patched.body)
	untilShows(t, blog, `"title":"Kept"`)
	untilHit(t, blog)
}

// showsEverything follows every link of the index.
func showsEverything(t *testing.T, url string) {
	t.Helper()
	var index struct {
		Endpoints []struct {
			Method string `json:"method"`
			Path   string `json:"path"`
			Try    string `json:"try"`
			Doc    string `json:"doc"`
		} `json:"endpoints"`
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, url+"/").body), &index))
	links := 0
	for _, e := range index.Endpoints {
		if e.Try == "" {
			if e.Method == http.MethodGet { // a link would only show that it needs the token
				require.Contains(t, e.Doc, "Needs the admin token", "%s has no link", e.Path)
			}
			continue
		}
		links++
		a := get(t, url+e.Try)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", e.Try, a.body)
		require.Greater(t, len(a.body), 10, e.Try)
	}
	require.GreaterOrEqual(t, links, 9)
}

// goesOn checks that a further start has the data, and begins the log anew only if Postgres has crashed.
func goesOn(t *testing.T, p *testenv.Process, env map[string]string, crashed bool) {
	t.Helper()
	require.Contains(t, get(t, env["FRESHET_URL"]+"/blogs/1").body, `"title":"Kept"`)
	require.Equal(t, crashed, strings.Contains(p.Output(), "RESET"), p.Output())
	execute(t, env["DATABASE_URL"], "update blogs set title = 'Other' where id = 2")
	untilShows(t, env["FRESHET_URL"]+"/blogs/2", `"title":"Other"`)
}

// refused starts freshet dev, which has to end with status 1 and one line.
func (d *devFolder) refused(settings ...string) string {
	d.t.Helper()
	p := d.begin(settings...)
	exited(d.t, p)
	require.Equal(d.t, 1, p.ExitCode(), p.Output())
	return explanation(d.t, p.Output())
}

// Each port that is in use is one line and status 1, and nothing is left running; then the start succeeds without help.
func TestDevPortInUse(t *testing.T) {
	t.Parallel() // beside the soak
	d := newDevFolder(t)
	for i, hint := range []string{"FRESHET_HTTP_ADDR", "FRESHET_DEV_POSTGRES_PORT", "FRESHET_DEV_REDIS_PORT", "FRESHET_DEV_NATS_PORT"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", d.ports[i]))
		require.NoError(t, err)
		line := d.refused()
		require.Contains(t, line, hint)
		require.Contains(t, line, fmt.Sprint(d.ports[i]))
		require.NoError(t, l.Close())
		d.nothingLeft()
	}
}

// A stop that comes while everything is still starting is a stop.
func TestDevInterruptedStart(t *testing.T) {
	t.Parallel() // beside the soak
	d := newDevFolder(t)
	for _, milliseconds := range []int{0, 50, 200, 400, 800, 1200} {
		p := d.begin("FRESHET_LOG_LEVEL=debug")
		p.WaitForLine(t, "freshet: starting", patience)
		select {
		case <-time.After(time.Duration(milliseconds) * time.Millisecond): // the moment is what is varied here
		case <-p.Done():
			t.Fatal("it ended by itself")
		}
		d.stop(p, syscall.SIGINT)
	}
	p, env := d.running()
	untilHit(t, env["FRESHET_URL"]+"/blogs/1")
	d.stop(p, syscall.SIGINT)
}

// Servers that are given are used, and none are started.
func TestDevWithGivenServers(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	d := newDevFolder(t)
	given := []string{
		"DATABASE_URL=" + b.db.URL, "REDIS_URL=" + b.redis.URL, "NATS_URL=" + b.nats.URL, "FRESHET_SOURCE=" + sourceName(b.db),
		"FRESHET_NATS_SYNC_INTERVAL=1s", "DB_MIN_CONNECTIONS=0",
	}
	p, env := d.running(given...)
	require.Equal(t, b.db.URL, env["DATABASE_URL"])
	require.Equal(t, b.redis.URL, env["REDIS_URL"])
	require.Equal(t, b.nats.URL, env["NATS_URL"])
	for _, server := range []string{"postgres", "redis", "nats"} {
		require.NoDirExists(t, filepath.Join(d.data, server))
	}
	untilHit(t, env["FRESHET_URL"]+"/blogs/1")
	require.Equal(t, int64(1), b.redis.Client(t).Exists(t.Context(), "freshet:public.blogs:id=1").Val())
	require.Equal(t, 2000, testenv.Value[int](t, b.db, "SELECT count(*)::int FROM blogs"))
	b.db.Exec(t, "UPDATE blogs SET title = 'x' WHERE id = 1")
	untilShows(t, env["FRESHET_URL"]+"/blogs/1", `"title":"x"`)
	d.stop(p, syscall.SIGINT)
}
