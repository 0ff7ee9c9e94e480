package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

const warmPath = "/performance/cache/warm"

// warmUp is what a test looks at of an answer.
type warmUp struct {
	State                    string
	Pairs                    *int64
	Changes, Filled, Skipped int64
	Failed                   map[string]int64
	Asked                    *struct{ Since string }
	Waiting, Error           *string
	Concurrency              *int
	BeganAt                  *time.Time `json:"began_at"`
	EndedAt                  *time.Time `json:"ended_at"`
	Seconds, Rate            *float64
}

// withLog gives the api a log, in which the blogs with these ids were inserted.
func withLog(t *testing.T, ids ...int) func(*options) {
	t.Helper()
	js := testenv.NATS(t).JetStream(t)
	_, err := events.EnsureStream(t.Context(), js, events.StreamSettings{Source: "main"})
	require.NoError(t, err)
	b := events.Builder{Source: "main"}
	b.Begin(0x100, 1, time.Now(), 0)
	for _, id := range ids {
		row := events.Row{
			{Name: "id", Value: fmt.Sprint(id)}, {Name: "slug", Value: fmt.Sprint("slug-", id)}, {Name: "author", Value: "ada"}, {Name: "status", Value: "draft"},
		}
		require.Nil(t, b.Add(events.Table{Schema: "public", Name: "blogs", Identity: "full"}, &events.Change{Op: events.Insert, New: row}))
	}
	_, err = js.PublishMsg(t.Context(), b.Flush(true).Message("main", "s1"))
	require.NoError(t, err)
	return func(o *options) {
		o.api.JetStream, o.api.Source = js, "main"
		o.prepare = func(db *testenv.Database) {
			db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ('main', 'test')") // as a cdc of that source does
		}
	}
}

// warmed is the answer of GET, which must be one of the schema.
func (s *site) warmed() (w warmUp) {
	s.t.Helper()
	s.valid("warm", s.get(warmPath, admin), &w)
	return w
}

// untilWarmed waits until a warm-up is in a state.
func (s *site) untilWarmed(state string) (w warmUp) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() (bool, string) {
		w = s.warmed()
		return w.State == state, fmt.Sprintf("%+v", w)
	})
	return w
}

// What the log says was changed is cached afterwards, as users ask for it.
func TestWarmUp(t *testing.T) {
	s := start(t, withLog(t, 1, 2, 3, 1, 77))
	require.Equal(t, warmUp{State: "idle", Failed: map[string]int64{}}, s.warmed())
	r := s.do(http.MethodPost, warmPath, `{"queries": ["blog_by_id", "blog_list"], "rate": 100}`, admin)
	require.Equal(t, http.StatusAccepted, r.status, r.body)
	require.Equal(t, warmPath, r.header.Get("Location"))
	w := s.untilWarmed("done")
	require.Equal(t, int64(5), w.Changes)
	require.Equal(t, int64(5), *w.Pairs)
	require.Equal(t, int64(5), w.Filled, "%+v", w)
	require.Empty(t, w.Failed)
	require.Nil(t, w.Error)
	require.NotNil(t, w.EndedAt)
	for path, status := range map[string]int{"/blogs/1": 200, "/blogs/2": 200, "/blogs/3": 200, "/blogs/77": 404, "/blogs?status=draft": 200} {
		r := s.get(path)
		require.Equal(t, status, r.status)
		require.Equal(t, hit, r.cacheStatus(), path)
	}
	require.NotEqual(t, hit, s.get("/blogs/4").cacheStatus())
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, warmPath, "", admin).status)
	w = s.untilWarmed("done")
	require.Equal(t, int64(5), w.Skipped, "those are left alone: %+v", w)
	require.Equal(t, int64(4), w.Filled, "by their slugs")
	require.Equal(t, 2, s.log.count("the cache was warmed"))
	require.Equal(t, 2, s.log.count("a warm-up is begun by request"))
}

// While the connections are in use it waits, without a statement of its own; one warm-up at a time; and it ends when it is told to.
func TestWarmUpMakesRoom(t *testing.T) {
	s := start(t, withLocked, withLog(t, 1, 2, 3), func(o *options) { o.database.MaxConnections = 3 })
	unlock := s.lockAll(2)
	inside := []<-chan response{s.inBackground("/locked/0"), s.inBackground("/locked/1")}
	s.waiting(2)
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, warmPath, "", admin).status)
	testenv.Eventually(t, patience, func() (bool, string) {
		w := s.warmed()
		return w.Waiting != nil && *w.Waiting == "the connections to Postgres are in use", fmt.Sprintf("%+v", w)
	})
	p := s.problem(s.do(http.MethodPost, warmPath, "", admin), http.StatusConflict, warmPath)
	require.Contains(t, p.Detail, "a warm-up is under way")
	require.Zero(t, s.warmed().Filled)
	unlock()
	for _, answer := range inside {
		require.Equal(t, http.StatusOK, (<-answer).status)
	}
	w := s.untilWarmed("done")
	require.Equal(t, *w.Pairs, w.Filled)

	unlock = s.lockAll(4)
	inside = []<-chan response{s.inBackground("/locked/2"), s.inBackground("/locked/3")}
	s.waiting(2)
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, warmPath, "", admin).status)
	s.untilWarmed("filling")
	r := s.do(http.MethodDelete, warmPath, "", admin)
	s.valid("warm", r, &w)
	require.Equal(t, "ended", w.State)
	require.Equal(t, "context canceled", *w.Error)
	s.problem(s.do(http.MethodDelete, warmPath, "", admin), http.StatusConflict, warmPath)
	unlock()
	for _, answer := range inside {
		require.Equal(t, http.StatusOK, (<-answer).status)
	}
}

