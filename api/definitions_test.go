package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/example"
	"freshet/internal/testenv"
)

// status waits until a read is answered in that way.
func (s *site) status(path, want string) response {
	s.t.Helper()
	var r response
	testenv.Eventually(s.t, patience, func() (bool, string) {
		r = s.get(path)
		return r.cacheStatus() == want, fmt.Sprintf("%s: %d %q, not %q: %s", path, r.status, r.cacheStatus(), want, r.body)
	})
	return r
}

// buckets are the buckets of a table.
func (s *site) buckets(table string) []string {
	s.t.Helper()
	keys, err := s.redis.Keys(s.t.Context(), "freshet:public."+table+":*").Result()
	require.NoError(s.t, err)
	return keys
}

// activate gives shapes a new generation, which clears all their buckets and makes the shapes active.
func (s *site) activate(shapes ...cache.Shape) {
	s.t.Helper()
	next := s.state
	next.Stamp, next.Generations = cache.NewToken(), map[string]string{}
	for _, shape := range shapes {
		next.Generations[shape.String()] = cache.NewToken()
	}
	_, ok, err := s.store.Apply(s.t.Context(), s.state, cache.Batch{Next: next})
	require.NoError(s.t, err)
	require.True(s.t, ok)
	s.state = next
}

// A definition changes: no answer comes from the cache until the queries have been analyzed again, which the read itself asks for.
func TestDefinitionChanges(t *testing.T) {
	s := start(t)
	s.get(path1)
	require.Equal(t, hit, s.get(path1).cacheStatus())
	for _, generation := range []string{"second *", "third *"} {
		s.define(generation)
		r := s.get(path1)
		require.Equal(t, http.StatusOK, r.status)
		require.Equal(t, bypass+"schema-changed", r.cacheStatus())
		s.status(path1, hit) // what the query depends on is what it was
	}
}

// A cache that is empty when the api starts, or later, has no generation to bind the plans to; they are bound when it has one.
func TestPlansAreBoundToACacheThatBeginsLater(t *testing.T) {
	s := start(t)
	require.NoError(t, s.redis.FlushAll(t.Context()).Err())
	require.Equal(t, bypass+"no-watermark", s.get(path1).cacheStatus())
	s.definitions = "of another chain *"
	s.setWatermark(time.Now())
	s.status(path1, hit)
}

const thingFile = `-- name: thing
-- route: GET /things/{id}
-- param: id bigint
-- result: one
SELECT id, name FROM things WHERE id = :id`

// A view is replaced, so that the query depends on another table: its changes clear the entries from then on, and those of the old
// one do not.
func TestViewIsReplaced(t *testing.T) {
	s := start(t, func(o *options) {
		o.files = fstest.MapFS{"thing.sql": {Data: []byte(thingFile)}}
		o.prepare = func(db *testenv.Database) {
			db.Exec(t, `
				CREATE TABLE old_things (id bigint PRIMARY KEY, name text);
				CREATE TABLE new_things (id bigint PRIMARY KEY, name text);
				INSERT INTO old_things VALUES (1, 'old');
				INSERT INTO new_things VALUES (1, 'new');
				CREATE VIEW things AS SELECT id, name FROM old_things`)
		}
	})
	require.Equal(t, "old", s.field(s.status("/things/1", hit), "name"))
	require.Equal(t, []string{"freshet:public.old_things:id=1"}, s.buckets("*things"))

	s.db.Exec(t, "CREATE OR REPLACE VIEW things AS SELECT id, name FROM new_things")
	s.define("second *")
	r := s.get("/things/1")
	require.Equal(t, bypass+"schema-changed", r.cacheStatus())
	require.Equal(t, "new", s.field(r, "name"))
	// The shape of the other table is not active yet: what is read under it would never be cleared.
	require.Equal(t, "new", s.field(s.status("/things/1", bypass+"shape-inactive"), "name"))
	require.Equal(t, []string{"freshet:public.old_things:id=1"}, s.buckets("*things"))
	require.Equal(t, hit, s.status(path1, hit).cacheStatus(), "other queries go on")

	s.activate(cache.NewShape("public", "new_things", "id"))
	require.Equal(t, "new", s.field(s.status("/things/1", hit), "name"))
	s.db.Exec(t, "UPDATE new_things SET name = 'newer'")
	s.apply(position(t, "F/20"), cache.NewShape("public", "old_things", "id").Tag("1"))
	require.Equal(t, hit, s.get("/things/1").cacheStatus())
	s.apply(position(t, "F/30"), cache.NewShape("public", "new_things", "id").Tag("1"))
	require.Equal(t, "newer", s.field(s.get("/things/1"), "name"))
}

// The first query pins the column by what its file declares, the second one reads it.
const (
	gadgetFile = `-- name: gadget
-- route: GET /gadgets/{id}
-- param: id bigint
-- result: one
-- depends: gadgets(color = 'red')
SELECT id, name FROM gadgets WHERE id = :id`
	colorFile = `-- name: color
-- route: GET /colors/{id}
-- param: id bigint
-- result: one
SELECT id, color FROM gadgets WHERE id = :id`
)

