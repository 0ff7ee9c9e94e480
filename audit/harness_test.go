package audit

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
)

// patience bounds each wait, on a machine that is busy.
const patience = 20 * time.Second

var files = fstest.MapFS{
	"item.sql": {Data: []byte(`-- name: item
-- route: GET /items/{id}
-- param: id int
-- result: one
SELECT id, grp, n FROM items WHERE id = :id`)},
	"items.sql": {Data: []byte(`-- name: items
-- route: GET /items
-- param: grp int
-- param: least text = '', max_len 500
-- param: any text[], optional
-- result: many
SELECT id, n FROM items WHERE grp = :grp AND note >= :least AND (:any IS NULL OR note = ANY (:any)) ORDER BY n`)},
	"two.sql": {Data: []byte(`-- name: two
-- route: GET /two
-- param: x int
-- param: y int
-- result: many
SELECT a.id, b.n FROM items a JOIN others b ON b.id = :y WHERE a.id = :x`)},
	"clock.sql": {Data: []byte(`-- name: clock
-- route: GET /clock/{id}
-- param: id int
-- result: one
SELECT id, extract(epoch FROM clock_now()) AS at, now() AS now FROM items WHERE id = :id`)},
}

// rig is a cache and a database, both real. The test is the invalidator, and so are the readers that fill.
type rig struct {
	t      *testing.T
	db     *testenv.Database
	client *redis.Client
	store  *cache.Redis
	reader *cache.Reader
	state  cache.State
	a      *Auditor
	stale  []Stale
}

func newRig(t *testing.T, edit ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, db: testenv.Postgres(t), client: testenv.Redis(t).Client(t)}
	r.db.Migrate(t, migrations.Freshet)
	r.db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ('test', 's1')") // as a cdc does that begins the log
	r.db.Exec(t, `CREATE FUNCTION clock_now() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT '2025-01-01'::timestamptz $$;
		CREATE TABLE items (id int PRIMARY KEY, grp int, n int, note text NOT NULL DEFAULT '');
		CREATE TABLE others (id int PRIMARY KEY, n int);
		ALTER TABLE items REPLICA IDENTITY FULL; ALTER TABLE others REPLICA IDENTITY FULL;
		INSERT INTO items SELECT i, i % 4, i FROM generate_series(1, 40) i; INSERT INTO others SELECT i, i FROM generate_series(1, 10) i`)
	pool, err := postgres.NewPool(t.Context(), config.Database{
		URL: r.db.URL, MaxConnections: 4, ConnectionTimeout: patience, CommandTimeout: patience,
	}, "audit test")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	queries, err := query.Load(files)
	require.NoError(t, err)
	r.store = cache.NewRedis(r.client, cache.DefaultPrefix)
	cfg := Config{
		Pool: pool, Store: r.store, Queries: queries, Source: "test", MaxStaleness: time.Minute, Rate: 500, Patience: patience,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OnStale: func(s Stale) { r.stale = append(r.stale, s) }, Seed: 1,
	}
	for _, e := range edit {
		e(&cfg)
	}
	r.a, err = New(t.Context(), cfg) // once, for the shapes
	require.NoError(t, err)
	r.a.reader.Close()
	r.begin()
	r.a, err = New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(r.a.reader.Close)
	r.reader = cache.NewReader(cache.ReaderConfig{Store: r.store, Source: "test", Now: time.Now, MaxTTL: time.Hour, FillTimeout: patience, Log: cfg.Log})
	t.Cleanup(r.reader.Close)
	return r
}

// begin begins a chain, in which every shape is active.
func (r *rig) begin() {
	r.t.Helper()
	next := cache.State{
		Source: "test", Chain: cache.NewToken(), Session: "s1", Sequence: 1, Mark: r.end(), At: time.Now(), Stamp: cache.NewToken(),
		Generations: map[string]string{cache.CatalogShape.String(): cache.NewToken()},
	}
	for _, p := range r.a.plans.Load().Of {
		require.NoError(r.t, p.Refused)
		for _, n := range p.Needs {
			next.Generations[n.Shape.String()] = n.Shape.NewGeneration()
		}
	}
	ok, err := r.store.Begin(r.t.Context(), r.state, next)
	require.NoError(r.t, err)
	require.True(r.t, ok)
	r.state = next
}

