package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/api"
	"freshet/cache"
	"freshet/internal/testenv"
)

const admin = "Authorization: Bearer " + token

// schema compiles a part of what /performance/schema answers.
func (s *site) schema(part string) *jsonschema.Schema {
	s.t.Helper()
	r := s.get("/performance/schema")
	require.Equal(s.t, http.StatusOK, r.status)
	require.Equal(s.t, "application/schema+json", r.header.Get("Content-Type"))
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	require.NoError(s.t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(s.t, c.AddResource("http://freshet/performance/schema", text))
	schema, err := c.Compile("http://freshet/performance/schema#/$defs/" + part)
	require.NoError(s.t, err)
	return schema
}

// valid requires that an answer is one of the schema's part, and reads it.
func (s *site) valid(part string, r response, into any) {
	s.t.Helper()
	require.Equal(s.t, http.StatusOK, r.status, r.body)
	require.Equal(s.t, "no-store", r.header.Get("Cache-Control"))
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	require.NoError(s.t, err)
	require.NoError(s.t, s.schema(part).Validate(value), r.body)
	d := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	require.NoError(s.t, d.Decode(into))
}

// told is a status of an invalidator.
func told(instance string, cleared uint64) *cache.InvalidatorStatus {
	now := time.Now()
	return &cache.InvalidatorStatus{
		Instance: instance, Source: "main", Began: now.Add(-time.Minute), At: now,
		Log:           &cache.LogStatus{Stream: "cdc_main", Messages: 12, Bytes: 3456, LastSequence: 12, LastPosition: "0/10", LagMessages: 2, LagSeconds: 0.5},
		Applied:       cache.AppliedStatus{Sequence: 10, Position: "0/8", At: now},
		ClearsByTable: map[string]uint64{"public.blogs": cleared}, ClearsByReason: map[string]uint64{"gap": 1},
		CommitToCleared: cache.LatencyStatus{Seconds: 60, Count: 3, P50MS: 2, P99MS: 9}, ChainBreaks: 1,
		TopTags: []cache.TagCount{{Tag: "public.blogs:id=1", Count: 5, Error: 1}},
		Verify:  &cache.VerifyStatus{Checked: 10, Cleared: 4, Overcleared: 1},
	}
}

type cacheFigures struct {
	Answers  uint64            `json:"answers"`
	Hits     uint64            `json:"hits_redis"`
	Misses   uint64            `json:"misses"`
	Bypasses uint64            `json:"bypasses"`
	Reasons  map[string]uint64 `json:"bypass_reasons"`
	HitRate  *float64          `json:"hit_rate"`
}

type performanceFigures struct {
	Pool      struct{ Max int }
	Watermark *struct{ Sequence uint64 }
	Redis     *struct {
		Version string
		Memory  int64 `json:"memory_bytes"`
	}
	NATS *struct {
		Stream       struct{ Messages uint64 }
		Invalidators []struct {
			Instance string
			Lag      struct{ Messages uint64 }
		}
	}
	System *struct {
		Process struct{ Goroutines uint64 }
		Machine struct {
			Cores  int
			Memory uint64 `json:"memory_bytes"`
		}
	}
	Windows []struct {
		Minutes int
		Total   struct {
			Requests uint64
			Cache    cacheFigures
		}
		Routes []struct {
			Method, Path, Query string
			Requests, Errors    uint64
			Bytes               uint64
			P50                 float64 `json:"p50_ms"`
			P99                 float64 `json:"p99_ms"`
			Max                 float64 `json:"max_ms"`
			Cache               *cacheFigures
		}
		Pool *struct {
			Max int `json:"in_use_max"`
		}
	}
}

// What is measured is what happened, and every answer is as the schema says.
func TestPerformanceMetrics(t *testing.T) {
	s := start(t)
	bodies := 0
	for range 4 {
		r := s.get("/blogs/1")
		require.Equal(t, http.StatusOK, r.status)
		bodies += len(r.body)
	}
	bodies += len(s.get("/blogs/1", "Cache-Control: no-store").body)
	bodies += len(s.get("/blogs/999").body)
	require.Equal(t, http.StatusBadRequest, s.get("/blogs/x").status)

	var m performanceFigures
	testenv.Eventually(t, patience, func() (bool, string) {
		require.NoError(t, s.store.WriteStatus(t.Context(), told("A", 7)))
		r := s.get("/performance/metrics", admin)
		s.valid("metrics", r, &m)
		return m.NATS != nil && m.Watermark != nil, r.body
	})
	require.EqualValues(t, 12, m.NATS.Stream.Messages)
	require.Equal(t, "A", m.NATS.Invalidators[0].Instance)
	require.EqualValues(t, 2, m.NATS.Invalidators[0].Lag.Messages)
	require.Equal(t, 20, m.Pool.Max)
	require.Equal(t, s.state.Sequence, m.Watermark.Sequence)
	require.NotEmpty(t, m.Redis.Version)
	require.Positive(t, m.Redis.Memory)
	require.Positive(t, m.System.Process.Goroutines)
	require.Positive(t, m.System.Machine.Cores)
	require.Positive(t, m.System.Machine.Memory)
	require.Len(t, m.Windows, 3)
	for i, minutes := range []int{1, 5, 60} {
		w := m.Windows[i]
		require.Equal(t, minutes, w.Minutes)
		require.NotNil(t, w.Pool)
		require.EqualValues(t, 6, w.Total.Cache.Answers)
		found := false
		for _, r := range w.Routes {
			if r.Path != "/blogs/:id" || r.Method != http.MethodGet {
				continue
			}
			found = true
			require.Equal(t, "blog_by_id", r.Query)
			require.EqualValues(t, 7, r.Requests)
			require.Zero(t, r.Errors)
			require.GreaterOrEqual(t, r.Bytes, uint64(bodies))
			require.Positive(t, r.P50)
			require.LessOrEqual(t, r.P50, r.P99)
			require.LessOrEqual(t, r.P99, r.Max*1.04)
			require.Equal(t, cacheFigures{
				Answers: 6, Hits: 3, Misses: 2, Bypasses: 1, Reasons: map[string]uint64{"no-store": 1}, HitRate: r.Cache.HitRate,
			}, *r.Cache)
			require.InDelta(t, 0.5, *r.Cache.HitRate, 1e-9)
		}
		require.True(t, found)
	}
}

type cacheStatsFigures struct {
	Queries []struct {
		Query   string
		Windows []struct {
			Minutes int
			cacheFigures
		}
	}
	Contents *struct {
		Estimate         bool
		Buckets, Entries int64
		Bytes            *int64
	}
	Evictions *struct{ Policy string }
	Clears    *struct {
		Tables []struct {
			Table   string
			Buckets uint64
			Windows []struct {
				Minutes int
				Buckets int64
			}
		}
		Everything map[string]uint64
	}
	Over *struct {
		Cleared, Overcleared int64
		Ratio                *float64
	} `json:"over_clearing"`
	Top struct {
		Stride       int `json:"hit_stride"`
		Hits, Clears []struct {
			Bucket string
			Count  uint64
		}
	} `json:"top_buckets"`
}

func TestPerformanceCacheStats(t *testing.T) {
	s := start(t)
	var c cacheStatsFigures
	s.valid("cache_stats", s.get("/performance/cache/stats", admin), &c)
	require.Nil(t, c.Over, "nobody verifies")
	require.Nil(t, c.Clears)
	require.Empty(t, c.Top.Hits)

	// Enough hits that one in 64 of them is a good many, whatever the draw.
	for range 64 * 15 {
		require.Equal(t, http.StatusOK, s.get("/blogs/1").status)
	}
	// The first that is seen of an invalidator was cleared before; what comes then counts.
	cleared := uint64(100)
	testenv.Eventually(t, patience, func() (bool, string) {
		require.NoError(t, s.store.WriteStatus(t.Context(), told("A", cleared)))
		r := s.get("/performance/cache/stats", admin)
		s.valid("cache_stats", r, &c)
		if c.Clears != nil {
			cleared = 107
		}
		return c.Clears != nil && c.Clears.Tables[0].Buckets == 107, r.body
	})
	require.Equal(t, "public.blogs", c.Clears.Tables[0].Table)
	for _, w := range c.Clears.Tables[0].Windows {
		require.EqualValues(t, 7, w.Buckets)
	}
	require.Equal(t, map[string]uint64{"gap": 1}, c.Clears.Everything)
	require.EqualValues(t, 4, c.Over.Cleared)
	require.InDelta(t, 0.25, *c.Over.Ratio, 1e-9)
	require.NotEmpty(t, c.Evictions.Policy)
	require.Equal(t, 64, c.Top.Stride)
	require.Equal(t, "freshet:public.blogs:id=1", c.Top.Hits[0].Bucket)
	require.InEpsilon(t, 64*15, c.Top.Hits[0].Count, 0.95)
	require.Equal(t, "freshet:public.blogs:id=1", c.Top.Clears[0].Bucket)
	require.NotNil(t, c.Contents)
	require.False(t, c.Contents.Estimate)
	for _, q := range c.Queries {
		if q.Query == "blog_by_id" {
			require.EqualValues(t, 64*15, q.Windows[2].Answers)
			require.EqualValues(t, 1, q.Windows[2].Misses)
		}
	}
}

func TestPerformanceRecommendations(t *testing.T) {
	s := start(t)
	for i := range 30 { // no two alike: the cache cannot help
		s.get(fmt.Sprintf("/blogs?limit=%d", i+1))
	}
	var first, second struct {
		At       time.Time
		Missing  []string
		Findings []struct {
			ID string
		}
	}
	r := s.get("/performance/optimization/recommendations", admin)
	s.valid("recommendations", r, &first)
	require.Empty(t, first.Missing)
	require.NotEmpty(t, first.Findings, "the example's list depends on the whole table, which is one")
	s.valid("recommendations", s.get("/performance/optimization/recommendations", admin), &second)
	require.Equal(t, first.At, second.At, "not looked for again")
	text := s.get("/performance/optimization/recommendations?format=text", admin)
	require.Contains(t, text.body, first.Findings[0].ID)
	require.Contains(t, text.header.Get("Content-Type"), "text/plain")
	s.problem(s.get("/performance/optimization/recommendations?format=xml", admin), http.StatusBadRequest, "/performance/optimization/recommendations")
}

func TestPerformanceNeedsTheToken(t *testing.T) {
	paths := []string{"/performance/metrics", "/performance/cache/stats", "/performance/optimization/recommendations"}
	const clearPath = "/performance/cache/clear"
	for _, test := range []struct {
		name            string
		edit            func(*api.Config)
		headers         []string
		read, cleared   int
		wantsChallenges bool
	}{
		{"without", nil, nil, http.StatusUnauthorized, http.StatusUnauthorized, true},
		{"wrong", nil, []string{"Authorization: Bearer no"}, http.StatusUnauthorized, http.StatusUnauthorized, true},
		{"right", nil, []string{admin}, http.StatusOK, http.StatusOK, false},
		{"open", func(c *api.Config) { c.HealthOpen = true }, nil, http.StatusOK, http.StatusUnauthorized, false},
		{"none", func(c *api.Config) { c.AdminToken = "" }, []string{admin}, http.StatusForbidden, http.StatusForbidden, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(o *options) {
				if test.edit != nil {
					test.edit(&o.api)
				}
			})
			for _, path := range paths {
				r := s.get(path, test.headers...)
				require.Equal(t, test.read, r.status, path)
				require.Equal(t, test.wantsChallenges, r.header.Get("WWW-Authenticate") != "", path)
			}
			require.Equal(t, test.cleared, s.do(http.MethodPost, clearPath, `{"everything":true}`, test.headers...).status)
			require.Equal(t, http.StatusMethodNotAllowed, s.get(clearPath, test.headers...).status)
			require.Equal(t, http.StatusOK, s.get("/performance/schema").status)
		})
	}
}

