package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/health"
	"freshet/internal/testenv"
)

var opsURL = regexp.MustCompile(`msg="serving health and metrics" url=(http://\S+)`)

// opsOf is where a cdc or an invalidator serves its health.
func opsOf(t *testing.T, p *testenv.Process) string {
	t.Helper()
	var found []string
	testenv.Eventually(t, patience, func() (bool, string) {
		found = opsURL.FindStringSubmatch(p.Output())
		return found != nil, "it does not serve its health"
	})
	return found[1]
}

// detailed asks a process for everything.
func detailed(t *testing.T, base string) health.Detailed {
	t.Helper()
	a := send(t, http.MethodGet, base+health.PathDetailed, "a-token", "")
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.NotContains(t, a.body, "hush")
	require.NotContains(t, a.body, "a-token")
	var d health.Detailed
	require.NoError(t, json.Unmarshal([]byte(a.body), &d), a.body)
	return d
}

// untilStatus waits until a process says of itself that it is ok, degraded or down.
func untilStatus(t *testing.T, base, status string) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		d := detailed(t, base)
		text, _ := json.Marshal(d)
		return d.Status == status, string(text)
	})
}

// untilReady waits until a process says a status of its readiness.
func untilReady(t *testing.T, base string, code int, text string) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		a := get(t, base+health.PathReady)
		return a.status == code && strings.Contains(a.body, text), a.body
	})
}

// withPassword is a URL with a password that nobody asks for.
func withPassword(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	name := u.User.Username()
	if name == "" {
		name = "anybody"
	}
	u.User = url.UserPassword(name, "hush-hush")
	return u.String()
}

// The three processes tell how they and what they depend on are: all is well, each server goes and comes back, a second cdc stands by.
func TestHealthOfProcesses(t *testing.T) {
	const interval = 200 * time.Millisecond
	b := newBackends(t, testenv.PrivatePostgres(t, map[string]string{"wal_level": "logical"}))
	server := testenv.NATSProcess(t)
	b.env = b.with("NATS_URL="+withPassword(t, server.URL), "DATABASE_URL="+withPassword(t, b.db.URL), "HEALTH_INTERVAL="+interval.String())
	b.migrate(t, "--example")
	processes, api := b.start(t, "--example")
	cdc, invalidator := opsOf(t, processes[0]), opsOf(t, processes[1])
	all := map[string]string{"cdc": cdc, "invalidator": invalidator, "api": api}
	for process, base := range all {
		untilStatus(t, base, health.ProcessOK)
		require.JSONEq(t, `{"status":"alive"}`, get(t, base+health.PathLive).body)
		require.Equal(t, http.StatusUnauthorized, get(t, base+health.PathDetailed).status)
		require.Equal(t, process, detailed(t, base).Process)
	}
	require.JSONEq(t, `{"status":"ready","session":"streaming"}`, get(t, cdc+health.PathReady).body)
	require.JSONEq(t, `{"status":"ready","applied":"ok"}`, get(t, invalidator+health.PathReady).body)

	// details are those of a check.
	details := func(base, check string) map[string]any {
		t.Helper()
		r := detailed(t, base).Checks[check]
		require.NotNil(t, r.Details, "%s: %s", check, r.Error)
		return r.Details.(map[string]any)
	}
	for _, base := range all {
		slot := details(base, health.CheckSlot)
		require.Equal(t, "freshet_"+sourceName(b.db), slot["name"])
		require.Equal(t, true, slot["active"])
		require.Equal(t, "reserved", slot["wal_status"])
	}
	require.Positive(t, details(cdc, health.CheckStream)["messages"])
	require.NotEmpty(t, details(cdc, health.CheckStream)["last_position"])
	require.NotEmpty(t, details(cdc, health.CheckSession)["published_position"])
	require.NotEmpty(t, details(invalidator, health.CheckConsumer)["applied_position"])
	require.Less(t, details(invalidator, health.CheckConsumer)["lag_seconds"], 5.0)
	require.Less(t, details(invalidator, health.CheckWatermark)["age_ms"], 5000.0)

	second := begin(t, b.env, "cdc")
	untilReady(t, opsOf(t, second), http.StatusOK, `"session":"standing by"`)
	second.Kill()

	// Each server in turn: it shows with the next look, at those who depend on it, and so does its return.
	for _, tt := range []struct {
		check     string
		kill      func() error
		back      func() error
		dependent []string
	}{
		{
			health.CheckNATS, server.Server.Kill, func() error { return server.Server.Restart(t.Context()) },
			[]string{cdc, invalidator},
		},
		{
			health.CheckRedis, b.redis.Server.Kill, func() error { return b.redis.Server.Restart(t.Context()) },
			[]string{invalidator, api},
		},
		{
			health.CheckPostgres, b.db.Server.Kill, func() error { return b.db.Server.Restart(t.Context()) },
			[]string{cdc, invalidator, api},
		},
	} {
		began := time.Now()
		require.NoError(t, tt.kill())
		for _, base := range tt.dependent {
			r := untilCheck(t, base, tt.check, false)
			require.Less(t, r.Since.Sub(began), interval+2*time.Second, "%s of %s", tt.check, base)
			require.NotEmpty(t, r.Error)
			require.Equal(t, http.StatusOK, get(t, base+health.PathLive).status)
		}
		require.NoError(t, tt.back())
		for _, base := range all {
			untilStatus(t, base, health.ProcessOK)
		}
	}

	// Without cdc nothing comes to be applied, and the invalidator says so.
	processes[0].Signal(syscall.SIGTERM)
	exited(t, processes[0])
	untilReady(t, invalidator, http.StatusServiceUnavailable, "it does not apply the log")
	untilStatus(t, invalidator, health.ProcessDown)
}

