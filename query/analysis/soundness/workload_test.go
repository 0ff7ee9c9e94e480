package soundness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis"
)

// The same check on what others have thought of: a folder each with a schema, what reads it, and what writes to it.
func TestWorkloads(t *testing.T) {
	folders, err := filepath.Glob("testdata/workloads/*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			r := &round{
				conn: testenv.Postgres(t).Conn(t), o: Options{Analyze: analysis.Analyze}, report: &Report{},
				rng: rand.New(rand.NewPCG(1, 1)), schema: &schema{},
			}
			loadWorkload(t, r, folder)
			writes := paragraphs(t, folder, "writes.sql")
			for range 120 {
				write := fill(r.rng, pick(newDraw(r.rng), writes))
				stale, err := r.apply(t.Context(), []string{strings.TrimSuffix(write, ";")})
				require.NoError(t, err)
				if stale != nil {
					t.Fatalf("stale after %s:\n%s\nparams %q, depends on %v", write, stale.sql, stale.params, stale.deps)
				}
			}
			t.Log("\n" + r.report.String())
		})
	}
}

// loadWorkload makes the tables, with the triggers that log their rows, and the queries, some of each with its parameters.
func loadWorkload(t *testing.T, r *round, folder string) {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join(folder, "schema.sql"))
	require.NoError(t, err)
	_, err = r.conn.Exec(t.Context(), string(sql)+"; CREATE SCHEMA freshet_log; "+changesSQL)
	require.NoError(t, err)
	r.catalog, err = analysis.ReadCatalog(t.Context(), r.conn)
	require.NoError(t, err)
	for _, name := range tableNames(t.Context(), t, r.conn) {
		tbl := &table{schema: "public", name: name}
		err = r.conn.QueryRow(t.Context(), `SELECT c.relreplident = 'f', ARRAY(SELECT a.attname::text FROM pg_index i
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary)
			FROM pg_class c WHERE c.oid = to_regclass($1)`, "public."+name).Scan(&tbl.identityFull, &tbl.key)
		require.NoError(t, err)
		for _, c := range r.catalog.Find("public", name).Columns {
			tbl.columns = append(tbl.columns, column{name: c.Name, generated: c.Generated})
		}
		r.schema.tables = append(r.schema.tables, tbl)
		_, err = r.conn.Exec(t.Context(), strings.Join(triggers(tbl), "; "))
		require.NoError(t, err)
	}
	for i, read := range paragraphs(t, folder, "reads.sql") {
		for j := range 4 {
			c := &candidate{query: query{sql: strings.TrimSuffix(withoutComments(read), ";")}, name: fmt.Sprintf("q%d_%d", i, j)}
			if _, list, ok := strings.Cut(read, "-- params: "); ok {
				list, _, _ = strings.Cut(list, "\n")
				for p := range strings.SplitSeq(list, "; ") {
					c.params = append(c.params, fill(r.rng, p))
				}
			}
			_, err := r.conn.Prepare(t.Context(), c.name, c.wrapped())
			require.NoError(t, err, c.sql)
			require.NoError(t, r.conn.QueryRow(t.Context(), c.name, c.params...).Scan(&c.result))
			require.NoError(t, r.analyze(c))
			r.queries = append(r.queries, c)
			r.report.Queries++
		}
	}
}

func tableNames(ctx context.Context, t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(ctx, "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

// paragraphs are the parts of a file between empty lines, without those that are nothing but comments.
func paragraphs(t *testing.T, folder, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	require.NoError(t, err)
	var out []string
	for p := range strings.SplitSeq(string(text), "\n\n") {
		if withoutComments(p) != "" {
			out = append(out, strings.TrimSpace(p))
		}
	}
	return out
}

func withoutComments(sql string) string {
	return strings.TrimSpace(regexp.MustCompile(`(?m)^--.*\n?`).ReplaceAllString(sql, ""))
}

var token = regexp.MustCompile(`\{[^}]*\}`)

// fill replaces {1..9} by a number and {a|b} by one of the words. {x:1..9} names its value, for {x} further on.
func fill(rng *rand.Rand, template string) string {
	named := map[string]string{}
	return token.ReplaceAllStringFunc(template, func(s string) string {
		s = s[1 : len(s)-1]
		if value, ok := named[s]; ok {
			return value
		}
		name, choices, isNamed := strings.Cut(s, ":")
		if !isNamed {
			choices = s
		}
		words := strings.Split(choices, "|")
		value := words[rng.IntN(len(words))]
		if from, to, ok := strings.Cut(choices, ".."); ok {
			low, _ := strconv.Atoi(from)
			high, _ := strconv.Atoi(to)
			value = strconv.Itoa(low + rng.IntN(high-low+1))
		}
		if isNamed {
			named[name] = value
		}
		return value
	})
}
