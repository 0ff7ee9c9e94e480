package analysis

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever Postgres's parser takes is analyzed or refused, never a panic.
func FuzzAnalyze(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/*/input.sql")
	if err != nil || len(files) == 0 {
		f.Fatal("no cases to begin with", err)
	}
	for _, file := range files {
		sql, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(sql))
	}
	catalog := &Catalog{SearchPath: []string{"public"}, relations: map[[2]string]*Relation{}, functions: map[string]function{}}
	for _, name := range []string{"blogs", "users", "t", "a", "b"} {
		r := &Relation{Schema: "public", Name: name, Kind: 'r', Persistence: 'p', Identity: 'f'}
		for _, column := range []string{"id", "x", "y", "status", "author"} {
			r.Columns = append(r.Columns, Column{Name: column, Type: "bigint", Class: "bigint", Logged: true})
		}
		catalog.relations[[2]string{"public", name}] = r
	}
	f.Fuzz(func(t *testing.T, sql string) {
		r, err := Analyze(catalog, sql)
		if (r == nil) == (err == nil) {
			t.Fatal("a result or an error, and not both")
		}
	})
}
