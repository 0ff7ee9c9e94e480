package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// lockAll makes reads of /locked/{key} wait, for the keys below n, until unlock is called.
func (s *site) lockAll(n int) (unlock func()) {
	s.t.Helper()
	conn := s.db.Conn(s.t)
	_, err := conn.Exec(s.t.Context(), "SELECT pg_advisory_lock(key) FROM generate_series(0, $1 - 1) key", n)
	require.NoError(s.t, err)
	return func() {
		_, err := conn.Exec(s.t.Context(), "SELECT pg_advisory_unlock_all()")
		require.NoError(s.t, err)
	}
}

// As many statements run as there are connections but one, a bounded number waits, and the rest is told at once to come again. Hits are
// not held up, nor is the question of a no-cache hit: that is what the last connection is for.
func TestGate(t *testing.T) {
	const running, waiting, refused = 2, 2, 3
	s := startBehind(t, withLocked, func(o *options) {
		o.database.MaxConnections = running + 1
		o.api.MaxWaiting = waiting
	})
	s.get(path1)
	unlock := s.lockAll(running + waiting + refused)
	var inside []<-chan response
	for key := range running {
		inside = append(inside, s.inBackground(fmt.Sprint("/locked/", key)))
	}
	s.waiting(running)

	// Which of these wait is a matter of luck, how many is not.
	late := make(chan response, waiting+refused)
	for n := range waiting + refused {
		answer := s.inBackground(fmt.Sprint("/locked/", running+n))
		go func() { late <- <-answer }() // ends with the request
	}
	for range refused {
		r := <-late
		require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
		require.Equal(t, "1", r.header.Get("Retry-After"))
		require.Contains(t, s.field(r, "detail"), "too many requests")
	}
	s.problem(s.write(http.MethodDelete, "/blogs/2", ""), http.StatusServiceUnavailable, "/blogs/2")
	s.waiting(running)
	require.Equal(t, hit, s.get(path1).cacheStatus())
	testenv.Eventually(t, patience, func() (bool, string) {
		s.apply(s.end())
		r := s.get(path1, "Cache-Control: no-cache")
		return r.status == http.StatusOK && r.cacheStatus() == hit, r.body
	})
	require.Empty(t, late, "the others still wait")

	unlock()
	for _, answer := range inside {
		require.Equal(t, http.StatusOK, (<-answer).status)
	}
	for range waiting {
		r := <-late
		require.Equal(t, http.StatusOK, r.status, r.body)
	}
	require.Equal(t, http.StatusOK, s.write(http.MethodDelete, "/blogs/2", "").status)
	require.Equal(t, stored, s.get("/blogs/3").cacheStatus())
}

// Who waits at the gate waits no longer than for a connection.
func TestGateTimeout(t *testing.T) {
	s := start(t, withLocked, func(o *options) {
		o.database.MaxConnections = 2
		o.api.ConnectionTimeout = 200 * time.Millisecond
		o.api.MaxWaiting = 1
	})
	unlock := s.lockAll(1)
	inside := s.inBackground("/locked/0")
	s.waiting(1)
	for range 2 { // the place of the first is given back
		r := s.get(path1)
		p := s.problem(r, http.StatusServiceUnavailable, path1)
		require.Equal(t, "Postgres is not available", p.Detail)
		require.Equal(t, "1", r.header.Get("Retry-After"))
	}
	unlock()
	require.Equal(t, http.StatusOK, (<-inside).status)
	require.Equal(t, stored, s.get(path1).cacheStatus())
}

// Writes that wait, for the disk or for one another, take half of the connections at most: reads go on.
func TestWritesLeaveConnectionsForReads(t *testing.T) {
	const writes, connections = 7, 4
	s := start(t, func(o *options) { o.database.MaxConnections = connections })
	conn := s.db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE blogs IN SHARE MODE")
	require.NoError(t, err)
	answers := make(chan response, writes)
	for n := range writes {
		go func() { // ends with the request
			r, _ := s.try(http.MethodDelete, fmt.Sprint("/blogs/", 10+n), "", "Authorization: Bearer "+token)
			answers <- r
		}()
	}
	testenv.Eventually(t, patience, func() (bool, string) {
		waiting, _ := s.metric("freshet_gate_waiting")
		return waiting == writes-connections/2, fmt.Sprintf("%g writes wait at a gate", waiting)
	})
	require.Equal(t, stored, s.get("/blogs/3").cacheStatus())
	_, err = conn.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	for range writes {
		require.Contains(t, []int{http.StatusOK, http.StatusNotFound}, (<-answers).status)
	}
}
