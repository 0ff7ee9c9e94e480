package warm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/example"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
	"freshet/query/analysis"
	"freshet/query/plan"
)

// read is a query of a file's header lines and its statement.
func read(t *testing.T, name, route, params, sql string) *query.Query {
	t.Helper()
	var header strings.Builder
	fmt.Fprintf(&header, "-- name: %s\n-- route: GET %s\n", name, route)
	for p := range strings.SplitSeq(params, ";") {
		if p = strings.TrimSpace(p); p != "" {
			fmt.Fprintf(&header, "-- param: %s\n", p)
		}
	}
	q, err := query.Parse(name+".sql", []byte(header.String()+"-- result: many\n"+sql))
	require.NoError(t, err)
	return q
}

// plansOf analyzes queries as the api does.
func plansOf(t *testing.T, db *testenv.Database, queries []*query.Query) *plan.Set {
	t.Helper()
	catalog, err := analysis.ReadCatalog(t.Context(), db.Conn(t))
	require.NoError(t, err)
	plans := plan.New(plan.Unbound, catalog, queries)
	for q, one := range plans.Of {
		require.NoError(t, one.Refused, q.Name)
	}
	return plans
}

// row makes a row of texts like "id=1 name=ann gone=NULL".
func row(text string) (r events.Row) {
	for pair := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(pair, "=")
		r = append(r, events.Field{Name: name, Value: strings.TrimPrefix(value, "NULL"), Null: value == "NULL"})
	}
	return r
}

// paths are what a change has warmed: the URLs, sorted.
func paths(t *testing.T, b *binder, table events.Table, c *events.Change) []string {
	t.Helper()
	var all []string
	b.bind(table, c, func(key []byte) {
		p, ok := b.pair(string(key))
		if !ok {
			all = append(all, "inadmissible")
			return
		}
		path, ok := p.Args.URL()
		require.True(t, ok)
		all = append(all, path)
	})
	slices.Sort(all)
	return slices.Compact(all)
}

func everyQuery(string) bool       { return true }
func everyTable(events.Table) bool { return true }

// Each rule by which a row determines the parameters of a request.
func TestBinding(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, `CREATE TABLE t (id bigint PRIMARY KEY, a text, b text, n int, f boolean, u uuid, d date); ALTER TABLE t REPLICA IDENTITY FULL;
		CREATE TABLE other (id bigint PRIMARY KEY, t_id bigint); ALTER TABLE other REPLICA IDENTITY FULL`)
	for _, tt := range []struct {
		name, params, sql string
		table             string // t unless said
		old, new          string
		want              []string
	}{
		{name: "a pinned column gives the parameter its value", params: "id bigint", sql: "SELECT * FROM t WHERE id = :id",
			new: "id=7 a=x", want: []string{"/q?id=7"}},
		{name: "of a deleted row the old values", params: "id bigint", sql: "SELECT * FROM t WHERE id = :id",
			old: "id=7 a=x", want: []string{"/q?id=7"}},
		{name: "an update counts once where the value is the same", params: "id bigint", sql: "SELECT * FROM t WHERE id = :id",
			old: "id=7 a=x", new: "id=7 a=y", want: []string{"/q?id=7"}},
		{name: "and twice where it differs", params: "a text", sql: "SELECT * FROM t WHERE a = :a",
			old: "id=7 a=x", new: "id=7 a=y", want: []string{"/q?a=x", "/q?a=y"}},
		{name: "a parameter that nothing determines has its default", params: "a text; limit int = 50", sql: "SELECT * FROM t WHERE a = :a LIMIT :limit",
			new: "id=7 a=x", want: []string{"/q?a=x&limit=50"}},
		{name: "a value that is the default is the same request", params: "a text = 'x'", sql: "SELECT * FROM t WHERE a = :a",
			new: "id=7 a=x", want: []string{"/q?a=x"}},
		{name: "an optional one is NULL", params: "a text; b text, optional", sql: "SELECT * FROM t WHERE a = :a AND (:b IS NULL OR b = :b)",
			new: "id=7 a=x b=y", want: []string{"/q?a=x"}},
		{name: "without a default there is nobody to ask for", params: "a text; n int", sql: "SELECT * FROM t WHERE a = :a AND n > :n",
			new: "id=7 a=x n=5"},
		{name: "a column pinned to a constant must have it", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND b = 'yes'",
			new: "id=7 a=x b=yes", want: []string{"/q?a=x"}},
		{name: "and has another value", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND b = 'yes'",
			new: "id=7 a=x b=no"},
		{name: "a row that leaves the constant", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND b = 'yes'",
			old: "id=7 a=x b=yes", new: "id=7 a=x b=no", want: []string{"/q?a=x"}},
		{name: "one of several constants", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND n IN (1, 2)",
			new: "id=7 a=x n=2", want: []string{"/q?a=x"}},
		{name: "none of several constants", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND n IN (1, 2)",
			new: "id=7 a=x n=3"},
		{name: "a constant or a parameter: the constant", params: "a text = 'p'", sql: "SELECT * FROM t WHERE a IN ('c', :a)",
			new: "id=7 a=c", want: []string{"/q?a=p"}},
		{name: "a constant or a parameter: the parameter", params: "a text = 'p'", sql: "SELECT * FROM t WHERE a IN ('c', :a)",
			new: "id=7 a=x", want: []string{"/q?a=x"}},
		{name: "two columns by one parameter, with one value", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND b = :a",
			new: "id=7 a=x b=x", want: []string{"/q?a=x"}},
		{name: "two columns by one parameter, with two values", params: "a text", sql: "SELECT * FROM t WHERE a = :a AND b = :a",
			new: "id=7 a=x b=y"},
		{name: "an element of a list", params: "as text[]", sql: "SELECT * FROM t WHERE a = ANY(:as)",
			new: "id=7 a=x", want: []string{"/q?as=x"}},
		{name: "an element that no URL can have", params: "as text[]", sql: "SELECT * FROM t WHERE a = ANY(:as)",
			new: "id=7 a=x,y", want: []string{"inadmissible"}},
		{name: "NULL equals nothing", params: "a text", sql: "SELECT * FROM t WHERE a = :a",
			old: "id=7 a=NULL", new: "id=7 a=x", want: []string{"/q?a=x"}},
		{name: "what is not in the log determines nothing", params: "a text", sql: "SELECT * FROM t WHERE a = :a",
			old: "id=7", new: "id=7 b=y"},
		{name: "a value that the file does not admit", params: "id bigint, max 5", sql: "SELECT * FROM t WHERE id = :id",
			new: "id=7", want: []string{"inadmissible"}},
		{name: "no parameters at all", sql: "SELECT count(*) AS n FROM t", new: "id=7", want: []string{"/q"}},
		{name: "types whose text is their value", params: "f bool; u uuid; d date", sql: "SELECT * FROM t WHERE f = :f AND u = :u AND d = :d",
			new:  "id=7 f=t u=123e4567-e89b-12d3-a456-426614174000 d=2026-02-03",
			want: []string{"/q?d=2026-02-03&f=t&u=123e4567-e89b-12d3-a456-426614174000"}},
		{name: "a join: the row of either table", params: "id bigint", sql: "SELECT t.id FROM t JOIN other o ON o.t_id = t.id WHERE t.id = :id",
			table: "other", new: "id=9 t_id=7", want: []string{"/q?id=7"}},
		{name: "a table that is pinned to nothing", params: "id bigint", sql: "SELECT id, (SELECT count(*) FROM other) AS n FROM t WHERE id = :id",
			table: "other", new: "id=9 t_id=7"},
		{name: "another table", params: "id bigint", sql: "SELECT * FROM t WHERE id = :id", table: "other", new: "id=9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := read(t, "q", "/q", tt.params, tt.sql)
			b := newBinder(plansOf(t, db, []*query.Query{q}), everyQuery, everyTable)
			table := events.Table{Schema: "public", Name: "t"}
			if tt.table != "" {
				table.Name = tt.table
			}
			require.Equal(t, tt.want, paths(t, b, table, &events.Change{Old: row(tt.old), New: row(tt.new)}))
		})
	}
}

