package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// How much example data there is.
const (
	seedUsers    = 500
	seedBlogs    = 2000
	seedAttempts = 20000 // the same number for every user
)

// seedLock is the advisory lock under which the data is written, so that two seeders take turns.
const seedLock = schemaLock + 1

// Seed fills the example application's tables with data that is the same on every machine: ids begin at 1, and blog 1 is
// published. If any of the tables holds a row it does nothing. It is one transaction.
func Seed(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(seedLock)); err != nil {
			return err
		}
		var seeded bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM blogs)
			OR EXISTS (SELECT FROM quizzes) OR EXISTS (SELECT FROM attempts)`).Scan(&seeded)
		if err != nil || seeded {
			return err
		}
		return seedTables(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("seed the example data: %w", err)
	}
	return nil
}

// seedTables writes all the rows.
func seedTables(ctx context.Context, tx pgx.Tx) error {
	quizzes := seedQuizRows()
	tables := []struct {
		name    string
		columns []string
		rows    [][]any
	}{
		{"users", []string{"id", "handle", "name", "email", "created_at"}, seedUserRows()},
		{"quizzes", []string{"id", "title", "topic", "questions", "created_at"}, quizzes},
		{"blogs", []string{"id", "title", "slug", "content", "status", "tags", "author", "views", "created_at", "updated_at"},
			seedBlogRows()},
		{"attempts", []string{"id", "user_id", "quiz_id", "score", "started_at", "finished_at"}, seedAttemptRows(quizzes)},
	}
	for _, t := range tables {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromRows(t.rows)); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		// COPY takes our ids and leaves the sequence behind; and the planner should know the tables at once.
		if _, err := tx.Exec(ctx, "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", t.name, len(t.rows)); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if _, err := tx.Exec(ctx, "ANALYZE "+pgx.Identifier{t.name}.Sanitize()); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}
