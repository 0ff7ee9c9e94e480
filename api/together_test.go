package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/testenv"
)

// togetherBody is what POST /query answers.
type togetherBody struct {
	Position string
	Results  []struct {
		Name  string
		Found bool
		Data  json.RawMessage
	}
}

// together asks several queries at once, and checks that the answer is a complete one.
func (s *site) together(body string, headers ...string) (response, togetherBody) {
	s.t.Helper()
	r := s.do(http.MethodPost, "/query", body, headers...)
	return r, s.parse(r)
}

func (s *site) parse(r response) togetherBody {
	s.t.Helper()
	require.Equal(s.t, http.StatusOK, r.status, r.body)
	require.Contains(s.t, r.header.Get("Content-Type"), "application/json")
	require.Equal(s.t, "no-store", r.header.Get("Cache-Control"), "it is an answer to a POST")
	require.Regexp(s.t, `^\d+$`, r.header.Get("Age"))
	var b togetherBody
	require.NoError(s.t, json.Unmarshal([]byte(r.body), &b), r.body)
	require.Regexp(s.t, `^[0-9A-F]+/[0-9A-F]+$`, b.Position)
	require.Equal(s.t, r.header.Get("Freshet-Position"), b.Position)
	return b
}

// titles are those of the blogs among the results.
func (s *site) titles(b togetherBody) []string {
	s.t.Helper()
	var all []string
	for _, r := range b.Results {
		if r.Name == "blog_by_id" {
			all = append(all, s.field(response{body: string(r.Data)}, "title").(string))
		}
	}
	return all
}

// Each query is answered as its own route would answer it, in the order in which they were asked, and shares its entry with it.
func TestTogether(t *testing.T) {
	s := startAhead(t)
	const body = `{"queries": [
		{"name": "blog_list", "params": {"limit": 2}}, {"name": "blog_by_id", "params": {"id": 3}}, {"name": "blog_by_id", "params": {"id": 99}},
		{"name": "quiz_list"}, {"name": "user_dashboard", "params": {"user_id": "1"}}, {"name": "blog_by_id", "params": {"id": 1}}]}`
	routes := []string{"/blogs?limit=2", "/blogs/3", "/blogs/99", "/quizzes", "/users/1/dashboard", "/blogs/1"}
	names := []string{"blog_list", "blog_by_id", "blog_by_id", "quiz_list", "user_dashboard", "blog_by_id"}

	before := testenv.Value[string](t, s.db, "SELECT pg_current_wal_insert_lsn()::text")
	first, got := s.together(body)
	require.Equal(t, stored, first.cacheStatus())
	require.GreaterOrEqual(t, position(t, got.Position), position(t, before), "where the WAL ended")
	require.Less(t, position(t, got.Position), position(t, "F/10"))
	require.Len(t, got.Results, len(names))
	for i, result := range got.Results {
		require.Equal(t, names[i], result.Name)
		require.Equal(t, routes[i] != "/blogs/99", result.Found)
		alone := s.get(routes[i])
		require.Equal(t, hit, alone.cacheStatus(), routes[i])
		if result.Found {
			require.JSONEq(t, alone.body, string(result.Data))
		} else {
			require.Equal(t, "null", string(result.Data))
			require.Equal(t, http.StatusNotFound, alone.status)
		}
	}

	second, again := s.together(body)
	require.Equal(t, hit, second.cacheStatus())
	require.Regexp(t, `; ttl=(300|29\d|600|59\d);`, second.header.Get("Cache-Status"))
	require.Equal(t, "F/10", again.Position, "of the watermark")
	require.Equal(t, got.Results, again.Results)

	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id = 3")
	s.invalidate("3", position(t, "F/20"))
	third, news := s.together(body)
	require.Equal(t, stored, third.cacheStatus())
	require.Equal(t, []string{"New", "Title 1"}, s.titles(togetherBody{Results: append(news.Results[1:2:2], news.Results[5])}))
}

// The answer's ttl is that of the entry which ends first.
func TestTogetherEndsWithItsFirst(t *testing.T) {
	s := startAhead(t, func(o *options) {
		o.files = fstest.MapFS{"brief.sql": {Data: []byte("-- name: brief\n-- route: GET /brief\n-- result: one\n-- ttl: 1m\nSELECT title FROM blogs WHERE id = 1")}}
	})
	const body = `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}, {"name": "brief"}]}`
	s.together(body)
	r, _ := s.together(body)
	require.Equal(t, hit, r.cacheStatus())
	require.Regexp(t, `; ttl=(60|5\d);`, r.header.Get("Cache-Status"))
}

