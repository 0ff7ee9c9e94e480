package api_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"freshet/api"
	"freshet/cache"
	"freshet/example"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
)

// benchFiles are how many query files the start is measured with.
const benchFiles = 200

// variants are the example's query files over and over, each with a name and a route of its own.
func variants(b *testing.B) fstest.MapFS {
	b.Helper()
	names, err := fs.Glob(example.Queries(), "*.sql")
	require.NoError(b, err)
	files := fstest.MapFS{}
	for i := range benchFiles {
		name := names[i%len(names)]
		text, err := fs.ReadFile(example.Queries(), name)
		require.NoError(b, err)
		lines := strings.Split(string(text), "\n")
		for j, line := range lines {
			switch key, value, _ := strings.Cut(line, ": "); key {
			case "-- name":
				lines[j] = fmt.Sprintf("%s: %s_%d", key, value, i)
			case "-- route", "-- example":
				lines[j] = strings.Replace(line, "/", fmt.Sprintf("/v%d/", i), 1)
			}
		}
		files[fmt.Sprintf("%d_%s", i, name)] = &fstest.MapFile{Data: []byte(strings.Join(lines, "\n"))}
	}
	return files
}

// ownTables are query files that each read a table of their own, which nobody has registered before.
func ownTables(b *testing.B, db *testenv.Database) fstest.MapFS {
	b.Helper()
	files := fstest.MapFS{}
	var create strings.Builder
	for i := range benchFiles {
		fmt.Fprintf(&create, "CREATE TABLE blogs_%d (LIKE blogs INCLUDING ALL); ALTER TABLE blogs_%[1]d REPLICA IDENTITY FULL;\n", i)
		files[fmt.Sprintf("%d.sql", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "-- name: blog_%d\n-- route: GET /blogs_%[1]d/{id}\n"+
			"-- param: id bigint\n-- result: one\nSELECT id, title, content FROM blogs_%[1]d WHERE id = :id", i)}
	}
	db.Exec(b, create.String())
	return files
}

// The start of an api on a database that it has not seen: 200 files are read, prepared, analyzed and registered.
func BenchmarkStart(b *testing.B) {
	b.Run("variants", func(b *testing.B) {
		files := variants(b)
		benchStart(b, func(*testenv.Database) fstest.MapFS { return files })
	})
	b.Run("own-tables", func(b *testing.B) {
		benchStart(b, func(db *testenv.Database) fstest.MapFS { return ownTables(b, db) })
	})
}

func benchStart(b *testing.B, files func(*testenv.Database) fstest.MapFS) {
	b.Helper()
	store := cache.NewRedis(testenv.Redis(b).Client(b), cache.DefaultPrefix)
	for b.Loop() {
		b.StopTimer()
		db := testenv.Postgres(b)
		db.Migrate(b, migrations.Freshet, migrations.Example)
		sql := files(db)
		pool, err := postgres.NewPool(b.Context(), config.Database{
			URL: db.URL, MaxConnections: 10, ConnectionTimeout: patience, CommandTimeout: patience,
		}, "freshet api bench")
		require.NoError(b, err)
		b.StartTimer()

		queries, err := query.Load(sql)
		require.NoError(b, err)
		require.Len(b, queries, benchFiles)
		a, err := api.New(b.Context(), api.Config{
			Addr: "127.0.0.1:0", Pool: pool, Store: store, Queries: queries, Source: "bench", Publication: "freshet_bench",
			MaxStaleness: patience, ConnectionTimeout: patience, CommandTimeout: patience, RequestTimeout: patience,
			DrainTimeout: patience, BodyLimit: 1 << 10,
		})
		require.NoError(b, err)

		b.StopTimer()
		require.NoError(b, a.Listen(b.Context()))
		ended, cancel := context.WithCancel(b.Context())
		cancel()
		require.NoError(b, a.Run(ended))
		pool.Close()
		b.StartTimer()
	}
}