// end is where the WAL ends now.
func (r *rig) end() cache.Mark {
	r.t.Helper()
	var position, timeline string
	r.db.QueryRow(r.t, []any{&position, &timeline}, "SELECT "+postgres.EndColumns("test"))
	mark, err := cache.ParseMark(position + ";timeline=" + strings.TrimLeft(timeline, "0"))
	require.NoError(r.t, err)
	return mark
}

// apply clears tags and says that everything that is committed now has been applied.
func (r *rig) apply(tags ...cache.Tag) { r.applyTo(r.end(), nil, tags...) }

func (r *rig) applyTo(mark cache.Mark, generations map[string]string, tags ...cache.Tag) {
	r.t.Helper()
	next := r.state
	next.Sequence++
	next.Mark, next.At, next.Stamp, next.Generations = mark, time.Now(), cache.NewToken(), generations
	_, ok, err := r.store.Apply(r.t.Context(), r.state, cache.Batch{Clear: tags, Next: next})
	require.NoError(r.t, err)
	require.True(r.t, ok)
	all := maps.Clone(r.state.Generations)
	maps.Copy(all, generations)
	r.state = next
	r.state.Generations = all
}

// ask is a question: name and key.
func (r *rig) ask(name, key string) *subject {
	r.t.Helper()
	p := r.a.plans.Load()
	args, err := p.byName[name].Query.ParseKey(key)
	require.NoError(r.t, err)
	return &subject{planned: p.byName[name], args: args, req: r.a.request(p, p.byName[name], args)}
}

func (r *rig) item(id string) *subject { return r.ask("item", "id="+sized(id)) }

// group is a list, whose order n decides.
func (r *rig) group(grp string) *subject { return r.ask("items", "grp="+sized(grp)+" least=0: any=-") }

func sized(s string) string { return string(rune('0'+len(s))) + ":" + s }

// read reads through the cache, filling it.
func (r *rig) read(s *subject) *cache.Answer {
	r.t.Helper()
	req := s.req
	req.OnlyIfCached, req.TTL = false, time.Hour
	answer, err := r.reader.Get(r.t.Context(), req, func(ctx context.Context) (cache.Result, error) { return r.fill(ctx, s) })
	require.NoError(r.t, err)
	require.NotEqual(r.t, cache.Bypass, answer.Status, answer.Reason)
	return answer
}

func (r *rig) fill(ctx context.Context, s *subject) (cache.Result, error) {
	result, seen, err := r.a.ask(ctx, s)
	result.Seen, result.ETag = seen, `"x"`
	return result, err
}

// forge puts a body into the cache under the tokens that are alive.
func (r *rig) forge(s *subject, body string) {
	r.t.Helper()
	req := s.req
	req.OnlyIfCached, req.Linearizable, req.TTL = false, false, time.Hour
	r.apply(req.Tags[0])
	answer, err := r.reader.Get(r.t.Context(), req, func(context.Context) (cache.Result, error) {
		return cache.Result{Found: true, Body: []byte(body), ETag: `"forged"`, Seen: r.state.Mark}, nil
	})
	require.NoError(r.t, err)
	require.True(r.t, answer.Stored)
}

// judge judges one entry. While it waits for the watermark, during is done, and when the watermark has come, reached.
func (r *rig) judge(s *subject, during, reached func()) outcome {
	r.t.Helper()
	waiting, at := make(chan struct{}), make(chan struct{})
	r.a.hooks = hooks{waiting: func() { close(waiting); <-at }, reached: reached}
	defer func() { r.a.hooks = hooks{} }()
	result := make(chan outcome, 1)
	go func() { result <- r.a.judge(r.t.Context(), s) }()
	select {
	case <-waiting:
		if during != nil {
			during()
		}
		close(at)
		return <-result
	case o := <-result:
		return o
	}
}