// pausedFile is a read that waits until nobody holds the advisory lock. It may run in a transaction that only reads.
const pausedFile = `-- name: paused
-- route: GET /paused/{key}
-- param: key bigint
-- result: one
-- depends: blogs(id = 1)
SELECT :key AS key, wait_for_lock(:key) AS got`

// All queries see one snapshot: a transaction that commits between two of them is seen by neither.
func TestTogetherIsOneSnapshot(t *testing.T) {
	for name, body := range map[string]string{
		"between two queries": `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}, {"name": "paused", "params": {"key": 7}},
			{"name": "blog_by_id", "params": {"id": 2}}]}`,
		"during the first": `{"queries": [{"name": "paused", "params": {"key": 7}}, {"name": "blog_by_id", "params": {"id": 1}},
			{"name": "blog_by_id", "params": {"id": 2}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := startAhead(t, func(o *options) { o.files = fstest.MapFS{"paused.sql": {Data: []byte(pausedFile)}} })
			unlock := s.lock(7)
			var g errgroup.Group
			var r response
			g.Go(func() (err error) {
				r, err = s.try(http.MethodPost, "/query", body)
				return err
			})
			s.waiting(1)
			s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id IN (1, 2)")
			after := testenv.Value[string](t, s.db, "SELECT pg_current_wal_insert_lsn()::text")
			unlock()
			require.NoError(t, g.Wait())
			got := s.parse(r)
			require.Equal(t, []string{"Title 1", "Title 2"}, s.titles(got))
			if name == "between two queries" {
				require.Less(t, position(t, got.Position), position(t, after), "nothing at this position is in the answer")
			}
			s.invalidate("1", position(t, "F/20"))
			s.invalidate("2", position(t, "F/30"))
			_, got = s.together(body)
			require.Equal(t, []string{"New", "New"}, s.titles(got))
		})
	}
}

// Entries that are valid, each by itself, show half of a transaction while what clears one of them is on its way.
func TestTogetherDoesNotMixMoments(t *testing.T) {
	s := startAhead(t)
	const body = `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}, {"name": "blog_by_id", "params": {"id": 2}}]}`
	s.get("/blogs/1")
	s.applied(testenv.Value[string](t, s.db, "SELECT pg_current_wal_insert_lsn()::text"))
	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id IN (1, 2)")
	require.Equal(t, "New", s.field(s.get("/blogs/2"), "title"))
	require.Equal(t, "Title 1", s.field(s.get("/blogs/1"), "title"), "within its bound")

	r, got := s.together(body)
	require.Equal(t, stored, r.cacheStatus())
	require.Equal(t, []string{"New", "New"}, s.titles(got))
	s.applied(got.Position)
	r, got = s.together(body)
	require.Equal(t, hit, r.cacheStatus())
	require.Equal(t, []string{"New", "New"}, s.titles(got))
}

// The request says how fresh all of the answers must be, with the same words as any read.
func TestTogetherAsksForFreshness(t *testing.T) {
	s := startAhead(t)
	const body = `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}, {"name": "blog_by_id", "params": {"id": 2}}]}`
	s.problem(s.do(http.MethodPost, "/query", body, "Cache-Control: only-if-cached"), http.StatusGatewayTimeout, "/query")
	s.together(body)
	for _, tt := range []struct{ header, want string }{
		{"Cache-Control: only-if-cached", hit},
		{"Cache-Control: no-cache", hit}, // the watermark is far ahead
		{"Freshet-Position: F/10", hit},
		{"Freshet-Position: F/11", stored},
		{"Cache-Control: no-store", bypass + "no-store"},
	} {
		r, got := s.together(body, tt.header)
		require.Equal(t, tt.want, r.cacheStatus(), tt.header)
		require.Equal(t, []string{"Title 1", "Title 2"}, s.titles(got))
	}
	r := s.do(http.MethodPost, "/query", body, "Freshet-Position: soon")
	require.Contains(t, s.problem(r, http.StatusBadRequest, "/query").Detail, "Freshet-Position is malformed")
	s.setWatermark(time.Now().Add(-2 * time.Hour)) // the bound is an hour
	r, _ = s.together(body)
	require.Equal(t, bypass+"watermark-stale", r.cacheStatus())
	require.NoError(t, s.redis.FlushAll(t.Context()).Err())
	r, _ = s.together(body)
	require.Equal(t, bypass+"no-watermark", r.cacheStatus())
}

// A hit says how old its watermark is.
func TestTogetherSaysItsAge(t *testing.T) {
	s := startAhead(t)
	const body = `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}]}`
	s.setWatermark(time.Now().Add(-30 * time.Second))
	s.applied("F/10")
	miss, _ := s.together(body)
	require.Equal(t, "0", miss.header.Get("Age"))
	r, _ := s.together(body)
	require.Equal(t, hit, r.cacheStatus())
	require.Regexp(t, `^[34]\d$`, r.header.Get("Age"))
}

// A body that is not what it should be is refused, and the detail says which part of it is wrong; nothing is run or cached.
func TestTogetherBadBodies(t *testing.T) {
	s := startAhead(t)
	many := func(n int) string {
		return `{"queries": [` + strings.TrimSuffix(strings.Repeat(`{"name": "quiz_list"},`, n), ",") + `]}`
	}
	for _, tt := range []struct{ name, body, say string }{
		{"empty", "", "the body must be"},
		{"not JSON", "blog_by_id", "the body must be"},
		{"cut off", `{"queries": [{"name": "quiz_list"}`, "unexpected EOF"},
		{"a list", `[{"name": "quiz_list"}]`, "the body must be"},
		{"queries is no list", `{"queries": {"name": "quiz_list"}}`, "the body must be"},
		{"an unknown member", `{"querys": []}`, `unknown field "querys"`},
		{"an unknown member of a query", `{"queries": [{"name": "quiz_list", "parameters": {}}]}`, `unknown field "parameters"`},
		{"null", "null", "queries must have 1 to 50 elements, it has 0"},
		{"none", `{"queries": []}`, "queries must have 1 to 50 elements, it has 0"},
		{"too many", many(51), "queries must have 1 to 50 elements, it has 51"},
		{"another object", many(1) + many(1), "goes on behind"},
		{"a word behind it", many(1) + " x", "goes on behind"},
		{"a brace too many", many(1) + "}", "goes on behind"},
		{"a bracket too many", many(1) + " ]", "goes on behind"},
		{"an unknown query", `{"queries": [{"name": "quiz_list"}, {"name": "quizlist"}]}`, `queries[1]: there is no read named "quizlist"`},
		{"no name", `{"queries": [{"params": {}}]}`, `queries[0]: there is no read named ""`},
		{"a write", `{"queries": [{"name": "blog_delete", "params": {"id": 1}}]}`, `queries[0]: there is no read named "blog_delete"`},
		{
			"an unknown parameter", `{"queries": [{"name": "quiz_list"}, {"name": "blog_list", "params": {"limti": 1}}]}`,
			`queries[1] (blog_list): limti: there is no such parameter; did you mean "limit"`,
		},
		{"a wrong type", `{"queries": [{"name": "blog_by_id", "params": {"id": "x"}}]}`, "queries[0] (blog_by_id): id: must be an integer"},
		{"a wrong kind", `{"queries": [{"name": "blog_by_id", "params": {"id": [1]}}]}`, "queries[0] (blog_by_id): id: must be an integer"},
		{"out of bounds", `{"queries": [{"name": "blog_by_id", "params": {"id": 0}}]}`, "queries[0] (blog_by_id): id: must be"},
		{"null as a value", `{"queries": [{"name": "blog_by_id", "params": {"id": null}}]}`, "queries[0] (blog_by_id): id: must not be null"},
		{"a missing parameter", `{"queries": [{"name": "blog_by_id"}]}`, "queries[0] (blog_by_id): id: is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.do(http.MethodPost, "/query", tt.body)
			require.Contains(t, s.problem(r, http.StatusBadRequest, "/query").Detail, tt.say)
			require.Empty(t, r.header.Get("Cache-Status"))
		})
	}
	tooLong := s.do(http.MethodPost, "/query", many(1)+strings.Repeat(" ", 65<<10))
	s.problem(tooLong, http.StatusRequestEntityTooLarge, "/query")
	keys, err := s.redis.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{"freshet:watermark"}, keys)

	_, got := s.together(many(50) + "\n")
	require.Len(t, got.Results, 50, "and what is right is not refused")
}

// One query that fails is a failure of all: half an answer would be of no use. Its text, and Postgres's, are not shown.
func TestTogetherFailsAsAWhole(t *testing.T) {
	s := startAhead(t, func(o *options) {
		o.files = fstest.MapFS{"broken.sql": {Data: []byte("-- name: broken\n-- route: GET /broken\n-- result: one\n-- depends: blogs(id = 1)\n" +
			"SELECT next_call() AS call")}} // nextval is not for a transaction that only reads
	})
	r := s.do(http.MethodPost, "/query", `{"queries": [{"name": "blog_by_id", "params": {"id": 1}}, {"name": "broken"}]}`)
	require.NotContains(t, s.problem(r, http.StatusInternalServerError, "/query").Detail, "nextval")
	require.Equal(t, stored, s.get("/blogs/1").cacheStatus(), "nothing was cached")
}