// What is cleared is read from Postgres again; everything else stays.
func TestClear(t *testing.T) {
	s := start(t)
	for _, test := range []struct {
		body    string
		cleared int
		gone    []string
	}{
		{`{"everything":true}`, 4, []string{"/blogs/1", "/blogs/2", "/blogs/slug/slug-1", "/quizzes"}},
		{`{"table":"public.blogs"}`, 3, []string{"/blogs/1", "/blogs/2", "/blogs/slug/slug-1"}},
		{`{"query":"blog_by_id"}`, 2, []string{"/blogs/1", "/blogs/2"}},
		{`{"tag":"public.blogs:id=2"}`, 1, []string{"/blogs/2"}},
		{`{"tag":"freshet:public.blogs:id=77"}`, 0, nil},
		{`{"pattern":"public.blogs:*=slug-1"}`, 1, []string{"/blogs/slug/slug-1"}},
		{`{"pattern":"watermark"}`, 0, nil},
	} {
		t.Run(test.body, func(t *testing.T) {
			s.t = t
			paths := []string{"/blogs/1", "/blogs/2", "/blogs/slug/slug-1", "/quizzes"}
			for _, path := range paths {
				s.get(path)
				require.Equal(t, hit, s.get(path).cacheStatus(), path)
			}
			var answer struct {
				Target, Name string
				Cleared      int
			}
			s.valid("clear", s.do(http.MethodPost, "/performance/cache/clear", test.body, admin, "X-Request-ID: the-one-who-cleared"), &answer)
			require.Equal(t, test.cleared, answer.Cleared)
			require.Contains(t, test.body, answer.Target)
			for _, path := range paths {
				want := hit
				for _, gone := range test.gone {
					if gone == path {
						want = stored
					}
				}
				require.Equal(t, want, s.get(path).cacheStatus(), path)
			}
		})
	}
	require.Equal(t, 7, s.log.count("cache cleared by request"))
	require.Equal(t, 7, s.log.count("request_id=the-one-who-cleared remote=127.0.0.1:"))
	require.Equal(t, 1, s.log.count("target=query name=blog_by_id cleared=2"))
}

