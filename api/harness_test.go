package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/events"
	"freshet/example"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
)

const (
	// patience bounds each wait, on a machine that is busy.
	patience = 20 * time.Second
	token    = "a-token-of-the-tests"
)

// options are what a test may change before the api starts.
type options struct {
	api      api.Config
	database config.Database
	files    fstest.MapFS            // further query files
	private  bool                    // a Postgres server of its own
	promoted bool                    // the private server is a replica that was promoted: it is on the second timeline
	prepare  func(*testenv.Database) // before the api starts
	level    slog.Level              // of the log
}

// site is an api on a real Postgres and a real Redis. The test itself is the invalidator: it says how fresh the cache is.
type site struct {
	t      *testing.T
	db     *testenv.Database
	pool   *pgxpool.Pool // the api's
	server *testenv.RedisServer
	redis  *redis.Client
	store  *cache.Redis
	state  cache.State // as stored by setWatermark and apply
	wal    postgres.WALGeometry
	log    *logged
	// definitions is the generation of the catalog's shape.
	definitions string
	api         *api.API
	url         string
	client      *http.Client

	storeClient *redis.Client // the store's

	cancel context.CancelFunc
	done   chan error // of Run
}

// start starts an api with the example's queries and a watermark that does not age.
func start(t *testing.T, edit ...func(*options)) *site {
	t.Helper()
	s := newSite(t, append([]func(*options){func(o *options) { o.api.MaxStaleness = time.Hour }}, edit...)...)
	s.setWatermark(time.Now())
	return s
}

// newSite is start without a watermark.
func newSite(t *testing.T, edit ...func(*options)) *site {
	t.Helper()
	o := options{
		api: api.Config{
			Addr: "127.0.0.1:0", Publication: "freshet_main", AdminToken: token, MaxStaleness: 5 * time.Second,
			ConnectionTimeout: 10 * time.Second, CommandTimeout: 30 * time.Second, BodyLimit: 64 << 10,
			RequestTimeout: 35 * time.Second, DrainTimeout: 10 * time.Second, Version: "test",
		},
		database: config.Database{MaxConnections: 20, ConnectionTimeout: 10 * time.Second, CommandTimeout: 30 * time.Second},
	}
	for _, e := range edit {
		e(&o)
	}
	s := &site{t: t, server: testenv.Redis(t), log: &logged{}}
	s.db = database(t, o.private)
	if o.promoted {
		s.db = s.db.Replica(t, nil, nil)
		s.db.Promote(t)
		s.db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ('', 'test')") // it is unlogged: cdc begins the log anew
	}
	if o.prepare != nil {
		o.prepare(s.db)
	}
	var err error
	s.wal, err = postgres.ReadWALGeometry(t.Context(), s.db.Pool(t))
	require.NoError(t, err)
	s.redis = s.server.Client(t)
	// The timeouts that the api's process uses: a Redis that hangs must not hold up reads.
	s.storeClient = redisClient(t, s.server.URL)
	s.store = cache.NewRedis(s.storeClient, cache.DefaultPrefix)
	s.define("definitions *")
	s.pool = s.newPool(o.database)
	o.api.Pool, o.api.Store = s.pool, s.store
	o.api.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: o.level}))
	o.api.Queries = append(load(t, example.Queries()), load(t, o.files)...)
	s.run(o.api)
	return s
}

func redisClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	require.NoError(t, err)
	o.ReadTimeout, o.WriteTimeout, o.DialTimeout = 200*time.Millisecond, 200*time.Millisecond, time.Second
	o.MaxRetries, o.DialerRetries = 1, 1
	client := redis.NewClient(o)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// database has Freshet's tables and the example's, with a few rows.
