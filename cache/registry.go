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

const (
	// renewAfter is the age from which a registration is renewed.
	renewAfter = 12 * time.Hour
	// retireAfter is the age from which one that nobody renews is taken out.
	retireAfter = 7 * 24 * time.Hour
)

// Registered is what Register has found.
type Registered struct {
	// Waiting are the shapes that are not ready yet: Activate makes them so.
	Waiting []Shape
	// Failed are those that could not be registered, by name: their changes may not be in the log.
	Failed map[string]error
	// Added is true if a shape was not registered before: a definition that changed until now was nobody's business then.
	Added bool
}

// Register makes the shapes known, in one transaction with what the publication needs, and retires those that nobody has renewed
// for long. An error means that nothing was done; a shape that fails by itself is in Failed.
func (r *Registry) Register(ctx context.Context, shapes []Shape) (done Registered, err error) {
	err = pgx.BeginFunc(ctx, r.Pool, func(tx pgx.Tx) error {
		done = Registered{Failed: map[string]error{}}
		if err := postgres.EnsurePublication(ctx, tx, r.Publication); err != nil {
			return err
		}
		joined := map[[2]string]error{} // the tables that were looked after
		for _, s := range shapes {
			table := [2]string{s.Schema, s.Table}
			failed, seen := joined[table]
			if !seen {
				// A savepoint each: a table that is gone must not keep the others from being looked after.
				failed = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return r.join(ctx, tx, s) })
				joined[table] = failed
			}
			if failed != nil {
				done.Failed[s.String()] = fmt.Errorf("register shape %s: %w", s, failed)
				continue
			}
			ready, added, err := r.insert(ctx, tx, s)
			if err != nil {
				return fmt.Errorf("register shape %s: %w", s, err)
			}
			done.Added = done.Added || added
			if !ready {
				done.Waiting = append(done.Waiting, s)
			}
		}
		return r.retire(ctx, tx)
	})
	if err != nil {
		return Registered{}, err
	}
	return done, nil
}

// join makes sure that whatever happens to a table is in the log. If the table was not published so far, no shape of it, whoever
// registered it, is ready any more: Activate waits for the transactions of which the log lacks a part.
func (r *Registry) join(ctx context.Context, tx pgx.Tx, s Shape) error {
	if err := checkIdentity(ctx, tx, s); err != nil {
		return err
	}
	member, err := postgres.AddToPublication(ctx, tx, r.Publication, s.Schema, s.Table)
	if err != nil {
		return err
	}
	if err := postgres.GuardPartitions(ctx, tx, s.Schema, s.Table); err != nil {
		return err
	}
	if !member {
		_, err = tx.Exec(ctx, `UPDATE freshet.shapes SET ready = false, renewed_at = clock_timestamp() WHERE schema_name = $1 AND table_name = $2`,
			s.Schema, s.Table)
	}
	return err
}

// insert adds a shape, or renews it. A new shape of a table that has one which is ready is ready too: the log has everything of it.
func (r *Registry) insert(ctx context.Context, tx pgx.Tx, s Shape) (ready, added bool, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO freshet.shapes (schema_name, table_name, columns, reads, renewed_at, ready)
		SELECT $1, $2, $3, $4, clock_timestamp(), EXISTS (SELECT FROM freshet.shapes WHERE schema_name = $1 AND table_name = $2 AND ready)
		ON CONFLICT (schema_name, table_name, columns, reads) DO UPDATE SET renewed_at = clock_timestamp()
			WHERE shapes.renewed_at < now() - make_interval(secs => $5)
		RETURNING ready, xmax = 0`, s.Schema, s.Table, listOf(s.Columns), s.readsList(), renewAfter.Seconds()).Scan(&ready, &added)
	if errors.Is(err, pgx.ErrNoRows) { // there, and fresh
		err = tx.QueryRow(ctx, `SELECT ready FROM freshet.shapes
			WHERE schema_name = $1 AND table_name = $2 AND columns = $3 AND reads = $4`,
			s.Schema, s.Table, listOf(s.Columns), s.readsList()).Scan(&ready)
	}
	return ready, added, err
}

// retire takes out what nobody has renewed for long, and from the publication the tables of which nothing is left. There is no
// window: the row's end rides the log, a cache drops the shape's generation with it, and one that is registered again gets another.
func (r *Registry) retire(ctx context.Context, tx pgx.Tx) error {
	// An error of Query comes again from CollectRows.
	rows, _ := tx.Query(ctx, `WITH old AS (DELETE FROM freshet.shapes WHERE renewed_at < now() - make_interval(secs => $1) RETURNING *)
		SELECT schema_name, table_name, bool_and(NOT EXISTS (SELECT FROM freshet.shapes s WHERE s.schema_name = old.schema_name
			AND s.table_name = old.table_name AND s.renewed_at >= now() - make_interval(secs => $1)))
		FROM old GROUP BY 1, 2`, retireAfter.Seconds())
	type retired struct {
		Schema, Table string
		Last          bool
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[retired])
	if err != nil {
		return fmt.Errorf("retire shapes: %w", err)
	}
	for _, t := range tables {
		r.Log.Info("retired shapes that nobody has renewed", "table", t.Schema+"."+t.Table, "last", t.Last)
		if !t.Last {
			continue
		}
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			return postgres.DropFromPublication(ctx, tx, r.Publication, t.Schema, t.Table)
		})
		if err != nil { // it costs WAL that nobody reads, no more
			r.Log.Warn("a table that no query needs any more stays in the publication", "table", t.Schema+"."+t.Table, "error", err)
		}
	}
	return nil
}

// listOf is never nil, which would be NULL.
func listOf(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
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
// (rule 5; cache/model: writersAwaited). It waits for such transactions, however long they last, and takes no lock.
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
	for _, s := range shapes {
		_, err := r.Pool.Exec(ctx, `UPDATE freshet.shapes SET ready = true
			WHERE schema_name = $1 AND table_name = $2 AND columns = $3 AND reads = $4 AND NOT ready AND renewed_at <= $5`,
			s.Schema, s.Table, listOf(s.Columns), s.readsList(), began) // not if its table left and joined again meanwhile: that has its own wait
		if err != nil {
			return fmt.Errorf("activate shape %s: %w", s, err)
		}
	}
	return nil
}

// Ready lists the shapes that are ready. Each reads what any of its rows reads.
func (r *Registry) Ready(ctx context.Context) ([]Shape, error) {
	// An error of Query comes again from CollectRows.
	rows, _ := r.Pool.Query(ctx, `SELECT schema_name, table_name, columns, reads FROM freshet.shapes WHERE ready ORDER BY 1, 2, 3, 4`)
	shapes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Shape, error) {
		var schema, table string
		var columns, reads []string
		err := row.Scan(&schema, &table, &columns, &reads)
		return NewShape(schema, table, columns...).Reading(reads), err
	})
	if postgres.IsCode(err, "42P01") || postgres.IsCode(err, "42703") { // undefined_table, undefined_column
		return nil, postgres.ErrNotMigrated
	}
	if err != nil {
		return nil, fmt.Errorf("read freshet.shapes: %w", err)
	}
	return Union(shapes), nil
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