// untilCheck waits until a check is ok, or is not.
func untilCheck(t *testing.T, base, check string, ok bool) health.Result {
	t.Helper()
	var r health.Result
	testenv.Eventually(t, patience, func() (bool, string) {
		r = detailed(t, base).Checks[check]
		return (r.Status == health.OK) == ok, check + " is " + string(r.Status)
	})
	return r
}

// freshet health asks whichever process it is told to.
func TestHealthCommand(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t)
	processes := []*testenv.Process{begin(t, b.env, "cdc"), begin(t, b.env, "invalidator")}
	cdc, invalidator := opsOf(t, processes[0]), opsOf(t, processes[1])
	untilReady(t, cdc, http.StatusOK, "streaming")
	untilReady(t, invalidator, http.StatusOK, "ready")
	env := []string{
		"FRESHET_CDC_HTTP_ADDR=" + strings.TrimPrefix(cdc, "http://"), "FRESHET_INVALIDATOR_HTTP_ADDR=" + strings.TrimPrefix(invalidator, "http://"),
		"FRESHET_ADMIN_TOKEN=a-token",
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--cdc"}, `"session":"streaming"`},
		{[]string{"--invalidator"}, `"applied":"ok"`},
		{[]string{"--url", cdc + "/"}, `"session":"streaming"`},
		{[]string{"--cdc", "--live"}, `"status":"alive"`},
		{[]string{"--invalidator", "--detailed"}, `"process": "invalidator"`},
	} {
		output, status := finish(t, env, append([]string{"health"}, tt.args...)...)
		require.Zero(t, status, output)
		require.Contains(t, output, tt.want)
	}
	require.Contains(t, refused(t, nil, "health", "--url", cdc, "--detailed"), "401")
	require.Contains(t, refused(t, env, "health", "--cdc", "--invalidator"), "cdc invalidator")
	for _, p := range processes {
		p.Signal(syscall.SIGTERM)
		exited(t, p)
		require.Zero(t, p.ExitCode())
	}
	refused(t, env, "health", "--cdc")
}

// A port that was asked for must be free; of several processes on one machine only the first gets the default.
func TestPortOfHealth(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t)
	first := begin(t, b.env, "cdc")
	at := strings.TrimPrefix(opsOf(t, first), "http://")
	require.Contains(t, refused(t, b.with("FRESHET_CDC_HTTP_ADDR="+at), "cdc"), "--cdc-http-addr or FRESHET_CDC_HTTP_ADDR")

	// Whoever has the default port, this process or another, both run.
	one, other := begin(t, b.with("FRESHET_INVALIDATOR_HTTP_ADDR="), "invalidator"), begin(t, b.with("FRESHET_INVALIDATOR_HTTP_ADDR="), "invalidator")
	testenv.Eventually(t, patience, func() (bool, string) {
		said := one.Output() + other.Output()
		return strings.Contains(said, "the default address is in use"), said
	})
	none := begin(t, b.with("FRESHET_CDC_HTTP_ADDR=off"), "cdc")
	none.WaitForLine(t, "standing by", patience)
	require.NotRegexp(t, opsURL, none.Output())
	for _, p := range []*testenv.Process{one, other, none} {
		p.Signal(syscall.SIGTERM)
		exited(t, p)
		require.Zero(t, p.ExitCode(), p.Output())
	}
}
