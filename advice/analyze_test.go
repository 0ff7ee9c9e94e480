package advice_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/advice"
	"freshet/example"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
)

const shop = `
	CREATE TABLE items (id bigint PRIMARY KEY, owner text NOT NULL, kind text, price numeric, labels text[] NOT NULL DEFAULT '{}', at timestamptz, size int);
	CREATE TABLE full_items (LIKE items INCLUDING ALL);
	ALTER TABLE full_items REPLICA IDENTITY FULL;
	CREATE TABLE parted (id bigint PRIMARY KEY, owner text) PARTITION BY RANGE (id);
	CREATE TABLE parted_1 PARTITION OF parted DEFAULT`

// Each case: a statement, why it is coarse, and what makes it fine. "certain" remedies were tried with the analysis.
func TestAnalyze(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, shop)
	a, err := advice.NewAnalyzer(t.Context(), db.Conn(t))
	require.NoError(t, err)
	for _, c := range []struct {
		name, header, sql string
		shape             string // of the table that the case is about: the first
		reason            string // a part of it; "" for a fine one
		code              string // all of it; "*" for any
		certain           bool
	}{
		{"fine by the key", "-- param: id bigint", "SELECT * FROM items WHERE id = :id", "items(id)", "", "", false},
		{"not in the replica identity", "-- param: owner text", "SELECT * FROM items WHERE owner = :owner", "items()",
			"owner is pinned, but the old row", "ALTER TABLE public.items REPLICA IDENTITY FULL;", true},
		{"fine with the whole row", "-- param: owner text", "SELECT * FROM full_items WHERE owner = :owner", "full_items(owner)", "", "", false},
		{"can be switched off", "-- param: kind text, optional", "SELECT * FROM full_items WHERE :kind IS NULL OR kind = :kind", "full_items()",
			"holds of any row when the parameter is absent", "-- param: kind text\n-- instead of: :kind IS NULL OR kind = :kind\nkind = :kind", true},
		{"can be switched off, and not logged", "-- param: kind text, optional", "SELECT * FROM items WHERE :kind = kind OR :kind IS NULL", "items()",
			"holds of any row when the parameter is absent",
			"-- param: kind text\n-- instead of: :kind = kind OR :kind IS NULL\n:kind = kind\nALTER TABLE public.items REPLICA IDENTITY FULL;", true},
		{"switched off by coalesce", "-- param: kind text, optional", "SELECT * FROM full_items WHERE kind = coalesce(:kind, kind)", "full_items()",
			"holds of any row", "-- param: kind text\n-- instead of: kind = COALESCE(:kind, kind)\nkind = :kind", true},
		{"another type", "-- param: id numeric", "SELECT * FROM items WHERE id = :id", "items()", "a numeric is compared with a column of type bigint",
			"-- param: id bigint\n-- instead of: id = :id\nid = :id", true},
		{"the second parameter", "-- param: lim int = 5\n-- param: kind text, optional",
			"SELECT * FROM full_items f WHERE (:kind IS NULL OR f.kind = :kind) LIMIT :lim", "full_items()", "holds of any row",
			"-- param: kind text\n-- instead of: :kind IS NULL OR f.kind = :kind\nf.kind = :kind", true},
		{"several values", "-- param: label text", "SELECT * FROM items WHERE labels @> ARRAY[:label]", "items()", "a column that holds several values",
			"CREATE TABLE public.items_labels (item_id bigint NOT NULL REFERENCES public.items (id) ON DELETE CASCADE, value text NOT NULL, PRIMARY KEY (value, item_id));\n" +
				"ALTER TABLE public.items_labels REPLICA IDENTITY FULL;", false},
		{"a range", "-- param: size int", "SELECT * FROM items WHERE size > :size", "items()", "is no equality", "", false},
		{"computed", "-- param: owner text", "SELECT * FROM items WHERE lower(owner) = lower(:owner)", "items()", "computed from owner", "*", false},
		{"no canonical text", "-- param: price numeric", "SELECT * FROM items WHERE price = :price", "items()", "values of the type numeric", "", false},
		{"a list of everything", "", "SELECT * FROM items ORDER BY id", "items()", "no condition", "", false},
		{"either of two", "-- param: owner text\n-- param: kind text", "SELECT * FROM full_items WHERE owner = :owner OR kind = :kind", "full_items()",
			"below OR or NOT", "", false},
		{"joined", "-- param: id bigint", "SELECT i.id, f.kind FROM full_items f JOIN items i ON i.owner = f.owner WHERE i.id = :id", "full_items()", "is joined", "", false},
		{"pinned by a constant only", "-- param: label text", "SELECT * FROM full_items WHERE kind = 'a' AND labels @> ARRAY[:label]", "full_items(kind)",
			"a column that holds several values", "*", false},
		{"pinned by a constant, and nothing else is asked", "-- param: lim int = 5", "SELECT * FROM full_items WHERE kind = 'a' LIMIT :lim", "full_items(kind)", "", "", false},
		{"partitioned", "-- param: id bigint", "SELECT * FROM parted WHERE id = :id", "parted(id)", "is partitioned",
			"SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', relid::regclass) FROM pg_partition_tree('public.parted') WHERE isleaf \\gexec", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := c.header
			if header != "" {
				header += "\n"
			}
			got, err := a.Analyze(parsed(t, "q", header, c.sql))
			require.NoError(t, err)
			require.NotEmpty(t, got.Shapes)
			s := got.Shapes[0]
			assert.Equal(t, c.shape, s.Name)
			assert.NotEmpty(t, s.Reads)
			if c.reason == "" {
				assert.Empty(t, s.Reason)
				assert.Empty(t, s.Flaw)
				return
			}
			assert.Contains(t, s.Reason, c.reason)
			assert.NotEmpty(t, s.Remedy.Text)
			assert.NotContains(t, s.Remedy.Text, "%")
			if c.code != "*" {
				assert.Equal(t, c.code, s.Remedy.Code)
			}
			assert.Equal(t, c.certain, s.Certain)
		})
	}
}

