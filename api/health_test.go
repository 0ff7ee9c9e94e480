package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/health"
	"freshet/internal/testenv"
)

// lookOften is an interval of checks at which a test need not wait.
func lookOften(o *options) { o.api.HealthInterval = 20 * time.Millisecond }

// detailed is what /health/detailed says.
func (s *site) detailed() health.Detailed {
	s.t.Helper()
	r := s.get(health.PathDetailed, "Authorization: Bearer "+token)
	require.Equal(s.t, http.StatusOK, r.status, r.body)
	require.Equal(s.t, "no-store", r.header.Get("Cache-Control"))
	var d health.Detailed
	require.NoError(s.t, json.Unmarshal([]byte(r.body), &d), r.body)
	return d
}

// untilCheck waits until a check has a status, and returns it.
func (s *site) untilCheck(name string, status health.Status) health.Result {
	s.t.Helper()
	var r health.Result
	testenv.Eventually(s.t, patience, func() (bool, string) {
		r = s.detailed().Checks[name]
		return r.Status == status, name + " is " + string(r.Status) + ": " + r.Error
	})
	return r
}

// untilReady waits until /health/ready says a text about a part.
func (s *site) untilReady(status int, part, text string) response {
	s.t.Helper()
	var r response
	testenv.Eventually(s.t, patience, func() (bool, string) {
		r = s.get(health.PathReady)
		said, _ := s.field(r, part).(string)
		return r.status == status && said == text, r.body
	})
	return r
}

// Whether the process answers, and whether it can answer reads.
func TestHealth(t *testing.T) {
	s := newSite(t, lookOften)
	ready := s.get(health.PathReady)
	require.Equal(t, http.StatusOK, ready.status, "the first request waits for the first look")
	require.Equal(t, "no-store", ready.header.Get("Cache-Control"))
	require.Equal(t, "no watermark: is the invalidator running?", s.field(ready, "cache"))
	require.JSONEq(t, `{"status":"alive"}`, s.get(health.PathLive).body)
	s.setWatermark(time.Now().Add(-time.Minute))
	s.untilReady(http.StatusOK, "cache", "the watermark is too old: are cdc and the invalidator running?")
	s.setWatermark(time.Now().Add(time.Hour)) // it does not age
	s.untilReady(http.StatusOK, "cache", "ok")
	require.JSONEq(t, `{"status":"ready","postgres":"ok","cache":"ok"}`, s.get(health.PathReady).body)
	basic := s.get(health.PathBasic)
	require.Equal(t, http.StatusOK, basic.status)
	require.Equal(t, "degraded", s.field(basic, "status"), "there is no replication slot")
	require.Equal(t, "test", s.field(basic, "version"))
	require.Equal(t, "api", s.field(basic, "process"))
	require.Greater(t, s.field(basic, "uptime_seconds"), 0.0)
	require.NoError(t, errors.Join(s.stop(), s.stop()), "stopping twice")
}

