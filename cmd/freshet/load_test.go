package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/servers"
	"freshet/internal/testenv"
	"freshet/load"
)

// parseLoaded reads what freshet load --format json printed, among lines of progress.
func parseLoaded(t *testing.T, output string) (r load.Result) {
	t.Helper()
	from, to := strings.Index(output, "{\n"), strings.LastIndex(output, "\n}")
	require.Positive(t, to, output)
	require.NoError(t, json.Unmarshal([]byte(output[from:to+2]), &r), output)
	return r
}

// A short load on a real freshet dev: everything is measured, nothing fails, and each query is compared. Whether the latencies are met says
// something about the machine only, which may be busy with other tests: that the exit status follows the verdicts is what must hold.
func TestLoad(t *testing.T) {
	t.Parallel() // beside the soak
	d := newDevFolder(t)
	p, dev := d.running("DB_MAX_CONNECTIONS=20")
	env := []string{"FRESHET_URL=" + dev["FRESHET_URL"], "FRESHET_ADMIN_TOKEN=" + dev["FRESHET_ADMIN_TOKEN"]}
	withDatabase := slices.Concat(env, []string{"DATABASE_URL=" + dev["DATABASE_URL"], "DB_MAX_CONNECTIONS=20"})
	short := []string{"load", "--users", "20", "--duration", "5s", "--warm-up", "1s", "--compare", "1s", "--format", "json"}

	output, status := finish(t, withDatabase, short...)
	r := parseLoaded(t, output)
	failed := load.Failed(r.Targets)
	require.Equal(t, failed == 0, r.Pass)
	require.Equal(t, min(failed, 1), status, output)
	require.Len(t, r.Targets, 8)
	for _, v := range r.Targets {
		require.NotEqual(t, load.NotMeasured, v.Status, v.Target)
	}
	require.False(t, r.Interrupted)
	require.Zero(t, r.Errors, r.Failures)
	require.Positive(t, r.Written.N)
	require.Equal(t, 20, r.Connections.Most)
	require.Len(t, r.Queries, 7)
	for _, q := range r.Queries {
		require.Positive(t, q.Alone.SpeedUp, q.Query)
	}
	require.Positive(t, r.Queries[0].Crowd.SpeedUp)
	require.Positive(t, r.Without.PerSecond)
	require.Positive(t, r.HitRate)
	require.Equal(t, int64(1), count(t, dev["DATABASE_URL"], "SELECT (count(*) > 20000)::int FROM attempts"))
	require.Equal(t, int64(0), count(t, dev["DATABASE_URL"], "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet load'"))

	// Without a database nobody knows the connections, and what is not known is not met. A run for people, on no terminal.
	output, status = finish(t, env, "load", "--users", "5", "--duration", "6s", "--warm-up", "0s", "--compare", "0s", "--seed", "7")
	require.Equal(t, 1, status, output)
	require.Regexp(t, `(?m)^connections, p99 .* not measured +no database URL was given$`, output)
	require.Regexp(t, `(?m)^\[#+-*\] 5s of 6s  measuring  [\d,]+ requests \([\d,]+/s\)  hit rate [\d.]+ %  errors 0$`, output)
	require.Contains(t, output, "(seed 7)")
	require.Regexp(t, `freshet: \d of 8 targets are not met\n$`, output)
	require.NotContains(t, output, "\x1b")
	require.NotContains(t, output, dev["FRESHET_ADMIN_TOKEN"])

	// What cannot be judged is something else than what fails.
	for name, tt := range map[string]struct {
		settings []string
		want     string
	}{
		"a wrong token":       {[]string{env[0], "FRESHET_ADMIN_TOKEN=wrong"}, "refuses the admin token"},
		"no api":              {[]string{"FRESHET_URL=http://" + nobody(t), env[1]}, "reach the api"},
		"no URL":              {[]string{"FRESHET_URL=nowhere", env[1]}, "not the URL of an api"},
		"an unreachable base": {slices.Concat(env, []string{"DATABASE_URL=postgres://" + nobody(t) + "/x"}), "connect to Postgres"},
	} {
		output, status := finish(t, tt.settings, "load", "--duration", "1s")
		require.Equal(t, 2, status, name)
		require.Contains(t, explanation(t, output), tt.want, name)
	}

	// Ctrl-C ends it early, with what there is, which passes nothing.
	l := begin(t, env, "load", "--duration", "10m", "--warm-up", "0s")
	l.WaitForLine(t, "measuring", patience)
	l.Signal(syscall.SIGINT)
	exited(t, l)
	require.Equal(t, 1, l.ExitCode())
	require.Contains(t, l.Output(), "Interrupted: this passes nothing.")
	require.Contains(t, l.Output(), "freshet: interrupted before all was measured")

	// An api that goes away in the middle is many errors, and no wait.
	l = begin(t, env, "load", "--duration", "8s", "--warm-up", "0s", "--compare", "0s", "--format", "json")
	l.WaitForLine(t, "measuring", patience)
	d.stop(p, syscall.SIGINT)
	exited(t, l)
	require.Equal(t, 1, l.ExitCode())
	r = parseLoaded(t, l.Output())
	require.Equal(t, load.Fail, r.Targets[6].Status)
	require.Positive(t, r.Errors)
	require.Contains(t, l.Output(), "connection refused")
}

// The figures are checked before anything is reached.
func TestLoadRefuses(t *testing.T) {
	token := []string{"FRESHET_ADMIN_TOKEN=x", "FRESHET_URL=http://" + nobody(t)}
	for args, want := range map[string]string{
		"--users 0": "--users", "--duration 0s": "--duration", "--writes 101": "--writes", "--format xml": "--format",
	} {
		require.Contains(t, refused(t, token, append([]string{"load"}, strings.Fields(args)...)...), want)
	}
	output, status := finish(t, nil, "load")
	require.Equal(t, 1, status)
	require.Contains(t, output, "$FRESHET_ADMIN_TOKEN) is not set")
}

// make load: it starts a freshet dev of its own and leaves nothing behind, also when it is interrupted.
func TestLoadScript(t *testing.T) {
	t.Parallel()                                    // beside the soak
	tmp, err := servers.MkdirTemp("freshet-load-*") // Postgres's user can enter it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(tmp)) })
	env := environment("TMPDIR="+tmp, "FRESHET_BIN="+testenv.Binary(t))
	for name, interrupt := range map[string]string{"": "", "starting": "load: starting freshet dev", "loading": "measuring"} {
		args := []string{"../../load/load.sh", "--users", "5", "--warm-up", "0s", "--compare", "0s", "--duration"}
		if interrupt == "" {
			args = append(args, "1s")
		} else {
			args = append(args, "10m")
		}
		p := testenv.StartProcess(t, "bash", env, args...)
		if interrupt != "" {
			p.WaitForLine(t, interrupt, 2*patience)
			p.Signal(syscall.SIGINT)
		}
		exited(t, p)
		require.Contains(t, []int{0, 1, 130}, p.ExitCode(), name+p.Output())
		if interrupt == "" {
			require.Regexp(t, `(?m)^connections, p99 .* of 50 in use`, p.Output(), "it has dev's settings")
		}
		left, err := os.ReadDir(tmp)
		require.NoError(t, err)
		require.Empty(t, left, name)
		d := &devFolder{t: t, data: tmp + "/x"}
		testenv.Eventually(t, patience, func() (bool, string) {
			all := d.processes()
			return len(all) == 0, strings.Join(all, "\n")
		})
	}
}

// count runs a statement that yields a number, on a connection of its own.
func count(t *testing.T, url, sql string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&n))
	require.NoError(t, conn.Close(t.Context()))
	return n
}
