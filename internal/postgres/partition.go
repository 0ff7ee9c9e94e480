package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// guardTimeout bounds the wait for the lock that a trigger needs. Whoever wants to write to the partition waits behind us meanwhile.
const guardTimeout = 2 * time.Second

// GuardPartitions sees to it that a TRUNCATE of any partition of a table is in the log, which pgoutput leaves out of it: by a trigger on
// each, freshet_truncated. If all of them have it, or the table is not partitioned, it costs one look at the catalog. After an
// error the transaction is aborted, and nothing of the table may be cached.
func GuardPartitions(ctx context.Context, tx pgx.Tx, schema, table string) error {
	name := pgx.Identifier{schema, table}.Sanitize()
	var before string
	err := tx.QueryRow(ctx, `SELECT current_setting('lock_timeout') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND EXISTS (SELECT FROM freshet.unguarded_partitions(c.oid))`,
		schema, table).Scan(&before)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case IsCode(err, "42883"): // undefined_function
		return fmt.Errorf("look for the partitions of %s: %w (the schema freshet is of an older version: run `freshet migrate up`)", name, err)
	case err != nil:
		return fmt.Errorf("look for the partitions of %s: %w", name, err)
	}
	// Set back afterwards, as what else is done in the transaction may wait for longer.
	const set = "SELECT set_config('lock_timeout', $1, true)"
	_, err = tx.Exec(ctx, set, guardTimeout.String())
	if err == nil {
		_, err = tx.Exec(ctx, "SELECT freshet.guard_partitions($1::text::regclass)", name)
	}
	if err == nil {
		_, err = tx.Exec(ctx, set, before)
	}
	if err != nil {
		return fmt.Errorf("create the trigger freshet_truncated on the partitions of %s: %w%s", name, err, guardHint(err))
	}
	return nil
}

func guardHint(err error) string {
	switch {
	case IsCode(err, "55P03"): // lock_not_available
		return " (a long transaction has written to one of them: it will be tried again, and succeeds once that has ended)"
	case IsCode(err, "42501"): // insufficient_privilege
		return " (Freshet's role must own the partitions: run `freshet migrate up` and `SELECT freshet.guard_partitions(...)` as their owner)"
	}
	return ""
}
