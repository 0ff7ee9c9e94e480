package cache

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
)

// newRegistry is a registry in a new database with two tables.
func newRegistry(t *testing.T) (*testenv.Database, *Registry) {
	t.Helper()
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Freshet)
	db.Exec(t, `CREATE TABLE blogs (id int PRIMARY KEY, status text); CREATE TABLE users (id int PRIMARY KEY)`)
	return db, registry(t, db)
}

// registry is a registry as another process would have it.
func registry(t *testing.T, db *testenv.Database) *Registry {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), db.URL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &Registry{Pool: pool, Publication: "freshet_test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func register(t *testing.T, r *Registry, shapes ...Shape) []Shape {
	t.Helper()
	done, err := r.Register(t.Context(), shapes)
	require.NoError(t, err)
	require.Empty(t, done.Failed)
	return done.Waiting
}

// ready lists the names of the shapes that are ready, in order.
func ready(t *testing.T, r *Registry) []string {
	t.Helper()
	shapes, err := r.Ready(t.Context())
	require.NoError(t, err)
	list := strings.Fields(names(shapes))
	slices.Sort(list)
	return list
}

func sorted(shapes ...Shape) []string {
	list := strings.Fields(names(shapes))
	slices.Sort(list)
	return list
}

func TestRegisterTwiceIsOnce(t *testing.T) {
	db, r := newRegistry(t)
	shapes := []Shape{byID, byStatus, users, NewShape("public", "users")}
	require.Equal(t, shapes, register(t, r, shapes...))
	require.Empty(t, ready(t, r))
	require.Equal(t, shapes, register(t, r, shapes...), "registered, and not ready yet")
	require.NoError(t, r.Activate(t.Context(), shapes))
	require.Equal(t, sorted(shapes...), ready(t, r))
	require.Empty(t, register(t, r, shapes...))
	require.Equal(t, len(shapes), testenv.Value[int](t, db, "SELECT count(*) FROM freshet.shapes"))
	require.Equal(t, 3, testenv.Value[int](t, db, "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'freshet_test'"))

	// A registration that stays writes nothing, as each write is a message of the log, until it is old.
	at := func() time.Time { return testenv.Value[time.Time](t, db, "SELECT min(renewed_at) FROM freshet.shapes") }
	before := at()
	require.Empty(t, register(t, r, shapes...))
	require.Equal(t, before, at())
	db.Exec(t, "UPDATE freshet.shapes SET renewed_at = now() - interval '1 day'")
	require.Empty(t, register(t, r, shapes...))
	require.WithinDuration(t, time.Now(), at(), time.Hour)
	require.Len(t, ready(t, r), len(shapes))
}

// Rule 5: a transaction that was already writing when its table joined the publication may have changes that are never published.
func TestActivateWaitsForTransactionsInProgress(t *testing.T) {
	db, r := newRegistry(t)
	ctx := t.Context()
	writer := db.Conn(t)
	tx, err := writer.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "INSERT INTO blogs VALUES (1, 'draft')")
	require.NoError(t, err)

	waiting := register(t, r, byID)
	require.Equal(t, []Shape{byID}, waiting)
	done := make(chan error, 1)
	go func() { done <- r.Activate(ctx, waiting) }()

	// One that begins later is none of its business, however long it lasts.
	later, err := db.Conn(t).Begin(ctx)
	require.NoError(t, err)
	select {
	case err := <-done:
		require.Fail(t, "it did not wait", "%v", err)
	case <-time.After(300 * time.Millisecond):
	}
	require.Empty(t, ready(t, r))
	_, err = later.Exec(ctx, "INSERT INTO blogs VALUES (2, 'draft')")
	require.NoError(t, err)
	require.NoError(t, tx.Commit(ctx))
	require.NoError(t, <-done)
	require.Equal(t, sorted(byID), ready(t, r))
	require.NoError(t, later.Rollback(ctx))
}

