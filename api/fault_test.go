package api_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/testenv"
)

// A statement that is too slow is ended, and a 504; so is a request that is, whatever it waits for.
func TestTimeouts(t *testing.T) {
	for name, edit := range map[string]func(*options){
		"by the server": func(o *options) { o.database.CommandTimeout = 300 * time.Millisecond },
		"by the client": func(o *options) { o.api.CommandTimeout = 300 * time.Millisecond },
		"the request":   func(o *options) { o.api.RequestTimeout = 300 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, withLocked, edit)
			unlock := s.lock(7)
			r := s.get("/locked/7")
			p := s.problem(r, http.StatusGatewayTimeout, "/locked/7")
			require.Equal(t, "Postgres did not answer in time", p.Detail)
			require.Empty(t, r.header.Get("Retry-After"))
			if name != "the request" {
				s.waiting(0)
			}
			unlock()
			testenv.Eventually(t, patience, func() (bool, string) {
				r := s.get("/locked/7")
				return r.status == http.StatusOK, r.body
			})
		})
	}
}

// Without a connection to spare a request is turned away after the connection timeout, and told to come again.
func TestPoolExhausted(t *testing.T) {
	s := start(t, func(o *options) {
		o.database.MaxConnections = 2
		o.api.ConnectionTimeout = 300 * time.Millisecond
	})
	s.get("/blogs/1")
	for range 2 {
		conn, err := s.pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
	r := s.get("/blogs/2")
	p := s.problem(r, http.StatusServiceUnavailable, "/blogs/2")
	require.Equal(t, "Postgres is not available", p.Detail)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	s.problem(s.write(http.MethodDelete, "/blogs/2", ""), http.StatusServiceUnavailable, "/blogs/2")
	require.Equal(t, hit, s.get("/blogs/1").cacheStatus(), "a hit needs no connection")
}

// Without Postgres, what is cached is served while the watermark is young enough; the rest is a 503. When Postgres is back, so
// are the answers.
func TestPostgresDown(t *testing.T) {
	s := start(t, lookOften, func(o *options) { o.private = true })
	s.untilReady(http.StatusOK, "cache", "ok")
	s.get("/blogs/1")
	require.NoError(t, s.db.Server.Kill())
	require.Equal(t, hit, s.get("/blogs/1").cacheStatus())
	for range 3 {
		r := s.get("/blogs/2")
		s.problem(r, http.StatusServiceUnavailable, "/blogs/2")
		require.Equal(t, "1", r.header.Get("Retry-After"))
		require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	}
	s.problem(s.write(http.MethodPatch, "/blogs/1", `{"title":"x"}`), http.StatusServiceUnavailable, "/blogs/1")
	s.untilReady(http.StatusOK, "postgres", "does not answer") // the cache does

	age := s.state
	age.Stamp = cache.NewToken()
	age.At = time.Now().Add(-2 * time.Hour).Truncate(time.Microsecond)
	ok, err := s.store.Begin(t.Context(), s.state, age)
	require.NoError(t, err)
	require.True(t, ok)
	s.problem(s.get("/blogs/1"), http.StatusServiceUnavailable, "/blogs/1")
	s.untilReady(http.StatusServiceUnavailable, "status", "not ready: neither Postgres nor the cache can answer")

	require.NoError(t, s.db.Server.Restart(t.Context()))
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.get("/blogs/1")
		return r.status == http.StatusOK && r.cacheStatus() == bypass+"watermark-stale", r.body
	})
}

// Without Redis, or with one that hangs, reads are answered by Postgres.
func TestRedisDown(t *testing.T) {
	s := start(t, lookOften)
	first := s.get("/blogs/1")
	require.NoError(t, s.server.Server.Signal(syscall.SIGSTOP))
	for range 5 {
		r := s.get("/blogs/1")
		require.Equal(t, bypass+"redis-unavailable", r.cacheStatus())
		require.Equal(t, first.body, r.body)
	}
	require.NoError(t, s.server.Server.Signal(syscall.SIGCONT))
	testenv.Eventually(t, patience, func() (bool, string) {
		status := s.get("/blogs/1").cacheStatus()
		return status == hit, status
	})

	require.NoError(t, s.server.Server.Kill())
	for _, path := range []string{"/blogs/1", "/blogs", "/users/1/dashboard"} {
		r := s.get(path)
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, bypass+"redis-unavailable", r.cacheStatus())
	}
	require.Equal(t, http.StatusNotModified, s.get("/blogs/1", "If-None-Match: "+first.header.Get("ETag")).status)
	require.Equal(t, http.StatusOK, s.write(http.MethodPatch, "/blogs/1", `{"title":"New"}`).status, "writes need no Redis")
	require.Equal(t, "New", s.field(s.get("/blogs/1"), "title"))
	s.untilReady(http.StatusOK, "cache", "no answer from Redis: reads go to Postgres")

	require.NoError(t, s.server.Server.Restart(t.Context()))
	testenv.Eventually(t, patience, func() (bool, string) {
		status := s.get("/blogs/1").cacheStatus()
		return status != bypass+"redis-unavailable", status
	})
}

// Any key may vanish at any time: it costs a miss.
func TestRedisEmptied(t *testing.T) {
	s := start(t)
	s.get("/blogs/1")
	require.NoError(t, s.redis.Del(t.Context(), "freshet:public.blogs:id=1").Err())
	require.Equal(t, stored, s.get("/blogs/1").cacheStatus())
	require.NoError(t, s.redis.FlushAll(t.Context()).Err())
	require.Equal(t, bypass+"no-watermark", s.get("/blogs/1").cacheStatus())
	require.NoError(t, s.redis.Set(t.Context(), "freshet:watermark", "not a hash", 0).Err())
	require.Equal(t, http.StatusOK, s.get("/blogs/1").status)
}
