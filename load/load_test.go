package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"freshet/example"
	"freshet/internal/testenv"
	"freshet/query"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func someSite() *site {
	s := &site{authors: []string{"a"}, tags: []string{"t"}, topics: []string{"o"}, quizzes: []int64{1, 2}}
	for id := range int64(2000) {
		s.blogs = append(s.blogs, blog{ID: id + 1, Slug: fmt.Sprint("slug-", id), Title: "T (revision 7) (revision 8)"})
	}
	for id := range int64(500) {
		s.users = append(s.users, id+1)
	}
	return s
}

// What is drawn has the shares that are asked for, follows Zipf's law, and is the same for the same seed.
func TestMix(t *testing.T) {
	const n = 50_000
	cfg := Config{Writes: 5, Edits: 20, Seed: 42}
	d, again := newDrawer(someSite(), cfg, 3), newDrawer(someSite(), cfg, 3)
	queries, paths, noStore := map[string]int{}, map[string]int{}, 0
	for range n {
		q := d.next()
		require.Equal(t, q, again.next())
		queries[q.query]++
		paths[q.path]++
		if q.noStore {
			noStore++
			require.Equal(t, http.MethodGet, q.method)
		}
		if q.query == blogUpdate {
			require.Regexp(t, `^\{"title":"T \(revision [0-9a-f]+\)"\}$`, string(q.body), "titles do not grow")
		}
	}
	weights := 0
	for _, r := range reads {
		weights += r.weight
		assert.InDelta(t, 0.95*float64(r.weight)/100, float64(queries[r.query])/n, 0.01, r.query)
	}
	assert.Equal(t, 100, weights)
	assert.InDelta(t, 0.04, float64(queries[attemptCreate])/n, 0.005)
	assert.InDelta(t, 0.01, float64(queries[blogUpdate])/n, 0.003)
	assert.InDelta(t, 0.95*noStoreShare/1000, float64(noStore)/n, 0.005)
	first, second, hundredth := paths["/blogs/1"], paths["/blogs/2"], paths["/blogs/100"]
	assert.InDelta(t, 2.14, float64(first)/float64(second), 0.3, "2 to the power of 1.1")
	assert.Less(t, hundredth, first/50)
	assert.NotEqual(t, d.next(), newDrawer(someSite(), cfg, 4).next(), "users differ")

	all := newDrawer(someSite(), Config{Writes: 100, Edits: 100}, 0)
	none := newDrawer(someSite(), Config{}, 0)
	for range 1000 {
		require.Equal(t, blogUpdate, all.next().query)
		require.Equal(t, http.MethodGet, none.next().method)
	}
}

// The mix names every read of the example, and no others: a new one must not be forgotten.
func TestMixIsOfTheExample(t *testing.T) {
	queries, err := query.Load(example.Queries())
	require.NoError(t, err)
	want, got := map[string]bool{}, map[string]bool{}
	for _, q := range queries {
		if q.Cached() {
			want[q.Name] = true
		}
	}
	for _, r := range reads {
		got[r.query] = true
	}
	assert.Equal(t, want, got)
}

func TestParseCacheStatus(t *testing.T) {
	for header, want := range map[string]struct {
		source source
		reason string
	}{
		"":                                     {sourceNone, ""},
		"freshet; hit; ttl=599; detail=redis":  {sourceCache, ""},
		"freshet; fwd=miss; stored":            {sourceMiss, ""},
		"freshet; fwd=miss":                    {sourceMiss, ""},
		"freshet; fwd=bypass; detail=no-store": {sourceBypass, "no-store"},
	} {
		s, reason := parseCacheStatus(header)
		assert.Equal(t, want.source, s, header)
		assert.Equal(t, want.reason, reason, header)
	}
}

