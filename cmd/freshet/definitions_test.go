package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/testenv"
	"freshet/migrations"
)

// definitionQueries read through whatever can be defined anew.
var definitionQueries = map[string]string{
	"through_view":  "SELECT id, val FROM through WHERE id = :id",
	"of_table":      "SELECT id, val FROM plain WHERE id = :id",
	"by_owner":      "SELECT count(*) AS n FROM plain WHERE owner = :id",
	"of_partitions": "SELECT count(*) AS n, max(val) AS val FROM parts WHERE owner = :id",
	"by_function":   "SELECT id, label(val) AS val FROM plain WHERE id = :id",
	"of_row_type":   "SELECT id, to_jsonb(meta)::text AS val FROM typed WHERE id = :id",
	"of_mood":       "SELECT id, mood FROM moods WHERE id = :id",
}

const definitionTables = `
	CREATE TABLE plain (id int PRIMARY KEY, owner int, val text); ALTER TABLE plain REPLICA IDENTITY FULL;
	CREATE TABLE other (id int PRIMARY KEY, val text); ALTER TABLE other REPLICA IDENTITY FULL;
	CREATE TABLE parts (id int, owner int, val text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100); ALTER TABLE parts_1 REPLICA IDENTITY FULL;
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200); ALTER TABLE parts_2 REPLICA IDENTITY FULL;
	CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TABLE moods (id int PRIMARY KEY, mood mood);
	CREATE TABLE settings (theme text); CREATE TABLE typed (id int PRIMARY KEY, meta settings); INSERT INTO typed VALUES (1, ROW('dark'));
	CREATE VIEW through AS SELECT id, val FROM plain;
	CREATE FUNCTION label(t text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'one ' || t $$;
	INSERT INTO plain VALUES (1, 1, 'a'), (2, 1, 'b'); INSERT INTO other VALUES (1, 'other');
	INSERT INTO parts VALUES (1, 1, 'p'), (101, 1, 'q'); INSERT INTO moods VALUES (1, 'happy');`

// definitions starts everything on these tables and queries.
func definitions(t *testing.T) (b *backends, url string) {
	t.Helper()
	b = newBackends(t, testenv.Postgres(t))
	b.db.Exec(t, definitionTables)
	b.migrate(t)
	dir := t.TempDir()
	for name, sql := range definitionQueries {
		text := "-- name: " + name + "\n-- route: GET /" + name + "/{id}\n-- param: id int\n-- result: one\n" + sql + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".sql"), []byte(text), 0o600))
	}
	_, url = b.start(t, "--queries", dir)
	return b, url
}

// fresh reads with no-cache: the answer must reflect everything that was acknowledged before, from wherever it comes.
func fresh(t *testing.T, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Cache-Control", "no-cache")
	return do(t, req)
}

// Whatever is defined anew, a no-cache read shows it at once, the query is analyzed again, and is cached again.
func TestDefinitionsChange(t *testing.T) {
	b, url := definitions(t)
	for _, step := range []struct{ name, sql, path, want string }{
		{"a view is replaced", "CREATE OR REPLACE VIEW through AS SELECT id, val FROM other", "/through_view/1", `"val":"other"`},
		{"what the view now reads", "UPDATE other SET val = 'other 2'", "/through_view/1", `"val":"other 2"`},
		{"a function is replaced", "CREATE OR REPLACE FUNCTION label(t text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'two ' || t $$", "/by_function/1", `"val":"two a"`},
		{"a label is renamed", "ALTER TYPE mood RENAME VALUE 'happy' TO 'glad'", "/of_mood/1", `"mood":"glad"`},
		{"a table whose row type a column has", "ALTER TABLE settings RENAME theme TO look", "/of_row_type/1", `look`},
		{"a type is changed", "ALTER TABLE plain ALTER val TYPE text USING val || '!'", "/of_table/1", `"val":"a!"`},
		{"a table is made anew", "BEGIN; CREATE TABLE next (LIKE plain INCLUDING ALL); ALTER TABLE next REPLICA IDENTITY FULL; INSERT INTO next VALUES (1, 1, 'new'); DROP TABLE plain CASCADE; ALTER TABLE next RENAME TO plain; COMMIT", "/of_table/1", `"val":"new"`},
		{"a write to it", "UPDATE plain SET val = 'newer'", "/of_table/1", `"val":"newer"`},
		{"the replica identity is another one", "ALTER TABLE plain REPLICA IDENTITY DEFAULT", "/by_owner/1", `"n":1`},
		{"a row changes its owner without it", "UPDATE plain SET owner = 2", "/by_owner/1", `"n":0`},
		{"a partition is truncated", "TRUNCATE parts_2", "/of_partitions/1", `"n":1,"val":"p"`},
		{"a partition is detached", "ALTER TABLE parts DETACH PARTITION parts_1", "/of_partitions/1", `"n":0`},
		{"and attached", "ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (100)", "/of_partitions/1", `"n":1`},
		{"and detached concurrently", "ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY", "/of_partitions/1", `"n":0`},
		{"a new partition", "CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (200) TO (300); ALTER TABLE parts_3 REPLICA IDENTITY FULL; INSERT INTO parts VALUES (201, 1, 'r')", "/of_partitions/1", `"n":1,"val":"r"`},
		{"the new partition is truncated", "TRUNCATE parts_3", "/of_partitions/1", `"n":0`},
		{"a partition is dropped", "INSERT INTO parts VALUES (202, 1, 's'); DROP TABLE parts_3", "/of_partitions/1", `"n":0`},
	} {
		untilHit(t, url+step.path)
		b.db.Exec(t, step.sql)
		got := fresh(t, url+step.path)
		require.Equal(t, http.StatusOK, got.status, "%s: %s", step.name, got.body)
		require.Contains(t, got.body, step.want, "%s: %s", step.name, got.header.Get("Cache-Status"))
		require.Contains(t, untilHit(t, url+step.path).body, step.want, step.name)
	}
}