func database(t *testing.T, private bool) *testenv.Database {
	t.Helper()
	var db *testenv.Database
	if private {
		db = testenv.PrivatePostgres(t, nil)
	} else {
		db = testenv.Postgres(t)
	}
	db.Migrate(t, migrations.Freshet, migrations.Example)
	db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ('', 'test')") // as a cdc does that begins the log
	db.Exec(t, `
		INSERT INTO users (handle, name, email) VALUES ('ada', 'Ada', 'ada@example.org'), ('bo', 'Bo', 'bo@example.org');
		INSERT INTO blogs (title, slug, content, status, author, tags, created_at, updated_at)
			SELECT 'Title ' || n, 'slug-' || n, 'Content ' || n, 'published', 'ada', '{sql,c++,a/b}', '2025-01-01', '2025-01-01'
			FROM generate_series(1, 5) n;
		INSERT INTO quizzes (title, topic, questions) VALUES ('Joins', 'sql', 5);
		INSERT INTO attempts (user_id, quiz_id, score) VALUES (1, 1, 90);
		-- What a cached read may not do, done by functions that say that they do not.
		CREATE FUNCTION next_call() RETURNS bigint STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('blogs_id_seq'); END $$;
		CREATE FUNCTION wait_for_lock(key bigint) RETURNS text STABLE LANGUAGE plpgsql AS
			$$ BEGIN PERFORM pg_advisory_xact_lock_shared(key); RETURN ''; END $$;`)
	return db
}

// newPool is a pool of an api, closed at the end of the test.
func (s *site) newPool(settings config.Database) *pgxpool.Pool {
	s.t.Helper()
	settings.URL = s.db.URL
	pool, err := postgres.NewPool(s.t.Context(), settings, "freshet api test")
	require.NoError(s.t, err)
	s.t.Cleanup(pool.Close)
	return pool
}

// load parses query files; nil has none.
func load(t *testing.T, files fs.FS) []*query.Query {
	t.Helper()
	if m, ok := files.(fstest.MapFS); ok && len(m) == 0 {
		return nil
	}
	all, err := query.Load(files)
	require.NoError(t, err)
	return all
}

// run starts the api; at the end of the test it has to drain without an error.
func (s *site) run(cfg api.Config) {
	s.t.Helper()
	a, err := api.New(s.t.Context(), cfg)
	require.NoError(s.t, err)
	require.NoError(s.t, a.Listen(s.t.Context()))
	s.api, s.url = a, a.URL()
	s.client = &http.Client{Timeout: patience, Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.done = make(chan error, 1)
	go func() { s.done <- a.Run(ctx) }() // awaited by stop
	s.t.Cleanup(func() {
		s.client.CloseIdleConnections()
		require.NoError(s.t, s.stop())
	})
}

// stop drains the api, once, and returns what Run returned.
func (s *site) stop() error {
	s.t.Helper()
	s.cancel()
	if s.done == nil {
		return nil
	}
	defer func() { s.done = nil }()
	select {
	case err := <-s.done:
		return err
	case <-time.After(patience):
		return errors.New("the api did not stop")
	}
}

// startBehind is start with a watermark that is behind whatever is in the WAL: the cache has applied nothing of it yet.
func startBehind(t *testing.T, edit ...func(*options)) *site {
	t.Helper()
	s := start(t, edit...)
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 1, Position: position(t, "0/10")})
	return s
}

// setWatermark begins a new chain on which every registered shape is active, of a database as it was at that time. Its position is far
// ahead of the server's: it is then that of every answer.
func (s *site) setWatermark(at time.Time) {
	s.t.Helper()
	s.setWatermarkAt(at, cache.Mark{Timeline: 1, Position: position(s.t, "F/10")})
}

// setWatermarkAt is setWatermark with a position that matters.
func (s *site) setWatermarkAt(at time.Time, mark cache.Mark) {
	s.t.Helper()
	rows, err := s.db.Pool(s.t).Query(s.t.Context(), "SELECT schema_name, table_name, columns FROM freshet.shapes")
	require.NoError(s.t, err)
	next := cache.State{
		Chain: cache.NewToken(), Session: "test", Sequence: 1, Stamp: cache.NewToken(),
		Mark: mark, At: at.Truncate(time.Microsecond),
		Generations: map[string]string{cache.CatalogShape.String(): s.definitions},
	}
	for rows.Next() {
		var schema, table string
		var columns []string
		require.NoError(s.t, rows.Scan(&schema, &table, &columns))
		next.Generations[cache.NewShape(schema, table, columns...).String()] = cache.NewToken()
	}
	require.NoError(s.t, rows.Err())
	// In one step, whatever is there: the api must not find the generation of the catalog's shape gone in between.
	stamp, err := s.redis.HGet(s.t.Context(), "freshet:watermark", "stamp").Result()
	if !errors.Is(err, redis.Nil) {
		require.NoError(s.t, err)
	}
	ok, err := s.store.Begin(s.t.Context(), cache.State{Stamp: stamp}, next)
	require.NoError(s.t, err)
	require.True(s.t, ok)
	s.state = next
}

