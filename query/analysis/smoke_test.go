package analysis_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/example"
	"freshet/internal/testenv"
	"freshet/query"
	"freshet/query/analysis"
)

func TestSmoke(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, `CREATE TABLE users (id bigint primary key, handle text, name text);
	CREATE TABLE quizzes (id bigint primary key, title text, topic text, questions int, created_at timestamptz);
	CREATE TABLE blogs (id bigint primary key, slug text, title text, content text, status text, tags text[], author text, views int, created_at timestamptz, updated_at timestamptz);
	CREATE TABLE attempts (id bigint primary key, user_id bigint, quiz_id bigint, score numeric, started_at timestamptz, finished_at timestamptz);
	ALTER TABLE blogs REPLICA IDENTITY FULL;ALTER TABLE attempts REPLICA IDENTITY FULL;
	CREATE VIEW published AS SELECT id, title, author FROM blogs WHERE status = 'published';`)
	c, err := analysis.ReadCatalog(t.Context(), db.Conn(t))
	require.NoError(t, err)
	qs, err := query.Load(example.Queries())
	require.NoError(t, err)
	for _, q := range qs {
		if q.Cached() {
			show(c, q.Name, q.SQL)
		}
	}
	for _, s := range []string{
		"SELECT title FROM published WHERE author = $1::text",
		"SELECT b.title, u.name FROM blogs b LEFT JOIN users u ON u.id = $1::int AND u.handle = b.author WHERE b.id IN (1,2,$2::bigint)",
		"SELECT * FROM attempts a JOIN quizzes q ON q.id = a.quiz_id WHERE q.id = $1::bigint",
		"WITH x AS (SELECT * FROM blogs) SELECT count(*) FROM x WHERE id = 3 AND status = ANY($1::text[])",
		"SELECT 1 FROM blogs WHERE id = 1 UNION SELECT 2 FROM blogs WHERE status = 'a'",
		"SELECT random() FROM blogs", "SELECT now(), (SELECT count(*) FROM users u WHERE u.handle = b.author) FROM blogs b WHERE b.id=1",
	} {
		show(c, s, s)
	}
	names := []string{}
	rows, _ := db.Conn(t).Query(t.Context(), "select proname from pg_proc where pronamespace='pg_catalog'::regnamespace group by 1 having max(provolatile::text)='v' and min(provolatile::text)<>'v'")
	for rows.Next() {
		var s string
		rows.Scan(&s)
		names = append(names, s)
	}
	fmt.Println(names)
}

func show(c *analysis.Catalog, name, sql string) {
	r, err := analysis.Analyze(c, sql)
	fmt.Println("==", name, err)
	if err == nil {
		for _, d := range r.Dependencies {
			fmt.Println("    ", d.Key(), d.Reads)
		}
		for _, w := range r.Warnings {
			fmt.Println("   warning:", w)
		}
	}
}
