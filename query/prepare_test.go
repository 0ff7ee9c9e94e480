package query_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query"
)

// An error of Postgres is told with the line of the file that it means, whatever the rewriting did to the text.
func TestPrepareNamesTheLine(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, "CREATE TABLE blogs (id bigint PRIMARY KEY, title text, status text)")
	conn := db.Conn(t)
	for name, c := range map[string]struct {
		method, sql string
		line        int // of the statement; 0: it is fine
		want        string
	}{
		"a read":  {"GET", "SELECT id\nFROM blogs\nWHERE id = :id", 0, ""},
		"a write": {"DELETE", "DELETE FROM blogs\nWHERE id = :id\nRETURNING id", 0, ""},
		"a hint": {"GET", "SELECT id, -- ééé\n  '日本語', :id, :id, :id,\n  statsu FROM blogs", 3,
			`column "statsu" does not exist (SQLSTATE 42703); hint: Perhaps you meant to reference the column "blogs.status".`},
		"the first line":       {"GET", "SELECT nothing, :id", 1, `column "nothing" does not exist`},
		"after a remark":       {"GET", "SELECT -- a remark\n\n:id +\nnothing", 4, `column "nothing" does not exist`},
		"a table":              {"GET", "SELECT :id\nFROM\n  blgos", 3, `relation "blgos" does not exist`},
		"syntax":               {"GET", "SELECT :id\nFORM blogs b", 2, `syntax error at or near "blogs"`},
		"beyond the statement": {"GET", "SELECT :id\nFROM blogs\nWHERE", 1, "syntax error"},
		"types":                {"GET", "SELECT 1\nFROM blogs\nWHERE title = :id", 3, "operator does not exist: text = bigint"},
		"no RETURNING":         {"DELETE", "DELETE FROM blogs\nWHERE id = :id", 1, `does not have a RETURNING clause`},
		"a write in a read":    {"GET", "WITH gone AS (DELETE FROM blogs WHERE id = :id RETURNING id)\nSELECT * FROM gone", 1, "WITH clause containing a data-modifying statement"},
	} {
		t.Run(name, func(t *testing.T) {
			header := "-- name: t\n-- route: " + c.method + " /{id}\n-- param: id bigint\n"
			if c.method == "GET" {
				header += "-- result: one\n-- depends: blogs(id)\n"
			}
			q, err := query.Parse("dir/t.sql", []byte(header+c.sql))
			require.NoError(t, err)
			err = q.Prepare(t.Context(), conn)
			if c.line == 0 {
				require.NoError(t, err)
				return
			}
			var pgErr *pgconn.PgError
			require.ErrorAs(t, err, &pgErr)
			require.ErrorContains(t, err, fmt.Sprintf("dir/t.sql:%d: ", strings.Count(header, "\n")+c.line))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A server that is gone is not the file's fault.
func TestPrepareWithoutServer(t *testing.T) {
	conn := testenv.Postgres(t).Conn(t)
	require.NoError(t, conn.Close(context.Background()))
	err := parse(t, "GET /").Prepare(t.Context(), conn)
	require.ErrorContains(t, err, "prepare the query test: ")
	var problem *query.Error
	require.NotErrorAs(t, err, &problem)
}

// What Bind lets through, Postgres takes, and it means what Postgres takes the raw value for.
func TestPostgresTakesCanonicalValues(t *testing.T) {
	db := testenv.Postgres(t)
	conn := db.Conn(t)
	for _, c := range scalars {
		q := parse(t, "GET /x", "v "+c.typ)
		for raw, canonical := range c.good {
			args, err := q.Bind(query.Values{Query: url.Values{"v": {raw}}})
			if canonical == "" && raw != "" {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
			var same bool
			sql := fmt.Sprintf("SELECT $1::%s = '%s'::%s", c.typ, strings.ReplaceAll(raw, "'", "''"), c.typ)
			require.NoError(t, conn.QueryRow(t.Context(), sql, args.Values()...).Scan(&same), "%s %q", c.typ, raw)
			require.True(t, same, "%s %q", c.typ, raw)
		}
	}
}

// The text of a query gives one row of one text column, whatever the statement finds.
func TestText(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, `CREATE TABLE things (id int, freshet_row int, tags text[]);
		INSERT INTO things VALUES (1, 10, '{a}'), (2, 20, '{}')`)
	conn := db.Conn(t)
	for name, c := range map[string]struct {
		head, sql, want, sqlstate string
	}{
		"many":            {"GET /\n-- result: many\n-- depends: things()", "SELECT id FROM things ORDER BY id DESC;", `[{"id":2}, {"id":1}]`, ""},
		"many and empty":  {"GET /\n-- result: many\n-- depends: things()", "SELECT id FROM things WHERE false", `[]`, ""},
		"one":             {"GET /\n-- result: one\n-- depends: things()", "SELECT id, tags FROM things WHERE id = 1 -- the end", `{"id":1,"tags":["a"]}`, ""},
		"one and none":    {"GET /\n-- result: one\n-- depends: things()", "SELECT id FROM things WHERE false", "", ""},
		"one and two":     {"GET /\n-- result: one\n-- depends: things()", "SELECT id FROM things", "", "21000"},
		"write":           {"PUT /", "UPDATE things SET id = 3 WHERE id = 1 RETURNING id", `{"id":3}`, ""},
		"write and none":  {"PUT /", "UPDATE things SET id = 3 WHERE false RETURNING id", "", ""},
		"write and two":   {"PUT /", "UPDATE things SET id = 3 RETURNING id", "", "21000"},
		"write many":      {"PUT /\n-- result: many", "UPDATE things SET id = id + 1 RETURNING id", `[{"id":2}, {"id":3}]`, ""},
		"write with WITH": {"PUT /", "WITH x AS (SELECT 1 AS id) DELETE FROM things USING x WHERE things.id = x.id RETURNING x.id", `{"id":1}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := query.Parse("t.sql", []byte("-- name: t\n-- route: "+c.head+"\n"+c.sql))
			require.NoError(t, err)
			require.NoError(t, q.Prepare(t.Context(), conn))
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
			var got *string
			err = tx.QueryRow(t.Context(), q.Text).Scan(&got)
			if c.sqlstate != "" {
				var pgErr *pgconn.PgError
				require.ErrorAs(t, err, &pgErr)
				require.Equal(t, c.sqlstate, pgErr.Code)
				return
			}
			require.NoError(t, err)
			if c.want == "" {
				require.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			require.Equal(t, c.want, strings.Join(strings.Fields(*got), " "))
		})
	}
}