// define renews the generation of the catalog's shape, as the invalidator does after a change of a definition.
func (s *site) define(generation string) {
	s.t.Helper()
	err := s.redis.HSet(s.t.Context(), "freshet:watermark", "shape:"+cache.CatalogShape.String(), generation).Err()
	require.NoError(s.t, err)
	s.definitions = generation
}

// invalidate clears the buckets of blogs with that id and moves the watermark, as the invalidator does after an UPDATE.
func (s *site) invalidate(id string, to events.Position) {
	s.t.Helper()
	s.apply(to, cache.NewShape("public", "blogs", "id").Tag(id))
}

// apply clears the buckets of tags and moves the watermark.
func (s *site) apply(to events.Position, tags ...cache.Tag) {
	s.t.Helper()
	next := s.state
	next.Sequence, next.Position, next.Stamp = next.Sequence+1, to, cache.NewToken()
	_, ok, err := s.store.Apply(s.t.Context(), s.state, cache.Batch{Clear: tags, Next: next})
	require.NoError(s.t, err)
	require.True(s.t, ok)
	s.state = next
}

// end is where the WAL ends.
func (s *site) end() events.Position {
	s.t.Helper()
	insert := position(s.t, testenv.Value[string](s.t, s.db, "SELECT pg_current_wal_insert_lsn()::text"))
	return events.Position(s.wal.End(uint64(insert)))
}

// reflects requires that an answer says a position, and that it is between two ends of the WAL: that of before, and now's.
func (s *site) reflects(r response, before events.Position) {
	s.t.Helper()
	require.NotEmpty(s.t, r.header.Get("Freshet-Position"))
	got := position(s.t, r.header.Get("Freshet-Position"))
	require.GreaterOrEqual(s.t, got, before)
	require.LessOrEqual(s.t, got, s.end())
}

func position(t *testing.T, text string) events.Position {
	t.Helper()
	p, err := events.ParsePosition(text)
	require.NoError(t, err)
	return p
}

// logged is what the api has logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func (l *logged) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// response is an answer with its body.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are "Name: value".
func (s *site) do(method, path, body string, headers ...string) response {
	s.t.Helper()
	r, err := s.try(method, path, body, headers...)
	require.NoError(s.t, err)
	return r
}

// try is do that returns the error, for goroutines of a test.
func (s *site) try(method, path, body string, headers ...string) (response, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	text, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(text)}, errors.Join(err, resp.Body.Close())
}

func (s *site) get(path string, headers ...string) response {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", headers...)
}

// write sends a request with the token.
func (s *site) write(method, path, body string) response {
	s.t.Helper()
	return s.do(method, path, body, "Authorization: Bearer "+token)
}

// cacheStatus is the Cache-Status of an answer without its ttl.
func (r response) cacheStatus() string {
	var kept []string
	for part := range strings.SplitSeq(r.header.Get("Cache-Status"), "; ") {
		if !strings.HasPrefix(part, "ttl=") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "; ")
}

// The values of cacheStatus.
const (
	hit    = "freshet; hit; detail=redis"
	stored = "freshet; fwd=miss; stored"
	bypass = "freshet; fwd=bypass; detail="
)

// field is a member of the body, which is a JSON object.
func (s *site) field(r response, name string) any {
	s.t.Helper()
	var object map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(r.body), &object), r.body)
	return object[name]
}

// problem is what the api says of an error.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	Status    int    `json:"status"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Parameter string `json:"parameter"`
		Detail    string `json:"detail"`
	} `json:"errors"`
}

// problem checks that an answer is a complete problem of that status.
func (s *site) problem(r response, status int, instance string) problem {
	s.t.Helper()
	require.Equal(s.t, status, r.status, r.body)
	require.Equal(s.t, "application/problem+json", r.header.Get("Content-Type"))
	require.Empty(s.t, r.header.Get("ETag"))
	var p problem
	require.NoError(s.t, json.Unmarshal([]byte(r.body), &p), r.body)
	require.Equal(s.t, "about:blank", p.Type)
	require.Equal(s.t, http.StatusText(status), p.Title)
	require.Equal(s.t, status, p.Status)
	require.NotEmpty(s.t, p.Detail)
	require.Equal(s.t, instance, p.Instance)
	require.NotEmpty(s.t, p.RequestID)
	require.Equal(s.t, r.header.Get("X-Request-ID"), p.RequestID)
	return p
}