// The statements that are proposed run on a real server, and do what they promise.
func TestRemediesOfShapes(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, shop)
	for _, q := range []*query.Query{
		parsed(t, "by_owner", "-- param: owner text\n", "SELECT * FROM items WHERE owner = :owner"),
		parsed(t, "parted", "-- param: id bigint\n", "SELECT * FROM parted WHERE id = :id"),
		parsed(t, "labelled", "-- param: label text\n", "SELECT * FROM items WHERE labels @> ARRAY[:label]"),
	} {
		f := find(t, gathered(t, db, q), map[bool]string{true: "shape.unknown-old-values", false: "shape.coarse"}[q.Name == "parted"])
		if command, ok := strings.CutSuffix(f.Remedy.Code, `\gexec`); ok {
			db.Exec(t, testenv.Value[string](t, db, command))
		} else {
			db.Exec(t, f.Remedy.Code)
		}
		if q.Name != "labelled" { // which has to be written anew
			for _, id := range ids(advice.Findings(gathered(t, db, q))) {
				assert.NotContains(t, id, "shape.")
			}
		}
	}
}

func TestAnalyzeTellsTheTime(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, shop)
	a, err := advice.NewAnalyzer(t.Context(), db.Conn(t))
	require.NoError(t, err)
	got, err := a.Analyze(parsed(t, "q", "-- param: page int = 1, min 1, max 9\n-- param: size int, min 1, max 500\n-- param: kind text, one of a|b\n-- param: owner text\n",
		"SELECT * FROM items WHERE at > now() AND id = :page AND size = :size AND kind = :kind AND owner = :owner"))
	require.NoError(t, err)
	assert.True(t, got.Timed)
	var params []string
	for _, p := range got.Params {
		params = append(params, p.Name)
	}
	assert.Equal(t, []string{"owner", "size", "page", "kind"}, params)
	assert.Equal(t, []int64{0, 500, 9, 2}, []int64{got.Params[0].Values, got.Params[1].Values, got.Params[2].Values, got.Params[3].Values})

	_, err = a.Analyze(parsed(t, "q", "", "SELECT * FROM pg_class"))
	require.ErrorContains(t, err, "cannot be cached")
}

// The example's own queries: what is coarse of them is known, and every reason is a sentence.
func TestExample(t *testing.T) {
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Freshet, migrations.Example)
	queries, err := query.Load(example.Queries())
	require.NoError(t, err)
	var reads []*query.Query
	for _, q := range queries {
		if q.Cached() {
			reads = append(reads, q)
		}
	}
	e := gathered(t, db, reads...)
	coarse := map[string]string{}
	for _, q := range e.Queries {
		for _, s := range q.Analysis.Shapes {
			if s.Reason != "" {
				coarse[q.Name+" "+s.Table] = s.Reason
			}
		}
		assert.NotEmpty(t, e.Postgres.Plans[q.Name], q.Name)
	}
	assert.Equal(t, map[string]string{
		"quiz_list public.quizzes":      ":topic IS NULL OR topic = :topic pins nothing, as it holds of any row when the parameter is absent",
		"user_dashboard public.quizzes": "public.quizzes is joined, and no column of it equals a parameter or a constant",
		"blogs_by_tag public.blogs":     "tags @> ARRAY[:tag] compares a column that holds several values, and only = pins one",
	}, coarse)
	for _, f := range advice.Findings(e) {
		assert.Equal(t, advice.Info, f.Severity, f.Title)
	}
}