func TestActivateEndsWithItsContext(t *testing.T) {
	db, r := newRegistry(t)
	tx, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO blogs VALUES (1, 'draft')")
	require.NoError(t, err)
	waiting := register(t, r, byID)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.Activate(ctx, waiting), context.DeadlineExceeded)
	require.Empty(t, ready(t, r))
	require.NoError(t, tx.Rollback(t.Context()))
}

// A table that left the publication and joins again has had changes that nobody saw: its shapes wait again.
func TestTableThatJoinsAgainWaitsAgain(t *testing.T) {
	db, r := newRegistry(t)
	shapes := []Shape{byID, byStatus, users}
	require.NoError(t, r.Activate(t.Context(), register(t, r, shapes...)))
	require.Len(t, ready(t, r), 3)
	db.Exec(t, "ALTER PUBLICATION freshet_test DROP TABLE blogs")
	require.Equal(t, []Shape{byID, byStatus}, register(t, r, shapes...))
	require.Equal(t, sorted(users), ready(t, r))
	require.NoError(t, r.Activate(t.Context(), []Shape{byID, byStatus}))
	require.Len(t, ready(t, r), 3)
}

func TestRegisterChecksTheReplicaIdentity(t *testing.T) {
	const hint = `ALTER TABLE "public"."things" REPLICA IDENTITY FULL`
	for name, tt := range map[string]struct{ ddl, refused string }{
		"primary key":         {"CREATE TABLE things (id int PRIMARY KEY)", ""},
		"full":                {"CREATE TABLE things (id int); ALTER TABLE things REPLICA IDENTITY FULL", ""},
		"index":               {"CREATE TABLE things (id int NOT NULL UNIQUE); ALTER TABLE things REPLICA IDENTITY USING INDEX things_id_key", ""},
		"no key":              {"CREATE TABLE things (id int)", hint},
		"nothing":             {"CREATE TABLE things (id int PRIMARY KEY); ALTER TABLE things REPLICA IDENTITY NOTHING", hint},
		"its index was lost":  {"CREATE TABLE things (id int NOT NULL UNIQUE); ALTER TABLE things REPLICA IDENTITY USING INDEX things_id_key; ALTER TABLE things DROP CONSTRAINT things_id_key", hint},
		"no table":            {"SELECT 1", "there is no table public.things"},
		"a view":              {"CREATE VIEW things AS SELECT 1 AS id", "there is no table public.things"},
		"a partitioned table": {"CREATE TABLE things (id int PRIMARY KEY) PARTITION BY RANGE (id)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			db, r := newRegistry(t)
			db.Exec(t, tt.ddl)
			done, err := r.Register(t.Context(), []Shape{byID, NewShape("public", "things", "id")})
			require.NoError(t, err)
			if tt.refused == "" {
				require.Empty(t, done.Failed)
				return
			}
			err = done.Failed["public.things(id)"]
			require.ErrorContains(t, err, tt.refused)
			require.ErrorContains(t, err, "public.things(id)", "the shape is named")
			require.Equal(t, "blogs", testenv.Value[string](t, db, "SELECT string_agg(table_name, ' ') FROM freshet.shapes"), "the others are registered")
			require.Equal(t, "blogs shapes", testenv.Value[string](t, db, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables"))
		})
	}
}

func TestNotMigrated(t *testing.T) {
	r := registry(t, testenv.Postgres(t))
	_, err := r.Register(t.Context(), []Shape{byID})
	require.ErrorIs(t, err, postgres.ErrNotMigrated)
	_, err = r.Ready(t.Context())
	require.ErrorIs(t, err, postgres.ErrNotMigrated)
}

func TestRegistriesAtOnce(t *testing.T) {
	const processes = 6
	db, _ := newRegistry(t)
	shapes := []Shape{byID, byStatus, users}
	var g errgroup.Group
	for range processes {
		r := registry(t, db)
		g.Go(func() error {
			done, err := r.Register(t.Context(), shapes)
			if err != nil {
				return err
			}
			return r.Activate(t.Context(), done.Waiting)
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, sorted(shapes...), ready(t, registry(t, db)))
	require.Equal(t, 3, testenv.Value[int](t, db, "SELECT count(*) FROM freshet.shapes"))
}
