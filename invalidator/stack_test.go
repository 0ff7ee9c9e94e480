package invalidator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/cdc" //nolint:depguard // the test runs the path from the database to the cache
	"freshet/events"
	"freshet/internal/testenv"
	"freshet/migrations"
)

var (
	itemByID     = cache.NewShape("public", "items", "id")
	itemByAuthor = cache.NewShape("public", "items", "author")
)

const (
	items   = 30
	authors = 4
)

// stack is the path from the database to the cache, all real.
type stack struct {
	t        *testing.T
	db       *testenv.Database
	pool     *pgxpool.Pool
	js       jetstream.JetStream
	cfg      cdc.Config
	registry *cache.Registry
	redis    *testenv.RedisServer
	client   *redis.Client
	store    *cache.Redis
	reader   *cache.Reader
}

// newStack starts cdc; no shape is registered yet.
func newStack(t *testing.T) *stack {
	t.Helper()
	nats := testenv.NATS(t)
	s := &stack{t: t, db: testenv.Postgres(t), redis: testenv.Redis(t), js: nats.JetStream(t)}
	s.pool = s.db.Pool(t)
	s.db.Migrate(t, migrations.Freshet)
	s.db.Exec(t, fmt.Sprintf(`CREATE TABLE items (id int PRIMARY KEY, author int, n bigint NOT NULL);
		ALTER TABLE items REPLICA IDENTITY FULL;
		INSERT INTO items SELECT i, i %% %d, 0 FROM generate_series(0, %d) i`, authors, items-1))
	s.registry = &cache.Registry{Pool: s.pool, Publication: "freshet_test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	s.client, s.store, s.reader = newCache(t, s.redis)
	s.cfg = cdc.Config{
		DatabaseURL: s.db.URL, NATS: nats.Conn(t), Source: source, Slot: s.db.Name, Publication: "freshet_test", Log: s.registry.Log,
	}
	s.startCDC()
	return s
}

// startCDC returns when it streams. The returned function stops it.
func (s *stack) startCDC() (stop func()) {
	s.t.Helper()
	streaming := make(chan struct{}, 1000)
	cfg := s.cfg
	cfg.OnStreaming = func() { streaming <- struct{}{} }
	c, err := cdc.New(cfg)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(s.t, <-done)
		}
	}
	s.t.Cleanup(stop)
	select {
	case <-streaming:
	case err := <-done:
		stopped = true
		require.NoError(s.t, err, "cdc ended")
	case <-time.After(patience):
		require.Fail(s.t, "cdc does not stream")
	}
	return stop
}

// invalidator starts one, with a client of its own, as another process has.
func (s *stack) invalidator() *running {
	s.t.Helper()
	_, store, _ := newCache(s.t, s.redis)
	return start(s.t, Config{Source: source, JetStream: s.js, Store: store, Ready: s.registry.Ready})
}

// waiting registers shapes and returns those that are not ready yet.
func (s *stack) waiting(shapes ...cache.Shape) []cache.Shape {
	s.t.Helper()
	done, err := s.registry.Register(s.t.Context(), shapes)
	require.NoError(s.t, err)
	require.Empty(s.t, done.Failed)
	return done.Waiting
}

// register registers shapes and waits until they are active.
func (s *stack) register(shapes ...cache.Shape) {
	s.t.Helper()
	require.NoError(s.t, s.registry.Activate(s.t.Context(), s.waiting(shapes...)))
	testenv.Eventually(s.t, patience, func() (bool, string) {
		state, _, err := s.store.Load(s.t.Context())
		require.NoError(s.t, err)
		for _, shape := range shapes {
			if state.Generations[shape.String()] == "" {
				return false, shape.String() + " should be active"
			}
		}
		return true, ""
	})
}

// applied waits until everything that is committed now is applied to the cache.
func (s *stack) applied() cache.State {
	s.t.Helper()
	position, err := events.ParsePosition(testenv.Value[string](s.t, s.db, "SELECT pg_current_wal_flush_lsn()::text"))
	require.NoError(s.t, err)
	var state cache.State
	testenv.Eventually(s.t, patience, func() (bool, string) {
		state, _, _ = s.store.Load(s.t.Context())
		return state.Position >= position, fmt.Sprintf("the state is %v, the database at %s", state, position)
	})
	return state
}

// item asks for one item: the author and n.
func item(id int) query {
	return query{
		cache.Request{
			Field: fmt.Sprint("item@1?", id), Tags: []cache.Tag{itemByID.Tag(fmt.Sprint(id))}, TTL: time.Hour, MaxStaleness: time.Minute,
		}, `SELECT author || ':' || n FROM items WHERE id = $1`, id,
	}
}

// author asks for the items of one author.
func author(author int) query {
	return query{
		cache.Request{
			Field: fmt.Sprint("author@1?", author), Tags: []cache.Tag{itemByAuthor.Tag(fmt.Sprint(author))}, TTL: time.Hour, MaxStaleness: time.Minute,
		}, `SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM items WHERE author = $1`, author,
	}
}

// query is a request with its statement.
type query struct {
	cache.Request
	sql string
	arg int
}

// run runs the statement.
func (s *stack) run(ctx context.Context, q query) (cache.Result, error) {
	var body *string
	err := s.pool.QueryRow(ctx, q.sql, q.arg).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && body == nil {
		return cache.Result{}, nil
	}
	if err != nil {
		return cache.Result{}, err
	}
	return cache.Result{Found: true, Body: []byte(*body)}, nil
}

// get answers it through the cache.
func (s *stack) get(ctx context.Context, q query) (*cache.Answer, error) {
	return s.reader.Get(ctx, q.Request, func(ctx context.Context) (cache.Result, error) { return s.run(ctx, q) })
}

func (s *stack) must(q query) *cache.Answer {
	s.t.Helper()
	answer, err := s.get(s.t.Context(), q)
	require.NoError(s.t, err)
	return answer
}

// nothingStale compares every answer, twice, with the database's: nobody writes now. The second time it must be a hit, or the
// comparison would say nothing about the cache.
func (s *stack) nothingStale() {
	s.t.Helper()
	s.applied()
	var all []query
	for id := range items + 5 {
		all = append(all, item(id))
	}
	for a := range authors + 1 {
		all = append(all, author(a))
	}
	for _, q := range all {
		want, err := s.run(s.t.Context(), q)
		require.NoError(s.t, err)
		testenv.Eventually(s.t, patience, func() (bool, string) { // the sweep that follows a new chain may take what was filled meanwhile
			got := s.must(q)
			require.Equal(s.t, string(want.Body), string(got.Body), "%s is stale: %s", q.Field, got.Status)
			require.Equal(s.t, want.Found, got.Found, q.Field)
			return got.Status == cache.Hit, q.Field + ": " + got.Reason
		})
	}
}
