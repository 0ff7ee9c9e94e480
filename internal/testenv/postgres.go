package testenv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/internal/servers"
)

// Database is an empty database for one test.
type Database struct {
	URL    string            // for user postgres, a superuser
	Name   string            // of the database
	Server *servers.Postgres // kill and restart it only if it came from PrivatePostgres or Replica

	settings map[string]string // of a private server, beyond the defaults

	mu   sync.Mutex
	pool *pgxpool.Pool
}

// cluster is the Postgres server that the tests of a package share, started by the first that wants it.
type cluster struct {
	once   sync.Once
	err    error
	server *servers.Postgres
	log    *output
	admin  *pgxpool.Pool // on database postgres
}

// unsafe makes a server fast whose data nobody needs after a crash of the machine.
var unsafe = map[string]string{"fsync": "off", "full_page_writes": "off"}

// Postgres returns a new database on the cluster that the package's tests share. At the test's end it is dropped, with
// its replication slots.
func Postgres(tb testing.TB) *Database {
	tb.Helper()
	s := state(tb)
	c := &s.postgres
	c.once.Do(func() { c.err = c.start(filepath.Join(s.dir, "postgres")) })
	if c.err != nil {
		tb.Fatalf("testenv: start Postgres: %v", c.err)
	}
	c.log.showIfFailed(tb, "Postgres")

	ctx, cancel := bounded(tb)
	defer cancel()
	name := s.newName(tb)
	if _, err := c.admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("testenv: create database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := bounded(tb)
		defer cancel()
		if err := dropDatabase(ctx, c.admin, name); err != nil {
			tb.Errorf("testenv: drop database: %v", err)
		}
	})
	return newDatabase(tb, c.server, name)
}

// PrivatePostgres returns a database on a server of its own, for tests that change, kill or restart the server. The
// settings override fsync=off and the defaults of servers.PostgresOptions.
func PrivatePostgres(tb testing.TB, settings map[string]string) *Database {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	log := newOutput()
	log.showIfFailed(tb, "Postgres")
	server, err := startPostgres(ctx, filepath.Join(dirFor(tb), "postgres"), settings, log)
	if err != nil {
		tb.Fatalf("testenv: start Postgres: %v", err)
	}
	stopPrivateAtEnd(tb, server)
	db := newDatabase(tb, server, "postgres")
	db.settings = settings
	return db
}

// stopPrivateAtEnd stops a test's own server, which may be in a bad way, at the end of the test.
func stopPrivateAtEnd(tb testing.TB, server *servers.Postgres) {
	tb.Helper()
	stopAtEnd(tb, "Postgres", func(ctx context.Context) error {
		// A server that the test has paused or left with a stuck walsender does not stop in order.
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := server.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	})
}

// newDatabase makes the handle of a database; its pool is closed at the test's end.
func newDatabase(tb testing.TB, server *servers.Postgres, name string) *Database {
	tb.Helper()
	db := &Database{URL: server.URL(name), Name: name, Server: server}
	tb.Cleanup(func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		if db.pool != nil {
			db.pool.Close()
		}
	})
	return db
}

// start starts the shared server. The context of the test that happens to be the first is not used: others follow.
func (c *cluster) start(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.log = newOutput()
	var err error
	if c.server, err = startPostgres(ctx, dir, nil, c.log); err != nil {
		return err
	}
	c.admin, err = pgxpool.New(ctx, c.server.URL("postgres"))
	return err
}

// stop ends the shared server, if it was started. Nothing in it is worth an orderly shutdown.
func (c *cluster) stop() error {
	if c.admin != nil {
		c.admin.Close()
	}
	if c.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(c.server.Kill(), c.server.Stop(ctx))
}

// dropDatabase drops a database with its replication slots, even if a walsender is still connected and its client
// keeps coming back.
func dropDatabase(ctx context.Context, admin *pgxpool.Pool, name string) error {
	if _, err := admin.Exec(ctx, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("close it: %w", err)
	}
	if err := dropSlots(ctx, admin, name); err != nil {
		return fmt.Errorf("drop its replication slots: %w", err)
	}
	_, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return err
}

// dropSlots ends the walsenders of a database and drops its slots, which can be done only once they are idle.
func dropSlots(ctx context.Context, admin *pgxpool.Pool, database string) error {
	const (
		end   = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active"
		drop  = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND NOT active"
		count = "SELECT count(*) FROM pg_replication_slots WHERE database = $1"
	)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		for _, sql := range []string{end, drop} {
			if _, err := admin.Exec(ctx, sql, database); err != nil && !isObjectInUse(err) {
				return err
			}
		}
		var left int
		if err := admin.QueryRow(ctx, count, database).Scan(&left); err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// isObjectInUse tells whether a slot was taken between being looked at and being dropped (SQLSTATE 55006).
func isObjectInUse(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "55006"
}

// Pool is a pool of connections to the database, made at the first call and closed at the end of the test.
func (db *Database) Pool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool == nil {
		ctx, cancel := bounded(tb)
		defer cancel()
		pool, err := pgxpool.New(ctx, db.URL)
		if err != nil {
			tb.Fatalf("testenv: connect: %v", err)
		}
		db.pool = pool
	}
	return db.pool
}

// Conn is a new connection to the database, closed at the end of the test: for transactions that stay open.
func (db *Database) Conn(tb testing.TB) *pgx.Conn {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		tb.Fatalf("testenv: connect: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := bounded(tb)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone, which is none of its business
	})
	return conn
}

// Exec runs a statement; without arguments it may be several, separated by semicolons.
func (db *Database) Exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := db.Pool(tb).Exec(ctx, sql, args...); err != nil {
		tb.Fatalf("testenv: %v\nin: %s", err, sql)
	}
}

// QueryRow runs a query and scans its first row into dest, for as many columns as there are.
//
//	db.QueryRow(t, []any{&id, &title}, "SELECT id, title FROM blogs WHERE slug = $1", slug)
func (db *Database) QueryRow(tb testing.TB, dest []any, sql string, args ...any) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	if err := db.Pool(tb).QueryRow(ctx, sql, args...).Scan(dest...); err != nil {
		tb.Fatalf("testenv: %v\nin: %s", err, sql)
	}
}

// Value runs a query that gives one row of one column and returns it.
//
//	n := testenv.Value[int](t, db, "SELECT count(*) FROM blogs")
func Value[T any](tb testing.TB, db *Database, sql string, args ...any) T {
	tb.Helper()
	var v T
	db.QueryRow(tb, []any{&v}, sql, args...)
	return v
}
