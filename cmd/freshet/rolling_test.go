package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/testenv"
)

// Two versions of an application, of which the second reads other columns of the same rows and a shape of its own, while writers hammer
// the table, the invalidator is killed, and a transaction that wrote before the second version came stays open across its
// registration. Every no-cache answer must show whatever was acknowledged before it was asked for.
func TestRollingDeploy(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.db.Exec(t, `CREATE TABLE counters (id int PRIMARY KEY, owner int, old_n bigint DEFAULT 0, new_n bigint DEFAULT 0);
		ALTER TABLE counters REPLICA IDENTITY FULL; INSERT INTO counters SELECT n, n % 2 FROM generate_series(1, 8) n`)
	b.migrate(t)
	folder := func(name, sql string) string {
		dir := t.TempDir()
		text := "-- name: " + name + "\n-- route: GET /" + name + "/{id}\n-- param: id int\n-- result: one\n" + sql + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".sql"), []byte(text), 0o600))
		return dir
	}
	processes, first := b.start(t, "--queries", folder("first", "SELECT old_n AS n FROM counters WHERE id = :id"))
	untilHit(t, first+"/first/1")

	r := &rolling{t: t}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load errgroup.Group
	for id := 1; id <= 4; id++ {
		load.Go(func() error { return r.write(ctx, b.db, id) })
		load.Go(func() error { return r.read(ctx, first+"/first/"+strconv.Itoa(id), &r.old[id], &r.firstHits) })
	}

	// It writes to rows of the table, and stays open.
	early, err := b.db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = early.Exec(t.Context(), "UPDATE counters SET new_n = 1000000 WHERE id = 5")
	require.NoError(t, err)

	second := serving(t, begin(t, b.env, "api", "--queries", folder("second", "SELECT new_n AS n FROM counters WHERE id = :id")))
	third := serving(t, begin(t, b.env, "api", "--queries", folder("third", "SELECT sum(new_n) AS n FROM counters WHERE owner = :id AND id < 5")))
	for id := 1; id <= 4; id++ {
		load.Go(func() error { return r.read(ctx, second+"/second/"+strconv.Itoa(id), &r.new[id], &r.secondHits) })
	}
	load.Go(func() error { return r.read(ctx, third+"/third/1", nil, &r.thirdHits) })
	enough := func(hits *atomic.Int64, n int64) {
		t.Helper()
		before := hits.Load()
		testenv.Eventually(t, patience, func() (bool, string) { return hits.Load() >= before+n, fmt.Sprint(hits.Load(), " hits") })
	}
	enough(&r.secondHits, 50)
	processes[1].Kill()
	begin(t, b.env, "invalidator")
	enough(&r.firstHits, 50)
	enough(&r.secondHits, 50)
	enough(&r.thirdHits, 5)
	untilHit(t, second+"/second/5")
	require.NoError(t, early.Commit(t.Context()))
	require.Contains(t, fresh(t, second+"/second/5").body, "1000000")
	stop()
	require.NoError(t, load.Wait())
	for id := 1; id <= 8; id++ { // after quiet, what is cached is what the database says
		for _, at := range []struct{ url, column string }{{first + "/first/", "old_n"}, {second + "/second/", "new_n"}} {
			want := testenv.Value[int64](t, b.db, fmt.Sprintf("SELECT %s FROM counters WHERE id = %d", at.column, id))
			fresh(t, at.url+strconv.Itoa(id))
			require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, want), untilHit(t, at.url+strconv.Itoa(id)).body)
		}
	}
	t.Logf("hits: first %d, second %d, third %d; writes %d", r.firstHits.Load(), r.secondHits.Load(), r.thirdHits.Load(), r.writes.Load())
}

// rolling is the load: what was acknowledged, by row, and the hits.
type rolling struct {
	t                                        *testing.T
	old, new                                 [9]atomic.Int64
	firstHits, secondHits, thirdHits, writes atomic.Int64
}

// write counts up the two columns of a row by turns.
func (r *rolling) write(ctx context.Context, db *testenv.Database, id int) error {
	pool := db.Pool(r.t)
	pace := time.NewTicker(3 * time.Millisecond) // so that there are hits between the writes
	defer pace.Stop()
	for n := int64(1); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		column, acknowledged := "old_n", &r.old[id]
		if n%2 == 0 {
			column, acknowledged = "new_n", &r.new[id]
		}
		if _, err := pool.Exec(context.WithoutCancel(ctx), fmt.Sprintf("UPDATE counters SET %s = $1 WHERE id = $2", column), n, id); err != nil {
			return err
		}
		acknowledged.Store(n)
		r.writes.Add(1)
	}
}

// read asks with no-cache and without in turn; a no-cache answer must have what was acknowledged before.
func (r *rolling) read(ctx context.Context, url string, acknowledged, hits *atomic.Int64) error {
	for n := 0; ctx.Err() == nil; n++ {
		req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		least := int64(0)
		if n%2 == 0 {
			req.Header.Set("Cache-Control", "no-cache")
			if acknowledged != nil {
				least = acknowledged.Load()
			}
		}
		got := do(r.t, req)
		var body struct{ N int64 }
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			return fmt.Errorf("%s: %w", got.body, err)
		}
		if body.N < least {
			return fmt.Errorf("STALE: %s answered %d with no-cache (%s), %d was acknowledged before", url, body.N, got.header.Get("Cache-Status"), least)
		}
		if got.hit() {
			hits.Add(1)
		}
	}
	return nil
}