func TestClearRefuses(t *testing.T) {
	s := start(t)
	for body, detail := range map[string]string{
		``:                                     "the body must be one of",
		`[]`:                                   "the body must be one of",
		`{}`:                                   "it has 0 of them",
		`{"everything":false}`:                 "everything can only be true",
		`{"everything":"yes"}`:                 "the body must be one of",
		`{"all":true}`:                         "unknown field",
		`{"everything":true} {}`:               "behind",
		`{"everything":true,"table":"a.b"}`:    "it has 2 of them",
		`{"table":"blogs"}`:                    "needs its schema",
		`{"table":"public.blogs:id=1"}`:        "is no table",
		`{"query":"nobody"}`:                   "there is no read named",
		`{"query":"blog_create"}`:              "there is no read named",
		`{"tag":"public.blogs"}`:               "a colon must follow",
		`{"tag":"watermark"}`:                  "a colon must follow",
		`{"pattern":""}`:                       "is empty",
		`{"pattern":"a b"}`:                    "a space",
		`{"pattern":"*a*b*c*d*e*f*g*h*i"}`:     "more than 8 wildcards",
		`{"tag":"` + strings.Repeat("a", 3000): "the body must be one of",
		`{"tag":"a.b:c=` + strings.Repeat("a", 3000) + `"}`: "longer than",
	} {
		r := s.do(http.MethodPost, "/performance/cache/clear", body, admin)
		require.Contains(t, s.problem(r, http.StatusBadRequest, "/performance/cache/clear").Detail, detail, body)
	}
	require.Zero(t, s.log.count("cache cleared by request"))
}

