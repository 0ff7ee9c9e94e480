package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// says waits until a process has printed a text, at whatever time.
func says(t *testing.T, p *testenv.Process, text string) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) { return strings.Contains(p.Output(), text), "it does not say " + text })
}

// No secret is ever logged, at the level debug, by any of the three: not at the start, not while they work, not while every one of their
// servers fails, one after the other, and not at the end.
func TestLogsHaveNoSecrets(t *testing.T) {
	b := newBackends(t, testenv.PrivatePostgres(t, nil))
	b.migrate(t, "--example")
	client := b.redis.Client(t)
	require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "anybody", "on", ">hush-hush", "allkeys", "allchannels", "allcommands").Err())
	require.NoError(t, client.ConfigSet(t.Context(), "requirepass", "hush").Err())
	b.env = b.with(
		"DATABASE_URL="+withPassword(t, b.db.URL), "REDIS_URL="+withPassword(t, b.redis.URL), "NATS_URL="+withPassword(t, b.nats.URL), "FRESHET_ADMIN_TOKEN=hush-token",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+nobody(t), "OTEL_EXPORTER_OTLP_HEADERS=authorization=hush-otlp", "OTEL_BSP_SCHEDULE_DELAY=10",
		"OTEL_BSP_EXPORT_TIMEOUT=100", "FRESHET_LOG_LEVEL=debug", "HEALTH_INTERVAL=100ms",
	)
	processes, at := b.start(t, "--example")
	untilStatusOf := func(path, token string, want int) {
		testenv.Eventually(t, patience, func() (bool, string) {
			a := send(t, http.MethodGet, at+path, token, "")
			return a.status == want, a.body
		})
	}
	const blog = `{"title":"A","slug":"a","content":"Text.","author":"bo"}`
	require.Equal(t, http.StatusCreated, send(t, http.MethodPost, at+"/blogs", "hush-token", blog).status)
	require.Equal(t, http.StatusUnauthorized, send(t, http.MethodPost, at+"/blogs", "hush-guess", blog).status)
	require.Equal(t, http.StatusConflict, send(t, http.MethodPost, at+"/blogs", "hush-token", blog).status)
	untilHit(t, at+"/blogs/1")
	require.Equal(t, http.StatusOK, send(t, http.MethodPost, at+"/performance/cache/clear", "hush-token", `{"everything": true}`).status)

	require.NoError(t, b.nats.Server.Stop(t.Context()))
	for _, p := range processes[:2] {
		says(t, p, "NATS was lost")
		says(t, p, "session ended")
	}
	require.NoError(t, b.redis.Server.Kill())
	untilStatusOf("/health/ready", "", http.StatusOK)
	require.Equal(t, http.StatusOK, get(t, at+"/blogs/1").status)
	says(t, processes[2], "Redis cannot be used")
	require.NoError(t, b.db.Server.Kill())
	untilStatusOf("/health/ready", "", http.StatusServiceUnavailable)
	require.Equal(t, http.StatusServiceUnavailable, send(t, http.MethodPost, at+"/blogs", "hush-token", blog).status)
	says(t, processes[2], "request failed")
	for _, p := range processes {
		says(t, p, "traces are not exported")
	}
	untilStatusOf("/health/detailed", "hush-token", http.StatusOK)
	stopAll(t, processes...)
	for _, p := range processes {
		require.NotContains(t, p.Output(), "TracerProvider")
		for line := range strings.Lines(p.Output()) {
			require.NotContains(t, line, "hush")
		}
	}
}