// Each dependency that goes, and comes back, shows with the next look; the others are looked at all the same.
func TestHealthOfDependencies(t *testing.T) {
	const interval = 300 * time.Millisecond
	const hush = "hush-hush%21"
	s := start(t, func(o *options) {
		o.private = true
		o.api.HealthInterval = interval
		o.prepare = func(db *testenv.Database) {
			u, err := url.Parse(db.URL)
			require.NoError(t, err)
			u.User = url.UserPassword(u.User.Username(), hush)
			db.URL = u.String()
		}
	})
	// shows requires that a look which began in time shows a status, and returns it.
	shows := func(name string, status health.Status, since time.Time) health.Result {
		t.Helper()
		r := s.untilCheck(name, status)
		require.Less(t, r.Since.Sub(since), interval+time.Second, "%s: one interval, on a machine that is busy", name)
		require.Equal(t, http.StatusOK, s.get(health.PathLive).status)
		return r
	}
	s.untilReady(http.StatusOK, "cache", "ok")
	require.Equal(t, health.OK, s.detailed().Checks[health.CheckPostgres].Status)

	killed := time.Now()
	require.NoError(t, s.db.Server.Kill())
	down := shows(health.CheckPostgres, health.Failing, killed)
	require.NotEmpty(t, down.Error)
	require.NotContains(t, down.Error, "hush")
	require.False(t, down.LastSuccess.After(down.Since), "%s %s", down.LastSuccess, down.Since)
	require.Equal(t, health.OK, s.detailed().Checks[health.CheckRedis].Status)
	require.Equal(t, "does not answer", s.field(s.get(health.PathReady), "postgres"))
	require.Equal(t, health.ProcessDegraded, s.detailed().Status)
	require.NoError(t, s.db.Server.Restart(t.Context()))
	up := shows(health.CheckPostgres, health.OK, time.Now())
	require.Empty(t, up.Error)

	stopped := time.Now()
	require.NoError(t, s.server.Server.Signal(syscall.SIGSTOP))
	hanging := shows(health.CheckRedis, health.Hanging, stopped)
	require.NotEmpty(t, hanging.Error)
	require.Equal(t, health.OK, s.detailed().Checks[health.CheckPostgres].Status)
	require.True(t, s.detailed().Checks[health.CheckPostgres].CheckedAt.After(hanging.Since), "one that hangs does not stop the others")
	require.Equal(t, hanging.Since, s.untilCheck(health.CheckRedis, health.Hanging).Since, "it hangs since then, still")
	s.untilReady(http.StatusOK, "cache", "no answer from Redis: reads go to Postgres")
	require.NoError(t, s.server.Server.Signal(syscall.SIGCONT))
	shows(health.CheckRedis, health.OK, time.Now())
	s.untilReady(http.StatusOK, "cache", "ok")

	killed = time.Now()
	require.NoError(t, s.server.Server.Kill())
	shows(health.CheckRedis, health.Failing, killed)
	require.NoError(t, s.db.Server.Kill())
	r := s.untilReady(http.StatusServiceUnavailable, "status", "not ready: neither Postgres nor the cache can answer")
	require.NotContains(t, r.body, "hush")
	basic := s.get(health.PathBasic)
	require.Equal(t, http.StatusServiceUnavailable, basic.status)
	require.Equal(t, health.ProcessDown, s.field(basic, "status"))
	require.Equal(t, http.StatusOK, s.get(health.PathLive).status, "a restart mends no server")
}