// Somebody clears all the time, in every way, while a row is written and read: no read is staler than it may be.
func TestClearWhileReadsAndFillsRun(t *testing.T) {
	s := startBehind(t)
	ways := []string{
		`{"everything":true}`, `{"table":"public.blogs"}`, `{"query":"blog_by_id"}`, `{"tag":"public.blogs:id=1"}`, `{"pattern":"public.blogs:id=*"}`,
	}
	var committed, applied, hits, filled, clears atomic.Int64
	var all sync.WaitGroup
	done := make(chan struct{})
	failed := make(chan error, 16)
	loop := func(do func(n int) error) {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if err := do(n); err != nil {
					select {
					case failed <- err:
					default:
					}
					return
				}
			}
		})
	}
	read := func(least *atomic.Int64, headers ...string) func(int) error {
		return func(int) error {
			before := least.Load()
			r, err := s.try(http.MethodGet, "/blogs/1", "", headers...)
			if err != nil {
				return err
			}
			var blog struct{ Views int64 }
			if err := json.Unmarshal([]byte(r.body), &blog); err != nil {
				return fmt.Errorf("%d %s: %w", r.status, r.body, err)
			}
			if blog.Views < before {
				return fmt.Errorf("%v: read %d, though %d had been written (%s)", headers, blog.Views, before, r.cacheStatus())
			}
			if r.cacheStatus() == hit {
				hits.Add(1)
			} else {
				filled.Add(1)
			}
			return nil
		}
	}
	for range 3 {
		loop(read(&committed, "Cache-Control: no-cache"))
		loop(read(&applied)) // bounded: at least what was applied when it was asked
	}
	loop(func(n int) error {
		r, err := s.try(http.MethodPost, "/performance/cache/clear", ways[n%len(ways)], admin)
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("clear: %d %s", r.status, r.body)
		}
		clears.Add(1)
		return err
	})
	tag := cache.NewShape("public", "blogs", "id").Tag("1")
	deadline := time.Now().Add(patience)
	for n := int64(1); ; n++ {
		s.db.Exec(t, fmt.Sprintf("UPDATE blogs SET views = %d WHERE id = 1", n))
		committed.Store(n)
		s.apply(s.end(), tag)
		applied.Store(n)
		if len(failed) > 0 || time.Now().After(deadline) ||
			n >= 200 && clears.Load() >= 100 && hits.Load() >= 100 && filled.Load() >= 100 {
			break
		}
	}
	close(done)
	all.Wait()
	select {
	case err := <-failed:
		require.NoError(t, err)
	default:
	}
	require.GreaterOrEqual(t, clears.Load(), int64(100))
	require.GreaterOrEqual(t, hits.Load(), int64(100))
	require.GreaterOrEqual(t, filled.Load(), int64(100))
}

