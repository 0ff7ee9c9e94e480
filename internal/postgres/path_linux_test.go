package postgres_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
	"freshet/internal/network"
	"freshet/internal/network/blackhole"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

const (
	connections = 5
	// back is how soon after the end of a fault everything works again: the promise.
	back = 5 * time.Second
)

// poolOver is a pool of connections over a path.
func poolOver(t *testing.T, db *testenv.Database) (*pgxpool.Pool, *blackhole.Path) {
	t.Helper()
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	path := blackhole.New(t, u.Host)
	u.Host = path.Addr()
	pool, err := postgres.NewPool(t.Context(), config.Database{
		URL: u.String(), MaxConnections: connections, ConnectionTimeout: 10 * time.Second, CommandTimeout: 30 * time.Second,
	}, "test")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool, path
}

// use has every connection of the pool do something.
func use(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			_, _ = pool.Exec(t.Context(), sql) // it may be in the middle of a fault
		})
	}
	all.Wait()
}

// requireBack requires that the pool works in time.
func requireBack(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	began := time.Now()
	testenv.Eventually(t, time.Minute, func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := pool.Exec(ctx, "SELECT 1")
		return err == nil, "no connection works"
	})
	took := time.Since(began)
	t.Logf("BACK after %.2f s", took.Seconds())
	require.Less(t, took, back)
}

func TestPoolIsBackAfterABlackHole(t *testing.T) {
	for name, end := range map[string]func(*blackhole.Path){"healed": (*blackhole.Path).Heal, "connections dead": (*blackhole.Path).Forget} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, path := poolOver(t, testenv.Postgres(t))
			use(t, pool, "SELECT pg_sleep(0.1)") // opens them
			path.Vanish()
			for over := time.Now().Add(10 * time.Second); time.Now().Before(over); {
				use(t, pool, "SELECT 1")
			}
			end(path)
			requireBack(t, pool)
		})
	}
}

// A firewall has lost its state: the connections are dead for ever, and new ones work.
func TestPoolIsBackWhenItsConnectionsAreDead(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		pool, path := poolOver(t, testenv.Postgres(t))
		use(t, pool, "SELECT pg_sleep(0.1)")
		path.Forget()
		requireBack(t, pool)
	})
	t.Run("in use", func(t *testing.T) {
		t.Parallel()
		pool, path := poolOver(t, testenv.Postgres(t))
		var using sync.WaitGroup
		for range connections {
			using.Go(func() {
				_, _ = pool.Exec(t.Context(), "SELECT pg_sleep(0.3)") // it fails
			})
		}
		testenv.Eventually(t, back, func() (bool, string) { return pool.Stat().AcquiredConns() == connections, "not all are in use" })
		path.Forget()
		requireBack(t, pool)
		using.Wait()
	})
}

// The server does not keep for a client that is gone what others need.
func TestServerNoticesADeadPath(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	db.Exec(t, "CREATE TABLE t ()")
	pool, path := poolOver(t, db)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE t")
	require.NoError(t, err)
	path.Forget()
	defer func() { _ = tx.Rollback(t.Context()) }() // its connection is dead
	began := time.Now()
	db.Exec(t, "ALTER TABLE t ADD n int")
	require.Less(t, time.Since(began), network.DeadAfter+3*time.Second)
}