// Who may, and what is refused.
func TestWarmUpRefuses(t *testing.T) {
	s := start(t, withLog(t, 1))
	require.Equal(t, http.StatusUnauthorized, s.do(http.MethodPost, warmPath, "").status)
	require.Equal(t, http.StatusUnauthorized, s.do(http.MethodDelete, warmPath, "").status)
	require.Equal(t, http.StatusUnauthorized, s.get(warmPath).status)
	for body, want := range map[string]string{
		`{"table": "blogs"}`:                  "the body must be {",
		`{"top": 5} {}`:                       "goes on behind its JSON object",
		`{"top": 0.5}`:                        "the body must be {",
		`{"top": -5}`:                         "top must be 1 to",
		`{"rate": 0}`:                         "rate must be above 0",
		`{"concurrency": 1000}`:               "concurrency must be 1 to",
		`{"tables": ["blogz"]}`:               "there is no table that a query reads, public.blogz",
		`{"queries": ["blog_create"]}`:        "there is no read blog_create",
		`{"since": "soon"}`:                   "neither a duration",
		`{"since": "1h", "from_sequence": 3}`: "exclude one another",
	} {
		p := s.problem(s.do(http.MethodPost, warmPath, body, admin), http.StatusBadRequest, warmPath)
		require.Contains(t, p.Detail, want, body)
	}
	require.Equal(t, "idle", s.warmed().State)
	// What only the log can tell ends it.
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, warmPath, `{"from_position": "0/1"}`, admin).status)
	require.Contains(t, *s.untilWarmed("ended").Error, "does not reach back to position 0/1")

	without := start(t)
	p := without.problem(without.do(http.MethodPost, warmPath, "", admin), http.StatusServiceUnavailable, warmPath)
	require.Contains(t, p.Detail, "no connection to NATS")
	require.Equal(t, "idle", without.warmed().State)
}

// An api that is to be warm first says that it is not ready until it is; or until it has waited for long enough.
func TestReadyOnceWarm(t *testing.T) {
	withDeadline := func(d time.Duration) *site {
		return newSite(t, withLog(t, 1, 2), func(o *options) {
			o.api.MaxStaleness, o.api.HealthInterval = time.Hour, 100*time.Millisecond
			o.api.WarmOnStart, o.api.WarmDeadline = 1000, d
		})
	}
	ready := func(s *site, want int, text string) {
		t.Helper()
		testenv.Eventually(t, patience, func() (bool, string) {
			r := s.get("/health/ready")
			return r.status == want && strings.Contains(r.body, text), r.body
		})
	}
	s := withDeadline(time.Hour)
	ready(s, http.StatusServiceUnavailable, "the cache is being warmed") // there is no watermark: nothing can be cached yet
	s.setWatermark(time.Now())
	ready(s, http.StatusOK, "")
	require.Equal(t, "done", s.warmed().State)
	require.Equal(t, hit, s.get("/blogs/1").cacheStatus())

	s = withDeadline(500 * time.Millisecond)
	ready(s, http.StatusOK, "")
	require.NotEqual(t, "done", s.warmed().State)
	s.setWatermark(time.Now())
	require.Positive(t, s.untilWarmed("done").Filled, "it goes on")
}

// The body and the answer are as the schema says.
func TestWarmUpSchema(t *testing.T) {
	s := start(t, withLog(t, 1))
	body := map[string]any{
		"since": "2h", "tables": []any{"blogs"}, "queries": []any{"blog_by_id"}, "top": 5, "rate": 1.5, "concurrency": 2,
	}
	require.NoError(t, s.schema("warm_request").Validate(body))
	text, err := json.Marshal(body)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, warmPath, string(text), admin).status)
	w := s.untilWarmed("done")
	require.InDelta(t, 1.5, *w.Rate, 1e-9)
	require.Equal(t, 2, *w.Concurrency)
	require.Positive(t, *w.Seconds)
	require.NotNil(t, w.BeganAt)
	require.NotEqual(t, "2h", w.Asked.Since, "it is told as a time")
}