// A request is one candidate, whether a row has determined its parameter or it has its default.
func TestBindingCountsARequestOnce(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, `CREATE TABLE t (id bigint PRIMARY KEY, a text); ALTER TABLE t REPLICA IDENTITY FULL;
		CREATE TABLE other (id bigint PRIMARY KEY); ALTER TABLE other REPLICA IDENTITY FULL`)
	q := read(t, "q", "/q", "a text = 'x'", "SELECT (SELECT count(*) FROM t WHERE a = :a) AS n, (SELECT count(*) FROM other) AS m")
	b := newBinder(plansOf(t, db, []*query.Query{q}), everyQuery, everyTable)
	keys := map[string]int{}
	count := func(key []byte) { keys[string(key)]++ }
	b.bind(events.Table{Schema: "public", Name: "t"}, &events.Change{New: row("id=1 a=x")}, count)
	b.bind(events.Table{Schema: "public", Name: "other"}, &events.Change{New: row("id=1")}, count)
	require.Len(t, keys, 1)
}

// The example's queries: a blog is read by its id, by its slug, in its list and among those of its author; an attempt makes its user's front
// page another one.
func TestBindingOfTheExample(t *testing.T) {
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Example)
	queries, err := query.Load(example.Queries())
	require.NoError(t, err)
	b := newBinder(plansOf(t, db, queries), everyQuery, everyTable)
	blogs := events.Table{Schema: "public", Name: "blogs"}
	require.Equal(t, []string{"/authors/ann/blogs?limit=20&offset=0", "/blogs/7", "/blogs/slug/x%20y", "/blogs?limit=50&offset=0&status=published"},
		paths(t, b, blogs, &events.Change{New: append(row("id=7 author=ann status=published"), events.Field{Name: "slug", Value: "x y"})}))
	require.Equal(t, []string{"/blogs/7", "/blogs/slug/s", "/blogs?limit=50&offset=0&status=draft"},
		paths(t, b, blogs, &events.Change{Old: row("id=7 author=ann status=draft slug=s")}), "no draft is on an author's page")
	require.Equal(t, []string{"/users/3/dashboard"},
		paths(t, b, events.Table{Schema: "public", Name: "attempts"}, &events.Change{New: row("id=1 user_id=3 quiz_id=2")}))
	require.Equal(t, []string{"/users/3/dashboard"}, paths(t, b, events.Table{Schema: "public", Name: "users"}, &events.Change{New: row("id=3")}))
	require.Equal(t, []string{"/quizzes"}, paths(t, b, events.Table{Schema: "public", Name: "quizzes"}, &events.Change{New: row("id=3 topic=sql")}))
}