// A query whose column is gone is disabled and says so; the others go on, and it comes back with its column.
func TestColumnIsGone(t *testing.T) {
	b, url := definitions(t)
	untilHit(t, url+"/of_mood/1")
	untilHit(t, url+"/of_table/1")
	b.db.Exec(t, "ALTER TABLE moods RENAME mood TO humour")
	testenv.Eventually(t, patience, func() (bool, string) {
		a := get(t, url+"/of_mood/1")
		return a.status == http.StatusInternalServerError, a.body
	})
	untilHit(t, url+"/of_table/1")
	disabled := func(n string) {
		testenv.Eventually(t, patience, func() (bool, string) {
			a := get(t, url+"/metrics")
			return strings.Contains(a.body, "\nfreshet_queries_disabled "+n+"\n"), "the number of disabled queries should be " + n
		})
	}
	disabled("1")
	b.db.Exec(t, "ALTER TABLE moods RENAME humour TO mood")
	untilHit(t, url+"/of_mood/1")
	disabled("0")
}

// Clearing by hand, in order with the transaction; why tells what cleared a bucket; wait returns when the cache has applied it.
func TestClearWhyAndWait(t *testing.T) {
	b, url := definitions(t)
	wait := func() {
		output, status := finish(t, b.env, "wait", "--timeout", "30s")
		require.Zero(t, status, output)
		require.Regexp(t, `^[0-9A-F]+/[0-9A-F]+\n$`, output)
	}
	untilHit(t, url+"/of_table/1")
	untilHit(t, url+"/of_table/2")
	b.db.Exec(t, `SELECT freshet.clear('plain', '{"id": 1}')`)
	wait()
	require.False(t, get(t, url+"/of_table/1").hit())
	require.True(t, get(t, url+"/of_table/2").hit(), "the other bucket is untouched")
	b.db.Exec(t, "UPDATE plain SET val = 'x' WHERE id = 2")
	b.db.Exec(t, "UPDATE plain SET owner = 3 WHERE id = 2")
	wait()
	output, status := finish(t, b.env, "why", "public.plain:id=2")
	require.Zero(t, status, output)
	require.Contains(t, output, "freshet:public.plain:id=2\n")
	require.Equal(t, 1, strings.Count(output, "update   id=2"), "that its owner changed is of no interest to of_table: %s", output)
	b.db.Exec(t, "SELECT freshet.clear_all()")
	wait()
	require.False(t, get(t, url+"/of_mood/1").hit())
	output, status = finish(t, b.env, "why", "freshet:public.plain:id=1", "--json")
	require.Zero(t, status, output)
	require.Contains(t, output, `"op":"clear"`)
	output, status = finish(t, b.env, "wait", "--position", "FFFF/0", "--timeout", "50ms")
	require.Equal(t, 1, status)
	require.Contains(t, output, "has not applied FFFF/0 within 50ms")
}

// After a failover positions are given out again. A bare LSN is one of the primary that there is: a cache that is further on the timeline
// before has not applied it.
func TestWaitAfterAFailover(t *testing.T) {
	primary := testenv.PrivatePostgres(t, nil)
	primary.Migrate(t, migrations.Freshet)
	replica := primary.Replica(t, nil, nil)
	replica.Promote(t)
	b := newBackends(t, replica)
	b.db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ($1, 'test')", sourceName(replica)) // as a cdc that begins the log
	client := b.redis.Client(t)
	require.NoError(t, client.HSet(t.Context(), "freshet:watermark", "timeline", "1", "position", "F/10").Err())
	output, status := finish(t, b.env, "wait", "--position", "0/10", "--timeout", "50ms")
	require.Equal(t, 1, status, output)
	require.Contains(t, output, "has not applied 0/10;timeline=2 within 50ms")
	output, status = finish(t, b.env, "wait", "--position", "0/10;timeline=1", "--timeout", "50ms")
	require.Zero(t, status, output)
	require.NoError(t, client.HSet(t.Context(), "freshet:watermark", "timeline", "2", "position", "0/10").Err())
	output, status = finish(t, b.env, "wait", "--position", "0/10", "--timeout", "50ms")
	require.Zero(t, status, output)
	require.Equal(t, "0/10;timeline=2\n", output)
}

// No event trigger tells of ALTER DATABASE ... SET: an api keeps the search_path that it began with, on every connection, so that what a
// query reads and what it was found to depend on are the same tables.
func TestSearchPathOfLaterConnections(t *testing.T) {
	b, url := definitions(t)
	b.db.Exec(t, `INSERT INTO plain SELECT n, 1, 'public' FROM generate_series(10, 60) n;
		CREATE SCHEMA early; CREATE TABLE early.plain (id int PRIMARY KEY, owner int, val text); ALTER TABLE early.plain REPLICA IDENTITY FULL;
		INSERT INTO early.plain SELECT n, 1, 'early' FROM generate_series(10, 60) n`)
	untilHit(t, url+"/of_table/1")
	b.db.Exec(t, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = early, public', current_database()); END $$`)
	var many errgroup.Group
	for id := 10; id <= 60; id++ { // at once, so that there are new connections
		many.Go(func() error {
			if a := fresh(t, fmt.Sprintf("%s/of_table/%d", url, id)); !strings.Contains(a.body, `"public"`) {
				return fmt.Errorf("%d: %s", id, a.body)
			}
			return nil
		})
	}
	require.NoError(t, many.Wait())
}