// No request for health waits for anything, also while everything hangs.
func TestHealthDoesNoIO(t *testing.T) {
	s := start(t, func(o *options) { o.private = true })
	s.untilCheck(health.CheckPostgres, health.OK)
	require.NoError(t, s.server.Server.Signal(syscall.SIGSTOP))
	require.NoError(t, s.db.Server.Signal(syscall.SIGSTOP))
	defer func() {
		require.NoError(t, s.server.Server.Signal(syscall.SIGCONT))
		require.NoError(t, s.db.Server.Signal(syscall.SIGCONT))
	}()
	for _, path := range []string{health.PathBasic, health.PathLive, health.PathReady, health.PathDetailed} {
		var took []time.Duration
		for range 100 {
			began := time.Now()
			s.get(path, "Authorization: Bearer "+token)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		require.Less(t, took[len(took)/2], 20*time.Millisecond, path) // a look takes a second now
	}
}

// The details are for who has the token, unless it was said that they are for everybody.
func TestHealthDetailedNeedsTheToken(t *testing.T) {
	s := start(t)
	s.problem(s.get(health.PathDetailed), http.StatusUnauthorized, health.PathDetailed)
	r := s.get(health.PathDetailed, "Authorization: Bearer wrong")
	s.problem(r, http.StatusUnauthorized, health.PathDetailed)
	require.Equal(t, `Bearer realm="freshet"`, r.header.Get("WWW-Authenticate"))
	require.NotContains(t, s.get(health.PathDetailed, "Authorization: Bearer "+token).body, token)

	none := start(t, func(o *options) { o.api.AdminToken = "" })
	p := none.problem(none.get(health.PathDetailed, "Authorization: Bearer "), http.StatusForbidden, health.PathDetailed)
	require.Contains(t, p.Detail, "FRESHET_HEALTH_DETAILED_OPEN")

	open := start(t, func(o *options) { o.api.AdminToken, o.api.HealthOpen = "", true })
	require.Equal(t, http.StatusOK, open.get(health.PathDetailed).status)
	require.Contains(t, open.get("/").body, health.PathDetailed)
	require.NotContains(t, s.get("/").body, health.PathDetailed)
	for _, path := range []string{`"/metrics"`, `"/query"`, `"/position"`, `"/ui"`, `"/health/ready"`} {
		require.Contains(t, s.get("/").body, path, "what everybody may ask for is listed")
	}
}

// What is there to be seen: the slot, the watermark, the queries, the pool; and what the api cannot know.
func TestHealthDetailed(t *testing.T) {
	s := start(t, lookOften, func(o *options) {
		o.files = fstest.MapFS{"fine.sql": {Data: []byte(fine)}}
		o.prepare = func(db *testenv.Database) { o.api.Slot = "health_" + db.Name }
	})
	slot := "health_" + s.db.Name
	require.Contains(t, s.untilCheck(health.CheckSlot, health.Failing).Error, "there is no replication slot "+slot)
	s.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.detailed().Checks[health.CheckSlot]
		return strings.Contains(r.Error, "is cdc running?"), r.Error // while it is made, the slot is active
	})
	s.untilCheck(health.CheckWatermark, health.OK)
	d := s.detailed()
	details := d.Checks[health.CheckSlot].Details.(map[string]any)
	require.Equal(t, slot, details["name"])
	require.Equal(t, false, details["active"])
	require.Equal(t, "reserved", details["wal_status"])
	require.NotEqual(t, "0/0", details["confirmed_position"])
	require.Contains(t, details, "retained_bytes")

	watermark := d.Checks[health.CheckWatermark].Details.(map[string]any)
	require.Equal(t, "F/10", watermark["position"])
	require.Contains(t, watermark, "age_ms")
	pool := d.Live["pool"].(map[string]any)
	require.EqualValues(t, 20, pool["max"])
	require.Contains(t, d.NotKnown, health.CheckStream)
	require.Contains(t, d.NotKnown, health.CheckConsumer)
	require.InDelta(t, 0.02, d.IntervalSeconds, 0.001)

	queries := s.untilCheck(health.CheckQueries, health.OK).Details.(map[string]any)
	require.NotContains(t, queries, "disabled")
	require.NotContains(t, queries, "waiting_shapes")
	require.NoError(t, s.redis.HDel(t.Context(), "freshet:watermark", "shape:public.blogs()").Err())
	testenv.Eventually(t, patience, func() (bool, string) {
		queries := s.detailed().Checks[health.CheckQueries].Details.(map[string]any)
		waiting, _ := queries["waiting_shapes"].([]any)
		return slices.Equal(waiting, []any{"public.blogs()"}), "waiting shapes"
	})
	s.db.Exec(t, "ALTER TABLE quizzes RENAME TO puzzles")
	s.define("another")
	disabled := s.untilCheck(health.CheckQueries, health.Failing)
	require.Contains(t, disabled.Error, "disabled")
	require.Contains(t, disabled.Details.(map[string]any)["disabled"], "quiz_list")
	require.Equal(t, health.ProcessDegraded, s.detailed().Status)
}

// While it drains it is not ready, and neither down nor dead.
func TestHealthWhileDraining(t *testing.T) {
	s := start(t, func(o *options) { o.api.DrainDelay = 2 * time.Second })
	s.untilCheck(health.CheckPostgres, health.OK)
	s.cancel()
	r := s.untilReady(http.StatusServiceUnavailable, "status", "draining")
	require.Equal(t, "ok", s.field(r, "postgres"))
	require.Equal(t, http.StatusOK, s.get(health.PathLive).status)
	require.Equal(t, http.StatusOK, s.get(health.PathBasic).status)
	require.NoError(t, s.stop())
}