// A query that cannot be analyzed any more is disabled: it reads Postgres, and says so; the log says so once, aloud. The others go on, and
// it comes back by itself.
func TestColumnIsGone(t *testing.T) {
	s := start(t, func(o *options) {
		o.files = fstest.MapFS{"gadget.sql": {Data: []byte(gadgetFile)}, "color.sql": {Data: []byte(colorFile)}}
		o.prepare = func(db *testenv.Database) {
			db.Exec(t, `CREATE TABLE gadgets (id bigint PRIMARY KEY, name text, color text);
				INSERT INTO gadgets VALUES (1, 'lamp', 'red')`)
		}
	})
	s.status("/gadgets/1", hit)
	s.status("/colors/1", hit)

	changed := func(generation string) { // as the invalidator does it
		s.activate(cache.NewShape("public", "gadgets", "id"), cache.NewShape("public", "gadgets", "color"))
		s.define(generation)
	}
	s.db.Exec(t, "ALTER TABLE gadgets DROP COLUMN color")
	changed("second *")
	r := s.status("/gadgets/1", bypass+"query-disabled")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "lamp", s.field(r, "name"))
	s.db.Exec(t, "UPDATE gadgets SET name = 'torch'")
	require.Equal(t, "torch", s.field(s.get("/gadgets/1"), "name"), "it reads Postgres")
	s.problem(s.get("/colors/1"), http.StatusInternalServerError, "/colors/1")
	s.status("/blogs/2", hit) // the others go on
	require.Equal(t, 2, s.log.count("QUERY DISABLED"), "of what one depends on nobody can tell; the other one cannot be prepared")

	s.define("third *") // something else has changed: it is not said again
	s.status("/blogs/2", hit)
	require.Equal(t, bypass+"query-disabled", s.get("/gadgets/1").cacheStatus())
	require.Equal(t, 2, s.log.count("QUERY DISABLED"))

	s.db.Exec(t, "ALTER TABLE gadgets ADD COLUMN color text DEFAULT 'blue'")
	changed("fourth *")
	s.status("/gadgets/1", hit)
	require.Equal(t, "blue", s.field(s.status("/colors/1", hit), "color"))
	require.Equal(t, 2, s.log.count("query enabled again"))
}

// Where Postgres has no event triggers (only a superuser can make them), the api compares the definitions every few seconds, and says in
// the log that they have changed: once, however many processes there are.
func TestChangeIsFoundByComparison(t *testing.T) {
	var cfg api.Config
	s := start(t, func(o *options) {
		o.prepare = func(db *testenv.Database) {
			db.Exec(t, "DROP EVENT TRIGGER freshet_ddl; DROP EVENT TRIGGER freshet_drop; DROP EVENT TRIGGER freshet_detach")
		}
	}, func(o *options) { cfg = o.api })
	known := func() string {
		return testenv.Value[string](t, s.db, "SELECT coalesce(min(fingerprint), '') FROM freshet.definitions")
	}
	first := known()
	require.NotEmpty(t, first, "as they are at the start")
	messages := s.messages()
	require.Zero(t, messages())

	cfg.Pool, cfg.Store, cfg.Queries = s.pool, s.store, load(t, example.Queries())
	another := func() {
		_, err := api.New(t.Context(), cfg) // compares
		require.NoError(t, err)
	}
	another()
	s.db.Exec(t, "UPDATE blogs SET title = 'New'; CREATE INDEX ON blogs (title)")
	another()
	require.Equal(t, first, known(), "nothing that a query depends on has changed")
	require.Zero(t, messages())

	s.db.Exec(t, "ALTER TABLE blogs ADD COLUMN motto text")
	testenv.Eventually(t, patience, func() (bool, string) { return known() != first, "the definitions are what they were" })
	require.Equal(t, 1, messages())
	another()
	require.Equal(t, 1, messages(), "one process has said it")
}

// Where there are event triggers, nothing is compared.
func TestNoComparisonBesideEventTriggers(t *testing.T) {
	s := start(t)
	s.define("second *")
	s.status(path1, hit)
	require.Zero(t, testenv.Value[int](t, s.db, "SELECT count(*)::int FROM freshet.definitions"))
}

// messages returns a function that counts the messages about definitions that are in the log from now on.
func (s *site) messages() func() int {
	s.t.Helper()
	slot := "messages_" + s.db.Name
	s.db.Exec(s.t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	return func() int {
		s.t.Helper()
		return testenv.Value[int](s.t, s.db, `SELECT count(*)::int FROM pg_logical_slot_peek_binary_changes($1, NULL::pg_lsn, NULL::int,
			'proto_version', '1', 'publication_names', 'freshet_main', 'messages', 'true')
			WHERE get_byte(data, 0) = ascii('M') AND position('freshet.ddl'::bytea IN data) > 0`, slot)
	}
}