func TestRecorder(t *testing.T) {
	r := newRecorder()
	read, write := request{query: blogByID}, request{query: attemptCreate, method: http.MethodPost}
	past := request{query: blogByID, noStore: true}
	r.add(read, answer{status: 200, source: sourceCache}, nil, time.Millisecond)
	r.add(read, answer{status: 200, source: sourceMiss}, nil, 2*time.Millisecond)
	r.add(read, answer{status: 200, source: sourceBypass, reason: "watermark"}, nil, 3*time.Millisecond)
	r.add(past, answer{status: 200, source: sourceBypass, reason: "no-store"}, nil, 4*time.Millisecond)
	r.add(write, answer{status: 201}, nil, 5*time.Millisecond)
	r.add(read, answer{status: 503}, nil, time.Nanosecond)
	r.add(write, answer{}, fmt.Errorf("dial: %w", syscall.ECONNREFUSED), time.Nanosecond)
	r.add(write, answer{}, &net.OpError{Err: context.DeadlineExceeded}, 2*longest)
	r.add(read, answer{}, io.ErrUnexpectedEOF, time.Nanosecond)
	r.addHealth(answer{status: 200}, nil, time.Millisecond)
	r.addHealth(answer{status: 500}, nil, time.Millisecond)

	l := &Load{cfg: Config{Users: 1}}
	got := l.result(r, &usage{}, 2*time.Second)
	assert.Equal(t, int64(9), got.Requests)
	assert.Equal(t, int64(4), got.Errors)
	assert.InDelta(t, 2.5, got.PerSecond, 1e-9, "errors are no throughput")
	assert.InDelta(t, 4.0/9, got.ErrorRate, 1e-9)
	assert.InDelta(t, 1.0/3, got.HitRate, 1e-9, "a read past the cache that nobody asked for is no hit; one that was asked for is not counted")
	assert.Equal(t, map[string]int64{"watermark": 1}, got.Bypasses)
	assert.Equal(t, map[string]int64{
		"blog_by_id: status 503": 1, "attempt_create: connection refused": 1, "attempt_create: no answer in time": 1,
		"blog_by_id: the connection was lost": 1, "health: status 500": 1,
	}, got.Failures)
	assert.Equal(t, int64(1), got.HealthErrors)
	for name, d := range map[string]Distribution{"cached": got.Cached, "database": got.Database, "written": got.Written, "health": got.Health} {
		assert.Equal(t, int64(1), d.N, name)
	}
	assert.InDelta(t, 1, got.Cached.P50, 0.01)
	assert.InDelta(t, 3, got.Uncached.Max, 0.01)
	assert.Equal(t, int64(2), got.Uncached.N, "errors are no latencies")
	assert.InDelta(t, 4, got.Database.P99, 0.01)
}

func TestHistogram(t *testing.T) {
	h := newHistogram()
	for i := range 1000 {
		h.record(time.Duration(i+1) * time.Millisecond)
	}
	d := h.distribution()
	assert.InEpsilon(t, 500, d.P50, 0.01)
	assert.InEpsilon(t, 990, d.P99, 0.01)
	assert.InEpsilon(t, 1000, d.Max, 0.01)
	h.record(0)
	h.record(time.Hour)
	assert.Equal(t, int64(1002), h.distribution().N, "nothing is lost at the ends")
	assert.Less(t, h.counts.ByteSize(), 200<<10)
}

func TestConfig(t *testing.T) {
	good := Config{Users: 1, Duration: time.Second}
	require.NoError(t, good.Validate())
	for name, edit := range map[string]func(*Config){
		"users": func(c *Config) { c.Users = 0 }, "pause": func(c *Config) { c.Pause = -1 }, "duration": func(c *Config) { c.Duration = 0 }, "warm-up": func(c *Config) { c.WarmUp = -1 },
		"writes": func(c *Config) { c.Writes = 101 }, "edits": func(c *Config) { c.Edits = -1 }, "compare": func(c *Config) { c.Compare = -1 },
	} {
		c := good
		edit(&c)
		assert.ErrorContains(t, c.Validate(), name+":")
		_, err := New(t.Context(), c)
		assert.ErrorContains(t, err, name+":")
	}
}

func TestParseServer(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8080", "ftp://x", "http://", "://"} {
		_, err := parseServer(bad)
		assert.Error(t, err, bad)
	}
	s, err := parseServer("https://example.org/sub/")
	require.NoError(t, err)
	assert.Equal(t, server{addr: "example.org:443", host: "example.org", prefix: "/sub", tls: true}, s)
}

