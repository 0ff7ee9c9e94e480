package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/internal/postgres"
)

// Registry is the table freshet.shapes. It is in the publication, so that the list of shapes rides the log, ordered with the
// data itself (rule 5).
type Registry struct {
	Pool        *pgxpool.Pool
	Publication string
	Log         *slog.Logger
}

// renewAfter is the age from which a registration is renewed.
const renewAfter = 12 * time.Hour

// Register makes the shapes known, in one transaction with what the publication needs, and returns those that are not ready
// yet: Activate makes them so.
func (r *Registry) Register(ctx context.Context, shapes []Shape) (waiting []Shape, err error) {
	var failed []error
	err = pgx.BeginFunc(ctx, r.Pool, func(tx pgx.Tx) error {
		waiting, failed = nil, nil
		if err := postgres.EnsurePublication(ctx, tx, r.Publication); err != nil {
			return err
		}
		member := map[[2]string]bool{} // whether the publication had the table before
		for _, s := range shapes {
			ready := false
			// A savepoint each: a table that is gone must not keep the others from being looked after.
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
				ready, err = r.register(ctx, tx, s, member)
				return err
			})
			switch {
			case err != nil:
				delete(member, [2]string{s.Schema, s.Table}) // undone with the savepoint
				failed = append(failed, fmt.Errorf("register shape %s: %w", s, err))
			case !ready:
				waiting = append(waiting, s)
			}
		}
		return nil
	})
	return waiting, errors.Join(append(failed, err)...)
}

func (r *Registry) register(ctx context.Context, tx pgx.Tx, s Shape, member map[[2]string]bool) (ready bool, err error) {
	table := [2]string{s.Schema, s.Table}
	if _, done := member[table]; !done {
		if err := checkIdentity(ctx, tx, s); err != nil {
			return false, err
		}
		if member[table], err = postgres.AddToPublication(ctx, tx, r.Publication, s.Schema, s.Table); err != nil {
			return false, err
		}
	}
	columns := s.Columns
	if columns == nil {
		columns = []string{}
	}
	// A table that has just joined (again) makes its shapes wait (again).
	err = tx.QueryRow(ctx, `INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ($1, $2, $3)
		ON CONFLICT (schema_name, table_name, columns) DO UPDATE SET renewed_at = now(), ready = shapes.ready AND $4
			WHERE shapes.renewed_at < now() - make_interval(secs => $5) OR shapes.ready <> (shapes.ready AND $4)
		RETURNING ready`, s.Schema, s.Table, columns, member[table], renewAfter.Seconds()).Scan(&ready)
	if errors.Is(err, pgx.ErrNoRows) { // there, and fresh
		err = tx.QueryRow(ctx, `SELECT ready FROM freshet.shapes WHERE schema_name = $1 AND table_name = $2 AND columns = $3`,
			s.Schema, s.Table, columns).Scan(&ready)
	}
	return ready, err
}

// checkIdentity refuses a table without a replica identity: once it is published, Postgres would refuse every UPDATE and
// DELETE of it (CheckCmdReplicaIdentity in src/backend/executor/execReplication.c), and break the application.
func checkIdentity(ctx context.Context, tx pgx.Tx, s Shape) error {
	var usable bool
	err := tx.QueryRow(ctx, `SELECT c.relreplident = 'f'
			OR c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
			OR c.relreplident = 'i' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`, s.Schema, s.Table).Scan(&usable)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("there is no table %s.%s", s.Schema, s.Table)
	case err != nil:
		return err
	case !usable:
		return fmt.Errorf("the table has no replica identity, so that publishing it would make its updates fail: run ALTER TABLE %s REPLICA IDENTITY FULL",
			pgx.Identifier{s.Schema, s.Table}.Sanitize())
	}
	return nil
}

// Activate makes shapes ready once nothing that was in progress when they were registered can still be missing from the log: a
// transaction that was already writing when its table joined the publication may have changes that are never published
// (rule 5). It waits for such transactions, however long they last, and takes no lock.
func (r *Registry) Activate(ctx context.Context, shapes []Shape) error {
	var began time.Time
	if err := r.Pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&began); err != nil {
		return fmt.Errorf("read the clock of Postgres: %w", err)
	}
	err := postgres.WaitForTransactions(ctx, r.Pool, func(left int) {
		r.Log.Info("shapes are not active yet: waiting for the transactions that were in progress when they were registered",
			"shapes", names(shapes), "left", left)
	})
	if err != nil {
		return err
	}
	for _, shape := range shapes {
		columns := shape.Columns
		if columns == nil {
			columns = []string{}
		}
		_, err := r.Pool.Exec(ctx, `UPDATE freshet.shapes SET ready = true
			WHERE schema_name = $1 AND table_name = $2 AND columns = $3 AND NOT ready AND renewed_at <= $4`,
			shape.Schema, shape.Table, columns, began) // not if its table left and joined again meanwhile: that has its own wait
		if err != nil {
			return fmt.Errorf("activate shape %s: %w", shape, err)
		}
	}
	return nil
}

// Ready lists the shapes that are ready.
func (r *Registry) Ready(ctx context.Context) ([]Shape, error) {
	// An error of Query comes again from CollectRows.
	rows, _ := r.Pool.Query(ctx, `SELECT schema_name, table_name, columns FROM freshet.shapes WHERE ready`)
	shapes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Shape, error) {
		var schema, table string
		var columns []string
		err := row.Scan(&schema, &table, &columns)
		return NewShape(schema, table, columns...), err
	})
	if postgres.IsCode(err, "42P01") { // undefined_table
		return nil, postgres.ErrNotMigrated
	}
	if err != nil {
		return nil, fmt.Errorf("read freshet.shapes: %w", err)
	}
	return shapes, nil
}

// RegistrySchema and RegistryTable name the table of the registry; changes of it tell that the list of shapes is another one.
const (
	RegistrySchema = "freshet"
	RegistryTable  = "shapes"
)

func names(shapes []Shape) string {
	out := make([]string, len(shapes))
	for i, s := range shapes {
		out[i] = s.String()
	}
	return strings.Join(out, " ")
}
