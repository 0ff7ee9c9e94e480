package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/config"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	// The tests run the program as a process, built apart. That it can be reached from here puts all of its code into the test
	// binary too: otherwise the go command would take a cached result for still valid when only that code has changed.
	if len(os.Args) == 0 {
		main()
	}
	testenv.Main(m)
}

// patience bounds each wait, on a machine that is busy.
const patience = 30 * time.Second

// environment is that of a process: none of our settings is inherited from whoever runs the tests.
func environment(settings ...string) []string {
	var env []string
	for _, v := range config.All() {
		env = append(env, v.Name+"=") // empty counts as not set
	}
	for _, set := range os.Environ() {
		if name, _, _ := strings.Cut(set, "="); strings.HasPrefix(name, "OTEL_") {
			env = append(env, name+"=")
		}
	}
	return append(env, settings...)
}

// begin starts a process of the real program.
func begin(t *testing.T, env []string, args ...string) *testenv.Process {
	t.Helper()
	return testenv.StartProcess(t, testenv.Binary(t), environment(env...), args...)
}

// finish runs the program to its end.
func finish(t *testing.T, env []string, args ...string) (output string, status int) {
	t.Helper()
	p := begin(t, env, args...)
	exited(t, p)
	return p.Output(), p.ExitCode()
}

// exited waits until a process has ended.
func exited(t *testing.T, p *testenv.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = p.Wait(ctx) // the caller looks at the exit status
	require.NoError(t, ctx.Err(), "it did not end")
}

// refused runs the program, which must end with status 1 and one line of explanation, and returns that line.
func refused(t *testing.T, env []string, args ...string) string {
	t.Helper()
	output, status := finish(t, env, args...)
	require.Equal(t, 1, status, output)
	return explanation(t, output)
}

// explanation is the one line that says why; the log's lines and what dev says at first are none.
func explanation(t *testing.T, output string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "freshet: starting") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	require.Len(t, lines, 1, output)
	require.Regexp(t, "^freshet: ", lines[0])
	return lines[0]
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// get reads a URL.
func get(t *testing.T, url string) answer {
	t.Helper()
	return send(t, http.MethodGet, url, "", "")
}

// send sends a request, with the bearer token if there is one.
func send(t *testing.T, method, url, token, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// hit tells whether an answer came from the cache.
func (a answer) hit() bool { return strings.HasPrefix(a.header.Get("Cache-Status"), "freshet; hit") }

// untilHit reads a URL until the cache is in use for it, and returns the hit.
func untilHit(t *testing.T, url string) answer {
	t.Helper()
	var a answer
	testenv.Eventually(t, patience, func() (bool, string) {
		a = get(t, url)
		require.Equal(t, http.StatusOK, a.status, a.body)
		return a.hit(), a.header.Get("Cache-Status")
	})
	return a
}

// untilShows reads a URL until the text is in the answer.
func untilShows(t *testing.T, url, text string) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		a := get(t, url)
		return a.status == http.StatusOK && strings.Contains(a.body, text), fmt.Sprint(a)
	})
}

var servingURL = regexp.MustCompile(`url=(http://\S+)`)

// serving waits until an api accepts requests and returns its URL.
func serving(t *testing.T, p *testenv.Process) string {
	t.Helper()
	line := p.WaitForLine(t, "msg=serving", patience)
	return servingURL.FindStringSubmatch(line)[1]
}

// --help explains every command and every setting of it, and needs nothing.
func TestHelp(t *testing.T) {
	for command, want := range map[string][]string{
		"":               {"freshet dev", "freshet migrate up", "freshet cdc", "freshet invalidator", "freshet api"},
		"dev":            {"DATABASE_URL", "--data", "--dev-postgres-port", "FRESHET_DEV_REDIS_PORT", "--dev-nats-port", "--http-addr"},
		"api":            {"--queries", "$REDIS_HOST", "$DB_MAX_CONNECTIONS", "DATABASE_URL, required", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"cdc":            {"--slot", "OTEL_EXPORTER_OTLP_ENDPOINT", "wal_level=logical", "$NATS_URL"},
		"invalidator":    {"$REDIS_URL", "$NATS_URL", "$DATABASE_URL"},
		"migrate":        {"up", "down", "status"},
		"migrate up":     {"--example", "$DATABASE_URL"},
		"migrate down":   {"--example"},
		"migrate status": {"--example"},
		"health":         {"--http-addr", "--cdc", "--invalidator", "--url", "--detailed", "$FRESHET_CDC_HTTP_ADDR"},
		"top":            {"--once", "--url", "$FRESHET_ADMIN_TOKEN"},
		"load":           {"--users", "--duration", "--format", "$FRESHET_URL"},
		"warm":           {"--since", "--resume", "--dry-run", "$NATS_URL", "$FRESHET_URL"},
		"replay":         {"--since", "--snapshot", "--follow", "$NATS_URL"},
		"verify":         {"--duration", "--rate", "$REDIS_URL", "--queries", "--example", "--source", "$FRESHET_MAX_STALENESS", "$NATS_URL", "$DATABASE_URL"},
		"wait":           {"--position", "A bare LSN", "0/16B3748;timeline=2", "$DATABASE_URL"},
		"version":        {"Print the version"},
	} {
		t.Run(command, func(t *testing.T) {
			output, status := finish(t, nil, append(strings.Fields(command), "--help")...)
			require.Zero(t, status)
			for _, text := range want {
				require.Contains(t, output, text)
			}
			for line := range strings.Lines(output) {
				require.NotContains(t, line, "completion") // cobra's own, which nobody asked for
			}
		})
	}
	output, _ := finish(t, nil, "verify", "--help")
	for _, flag := range []string{"http-addr", "admin-token", "position-cookie", "max-waiting", "body-limit", "request-timeout", "drain", "publication"} {
		require.NotContains(t, output, "--"+flag, "it serves nothing")
	}
	for _, args := range [][]string{{"version"}, {"--version"}} {
		output, status := finish(t, nil, args...)
		require.Zero(t, status)
		require.NotEmpty(t, strings.TrimSpace(output))
	}
}

// What is wrong with the settings is told in one message, all of it, and no secret with it.
func TestBadSettings(t *testing.T) {
	output, status := finish(t, []string{"FRESHET_ADMIN_TOKEN=hush hush", "DB_COMMAND_TIMEOUT=soon", "REDIS_URL=http://x"},
		"api", "--http-addr=nowhere", "--db-min-connections=20", "--db-max-connections=10", "--queries=missing")
	require.Equal(t, 1, status)
	require.Contains(t, output, "settings are wrong:")
	for _, name := range []string{
		"$FRESHET_ADMIN_TOKEN", "$DB_COMMAND_TIMEOUT", "$REDIS_URL", "$FRESHET_HTTP_ADDR", "$DB_MIN_CONNECTIONS", "$FRESHET_QUERIES",
		"$DATABASE_URL) is not set",
	} {
		require.Contains(t, output, name)
	}
	require.Contains(t, output, "--help")
	require.NotContains(t, output, "hush")
	for _, args := range [][]string{{"nosuch"}, {"cdc", "more"}, {"migrate", "sideways"}, {"api", "--nosuch"}} {
		require.Contains(t, refused(t, nil, args...), "unknown")
	}
}

// writeFile makes a file in a new folder, and returns the folder.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	return dir
}

// withUser is a database URL for another user.
func withUser(t *testing.T, database, user string) string {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	u.User = url.User(user)
	return u.String()
}

func parsePosition(t *testing.T, text string) events.Position {
	t.Helper()
	p, err := events.ParsePosition(text)
	require.NoError(t, err)
	return p
}