// No answer waits for Redis or Postgres.
func TestPerformanceAsksNobody(t *testing.T) {
	s := start(t)
	testenv.Eventually(t, patience, func() (bool, string) {
		r := s.get("/performance/metrics", admin)
		return !strings.Contains(r.body, `"sampled_at":null`), r.body
	})
	require.NoError(t, s.server.Server.Signal(syscall.SIGSTOP))
	defer func() { require.NoError(t, s.server.Server.Signal(syscall.SIGCONT)) }()
	for _, path := range []string{"/performance/metrics", "/performance/cache/stats"} {
		began := time.Now()
		require.Equal(t, http.StatusOK, s.get(path, admin).status)
		require.Less(t, time.Since(began), 150*time.Millisecond, path) // a question to Redis would take its timeout of 200 ms
	}
	r := s.do(http.MethodPost, "/performance/cache/clear", `{"everything":true}`, admin)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.NotContains(t, r.body, "127.0.0.1")
}

// heldFile is a read of a blog's views whose statement waits, with its snapshot, until nobody holds the advisory lock.
const heldFile = `-- name: held
-- route: GET /held/{key}
-- param: key bigint
-- result: one
-- depends: blogs(id = 1)
SELECT views, wait_for_lock(:key) AS got FROM blogs WHERE id = 1`

// A fill that has seen the old row lands after the row was written, cleared by the change, and cleared by somebody: nobody is answered it.
func TestClearBeforeALateFill(t *testing.T) {
	s := start(t, func(o *options) { o.files = fstest.MapFS{"held.sql": {Data: []byte(heldFile)}} })
	clearAll := func() {
		t.Helper()
		require.Equal(t, http.StatusOK, s.get("/blogs/1").status) // the bucket is there
		r := s.do(http.MethodPost, "/performance/cache/clear", `{"everything":true}`, admin)
		require.JSONEq(t, `{"target":"everything","cleared":1}`, r.body)
	}
	clearAll()
	unlock := s.lock(7)
	var late errgroup.Group
	late.Go(func() error {
		_, err := s.try(http.MethodGet, "/held/7", "")
		return err
	})
	s.waiting(1)
	s.db.Exec(t, "UPDATE blogs SET views = 99 WHERE id = 1")
	s.apply(s.state.Position, cache.NewShape("public", "blogs", "id").Tag("1"))
	clearAll()
	unlock()
	require.NoError(t, late.Wait())
	r := s.get("/held/7")
	require.InDelta(t, 99, s.field(r, "views"), 0)
	require.Equal(t, stored, r.cacheStatus())
	require.Equal(t, hit, s.get("/held/7").cacheStatus())
}
