package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Errors that are none of a query's are problems too.
func TestRoutingProblems(t *testing.T) {
	s := start(t)
	r := s.get("/nothing")
	s.problem(r, http.StatusNotFound, "/nothing")
	require.Equal(t, "no-store", r.header.Get("Cache-Control"), "tomorrow there may be such a route")
	r = s.write(http.MethodPut, "/blogs/1", "{}")
	s.problem(r, http.StatusMethodNotAllowed, "/blogs/1")
	for _, method := range []string{"GET", "HEAD", "PATCH", "DELETE"} {
		require.Contains(t, r.header.Get("Allow"), method)
	}
}

// What Postgres says about a query that broke is for the log only: it can show data.
func TestInternalErrorsTellNothing(t *testing.T) {
	s := start(t)
	s.db.Exec(t, "ALTER TABLE quizzes RENAME COLUMN topic TO secret_topic")
	r := s.get("/quizzes")
	p := s.problem(r, http.StatusInternalServerError, "/quizzes")
	require.Equal(t, "an internal error; the log has it under this request id", p.Detail)
	require.NotContains(t, r.body, "topic")
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.Equal(t, http.StatusOK, s.get("/blogs").status, "the others work")
}

// A request id that is fit for a log is kept; any other is replaced.
func TestRequestID(t *testing.T) {
	s := start(t)
	for _, id := range []string{"abc-1", "0af7651916cd43dd8448eb211c80319c", strings.Repeat("x", 64)} {
		for _, path := range []string{"/blogs/1", "/nothing", "/health"} {
			require.Equal(t, id, s.get(path, "X-Request-ID: "+id).header.Get("X-Request-ID"), path)
		}
	}
	for _, id := range []string{"", "a b", "a\tb", "é", strings.Repeat("x", 65)} {
		require.Regexp(t, `^[A-Z2-7]{20}$`, s.get("/blogs/1", "X-Request-ID: "+id).header.Get("X-Request-ID"), id)
	}
	first, second := s.get("/"), s.get("/")
	require.NotEqual(t, first.header.Get("X-Request-ID"), second.header.Get("X-Request-ID"))
}
