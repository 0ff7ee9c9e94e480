package testenv

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // goose speaks database/sql

	"freshet/migrations"
)

// Migrate applies sets of migrations to the database.
func (db *Database) Migrate(tb testing.TB, sets ...migrations.Set) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	conn, err := sql.Open("pgx", db.URL)
	if err != nil {
		tb.Fatalf("testenv: open the database: %v", err)
	}
	defer conn.Close()
	for _, set := range sets {
		m, err := migrations.New(conn, set)
		if err != nil {
			tb.Fatalf("testenv: %v", err)
		}
		if _, err := m.Up(ctx); err != nil {
			tb.Fatalf("testenv: %v", err)
		}
	}
}
