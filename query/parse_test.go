package query_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A case is a folder of testdata: input.sql, and output.txt with the query it makes or its errors.
func TestParseGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/input.sql")
	require.NoError(t, err)
	require.NotEmpty(t, inputs)
	for _, input := range inputs {
		folder := filepath.Dir(input)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			src, err := os.ReadFile(input)
			require.NoError(t, err)
			got := dump(query.Parse("input.sql", src))
			golden := filepath.Join(folder, "output.txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// dump writes down everything that a file became.
func dump(q *query.Query, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s -> %s, cached %v, ttl %v, max staleness %v\n",
		q.Name, q.Method, q.Path, q.Result, q.Cached(), q.TTL, q.MaxStaleness)
	fmt.Fprintf(&b, "doc %q example %q\n", q.Doc, q.Example)
	for _, p := range q.Params {
		fmt.Fprintf(&b, "line %d: %s %s in %s, required %v", p.Line, p.Name, p.Type, p.In, p.Required)
		if p.Default != nil {
			fmt.Fprintf(&b, ", default %q", *p.Default)
		}
		if p.Min != nil {
			fmt.Fprintf(&b, ", min %d", *p.Min)
		}
		if p.Max != nil {
			fmt.Fprintf(&b, ", max %d", *p.Max)
		}
		if p.MinLen != 0 || p.MaxLen != 0 {
			fmt.Fprintf(&b, ", length %d to %d", p.MinLen, p.MaxLen)
		}
		if p.OneOf != nil {
			fmt.Fprintf(&b, ", one of %q", p.OneOf)
		}
		b.WriteByte('\n')
	}
	for _, d := range q.Depends {
		fmt.Fprintf(&b, "line %d: depends on %q.%q %+v\n", d.Line, d.Schema, d.Table, d.Columns)
	}
	fmt.Fprintf(&b, "---\n%s\n", q.Text)
	return b.String()
}

// Every problem of a file is an *Error of its own that says where.
func TestParseErrorsAreTyped(t *testing.T) {
	_, err := query.Parse("dir/a.sql", []byte("-- name: a\n-- nope: x\n-- route: GET /\n-- result: one\n-- depends: t()\nSELECT :x"))
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var lines []int
	for _, e := range joined.Unwrap() {
		var problem *query.Error
		require.ErrorAs(t, e, &problem)
		require.Equal(t, "dir/a.sql", problem.File)
		lines = append(lines, problem.Line)
	}
	require.Equal(t, []int{2, 6}, lines)
}

const minimal = "-- name: %s\n-- route: %s\n-- result: one\n-- depends: t()\nSELECT %s"

func file(name, route, sql string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, minimal, name, route, sql)}
}

func TestLoad(t *testing.T) {
	t.Run("sorts by name and reads folders", func(t *testing.T) {
		qs, err := query.Load(fstest.MapFS{
			"z.sql":       file("a", "GET /a", "1"),
			"deep/b.sql":  file("b", "GET /b", "1"),
			".git/c.sql":  file("broken", "", ""),
			".hidden.sql": file("broken", "", ""),
			"README.md":   {Data: []byte("not SQL")},
		})
		require.NoError(t, err)
		require.Len(t, qs, 2)
		require.Equal(t, []string{"a", "z.sql", "b", "deep/b.sql"}, []string{qs[0].Name, qs[0].File, qs[1].Name, qs[1].File})
		require.Equal(t, 5*time.Minute, qs[0].TTL)
	})
	t.Run("names both files of one name and of one route", func(t *testing.T) {
		_, err := query.Load(fstest.MapFS{
			"1.sql": file("a", "GET /a", "1"),
			"2.sql": file("a", "GET /b", "1"),
			"3.sql": {Data: []byte("-- name: c\n-- route: GET /x/{id}\n-- param: id int\n-- result: one\n-- depends: t(id)\nSELECT :id")},
			"4.sql": {Data: []byte("-- name: d\n-- route: GET /x/:slug\n-- param: slug text\n-- result: one\n-- depends: t(slug)\nSELECT :slug")},
		})
		require.EqualError(t, err, "2.sql: the name a is taken by 1.sql\n"+
			"4.sql: the route GET /x/:slug is taken by 3.sql (GET /x/:id)")
	})
	t.Run("reports the problems of every file", func(t *testing.T) {
		_, err := query.Load(fstest.MapFS{"1.sql": file("a", "GET /a", ":x"), "2.sql": file("b", "GET /b", "$1")})
		require.ErrorContains(t, err, "1.sql:5: ")
		require.ErrorContains(t, err, "2.sql:5: ")
	})
	t.Run("refuses a folder without queries", func(t *testing.T) {
		_, err := query.Load(fstest.MapFS{})
		require.ErrorContains(t, err, "there is no .sql file")
		_, err = query.Load(os.DirFS(filepath.Join(t.TempDir(), "missing")))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// A cached result must not outlive the statement that made it.
func TestFingerprint(t *testing.T) {
	parse := func(src string) string {
		q, err := query.Parse("a.sql", []byte(src))
		require.NoError(t, err)
		return q.Fingerprint()
	}
	base := "-- name: a\n-- route: GET /\n-- param: x text\n-- result: one\n-- depends: t()\nSELECT :x"
	require.Equal(t, parse(base), parse("-- doc: Something.\n"+base))
	require.Len(t, parse(base), 16)
	for name, other := range map[string]string{
		"statement":    strings.Replace(base, "SELECT :x", "SELECT :x, 1", 1),
		"result":       strings.Replace(base, "one", "many", 1),
		"dependencies": strings.Replace(base, "t()", "t(x)", 1),
		"parameter":    strings.Replace(base, "x text", "x int", 1),
	} {
		require.NotEqual(t, parse(base), parse(other), name)
	}
}
