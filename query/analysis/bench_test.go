package analysis_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/example"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
	"freshet/query/analysis"
)

// workload is a database and what reads it, by name.
type workload struct {
	catalog *analysis.Catalog
	reads   map[string]string
}

// exampleWorkload is that of the example's queries.
func exampleWorkload(b *testing.B) workload {
	b.Helper()
	db := testenv.Postgres(b)
	db.Migrate(b, migrations.Freshet, migrations.Example)
	queries, err := query.Load(example.Queries())
	require.NoError(b, err)
	w := workload{reads: map[string]string{}}
	for _, q := range queries {
		if q.Cached() {
			w.reads[q.Name] = q.SQL
		}
	}
	w.catalog, err = analysis.ReadCatalog(b.Context(), db.Conn(b))
	require.NoError(b, err)
	return w
}

// folderWorkload is one of those that the soundness run checks: a schema, and a statement a paragraph.
func folderWorkload(b *testing.B, name string) workload {
	b.Helper()
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join("soundness", "testdata", "workloads", name, file))
		require.NoError(b, err)
		return string(text)
	}
	db := testenv.Postgres(b)
	db.Exec(b, read("schema.sql"))
	w := workload{reads: map[string]string{}}
	for paragraph := range strings.SplitSeq(read("reads.sql"), "\n\n") {
		if strings.Contains(paragraph, "SELECT") {
			w.reads["q"+strconv.Itoa(len(w.reads)+1)] = paragraph
		}
	}
	var err error
	w.catalog, err = analysis.ReadCatalog(b.Context(), db.Conn(b))
	require.NoError(b, err)
	return w
}

// One analysis of one query, the catalog being read.
func BenchmarkAnalyze(b *testing.B) {
	for name, w := range map[string]workload{"example": exampleWorkload(b), "tpch": folderWorkload(b, "tpch")} {
		for read, sql := range w.reads {
			b.Run(name+"/"+read, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := analysis.Analyze(w.catalog, sql); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