// The client reads answers of every form to their end, keeps its connection, and makes another after a failure.
func TestClient(t *testing.T) {
	var bodies, auth []string
	connections := map[string]bool{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		body, _ := io.ReadAll(r.Body)
		bodies, auth = append(bodies, string(body)), append(auth, r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/sub/chunked":
			for range 3 {
				fmt.Fprint(w, strings.Repeat("x", 5000))
				_ = http.NewResponseController(w).Flush()
			}
		case "/sub/closed":
			w.Header().Set("Connection", "close")
		case "/sub/cut":
			panic(http.ErrAbortHandler)
		case "/sub/none":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Cache-Status", "freshet; hit; ttl=1; detail=redis")
			fmt.Fprint(w, r.Header.Get("Cache-Control"))
		}
	})
	srv := httptest.NewServer(handler)
	defer srv.Close()
	s, err := parseServer(srv.URL + "/sub")
	require.NoError(t, err)
	c := newClient(s, "secret")
	defer c.close()
	a, err := c.get(t.Context(), "/chunked")
	require.NoError(t, err)
	assert.Len(t, a.body, 15_000)
	a, err = c.do(t.Context(), request{method: http.MethodPost, path: "/none", body: []byte("{}")})
	require.NoError(t, err)
	assert.Equal(t, http.StatusNoContent, a.status)
	assert.Equal(t, "{}", bodies[1])
	assert.Equal(t, []string{"", "Bearer secret"}, auth, "reads carry no token")
	a, err = c.do(t.Context(), request{method: http.MethodGet, path: "/hit", noStore: true})
	require.NoError(t, err)
	assert.Equal(t, sourceCache, a.source)
	assert.Len(t, connections, 1)
	_, err = c.do(t.Context(), request{method: http.MethodGet, path: "/closed"})
	require.NoError(t, err)
	_, err = c.do(t.Context(), request{method: http.MethodGet, path: "/cut"})
	require.Error(t, err)
	_, err = c.do(t.Context(), request{method: http.MethodGet, path: "/hit"})
	require.NoError(t, err)
	assert.Len(t, connections, 3)
}

// Whoever interrupts need not wait for an answer that does not come.
func TestClientInterrupted(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer srv.Close()
	defer close(release)
	s, err := parseServer(srv.URL)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	c := newClient(s, "")
	defer c.close()
	began := time.Now()
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/"})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(began), clientTimeout/2)
}

// What is no example is said to be none, and a token that is refused too.
func TestNewRefuses(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, tt := range map[string]struct {
		status map[string]int
		want   string
	}{
		"another server":  {map[string]int{}, "does not serve the example"},
		"other queries":   {map[string]int{"/health": 200}, "does not serve the example"},
		"a wrong token":   {map[string]int{"/health": 200, "/attempts": 401}, "refuses the admin token"},
		"no token at all": {map[string]int{"/health": 200, "/attempts": 403}, "refuses the admin token"},
		"a broken list":   {map[string]int{"/health": 200, "/attempts": 400, "/blogs": 503}, "GET /blogs?status=published&limit=50&offset=0 was answered with status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status, ok := tt.status[r.URL.Path]
				if !ok {
					status = http.StatusNotFound
				}
				w.WriteHeader(status)
				fmt.Fprint(w, "{}")
			}))
			defer srv.Close()
			_, err := New(t.Context(), Config{URL: srv.URL, Users: 1, Duration: time.Second})
			require.ErrorContains(t, err, tt.want)
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = New(t.Context(), Config{URL: "http://" + l.Addr().String(), Users: 1, Duration: time.Second})
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// Postgres knows which connections are the api's, and which of those are in use.
func TestActivity(t *testing.T) {
	db := testenv.Postgres(t)
	a, err := NewActivity(t.Context(), db.URL, 7)
	require.NoError(t, err)
	defer a.Close(context.WithoutCancel(t.Context()))
	assert.NotEmpty(t, a.Version())
	_, _, err = a.Use(t.Context())
	require.ErrorContains(t, err, "no connection of an api")

	idle, busy, other := db.Conn(t), db.Conn(t), db.Conn(t)
	for conn, name := range map[*pgx.Conn]string{idle: "freshet api main", busy: "freshet api main", other: "freshet cdc main"} {
		_, err := conn.Exec(t.Context(), "SELECT set_config('application_name', $1, false)", name)
		require.NoError(t, err)
	}
	for _, conn := range []*pgx.Conn{busy, other} {
		_, err := conn.Exec(t.Context(), "BEGIN")
		require.NoError(t, err)
	}
	// The statistics of a connection are there once its last statement has been answered, or a moment later.
	testenv.Eventually(t, time.Minute, func() (bool, string) {
		inUse, most, err := a.Use(t.Context())
		require.NoError(t, err)
		require.Equal(t, 7, most)
		return inUse == 1, fmt.Sprint(inUse)
	})
}
