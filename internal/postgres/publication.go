package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotMigrated says that the database lacks the tables of the schema freshet, or has older ones.
var ErrNotMigrated = errors.New("the schema freshet is missing in this database, or older than this program: run `freshet migrate up` on it")

// EnsurePublication creates the publication if it is missing, with the table freshet.shapes: the list of shapes rides the
// log (rule 5). A publication must exist before the slot that streams it: pgoutput looks it up as of the change.
//
// One that somebody made by hand is refused if it would leave changes out: what is not published is never cleared.
func EnsurePublication(ctx context.Context, db Beginner, name string) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var migrated, exists bool
		// The lock serializes everybody who changes the publication: a concurrent ALTER fails ("tuple concurrently updated").
		err := tx.QueryRow(ctx, `SELECT to_regclass('freshet.incarnation') IS NOT NULL
			FROM pg_advisory_xact_lock($1)`, int64(publicationLock)).Scan(&migrated)
		if err == nil {
			err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)`, name).Scan(&exists)
		}
		if err != nil {
			return fmt.Errorf("look for publication %s: %w", name, err)
		}
		if !migrated {
			return ErrNotMigrated
		}
		if exists {
			if err := checkPublication(ctx, tx, name); err != nil {
				return err
			}
			_, err := AddToPublication(ctx, tx, name, "freshet", "shapes")
			return err
		}
		sql := fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE freshet.shapes WITH (publish_via_partition_root = true)",
			pgx.Identifier{name}.Sanitize())
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create publication %s: %w%s", name, err, privilegeHint(err))
		}
		return nil
	})
}

// checkPublication refuses a publication that does not publish every change of its tables.
func checkPublication(ctx context.Context, tx pgx.Tx, name string) error {
	var all, root, filter bool
	// to_jsonb, because row filters came with Postgres 15.
	err := tx.QueryRow(ctx, `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot,
			EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND to_jsonb(r) ->> 'prqual' IS NOT NULL)
		FROM pg_publication p WHERE pubname = $1`, name).Scan(&all, &root, &filter)
	switch {
	case err != nil:
		return fmt.Errorf("read publication %s: %w", name, err)
	case !all || !root:
		return fmt.Errorf("publication %[1]s leaves changes out: run ALTER PUBLICATION %[1]s SET "+
			"(publish = 'insert, update, delete, truncate', publish_via_partition_root = true)", pgx.Identifier{name}.Sanitize())
	case filter:
		return fmt.Errorf("publication %[1]s has a row filter, which leaves changes out: run ALTER PUBLICATION %[1]s SET TABLE without WHERE",
			pgx.Identifier{name}.Sanitize())
	}
	return nil
}

// publicationLock is the key of the advisory lock.
const publicationLock = 0x66726573686574 // "freshet"

// Beginner begins a transaction, or a savepoint within one: a connection, a pool or a transaction of pgx.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Execer is a connection, a pool or a transaction of pgx.
type Execer interface {
	Querier
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// AddToPublication publishes a table. member tells whether the publication had it already; then nothing is done.
func AddToPublication(ctx context.Context, conn Execer, publication, schema, table string) (member bool, err error) {
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_publication_tables
		WHERE pubname = $1 AND schemaname = $2 AND tablename = $3)`, publication, schema, table).Scan(&member)
	if err != nil {
		return false, fmt.Errorf("look for %s.%s in publication %s: %w", schema, table, publication, err)
	}
	if member {
		return true, nil
	}
	sql := fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", pgx.Identifier{publication}.Sanitize(), pgx.Identifier{schema, table}.Sanitize())
	if _, err := conn.Exec(ctx, sql); err != nil {
		return false, fmt.Errorf("add %s.%s to publication %s: %w%s", schema, table, publication, err, privilegeHint(err))
	}
	return false, nil
}

// DropFromPublication takes a table out of the publication; one that is not in it, or is gone, is passed over.
func DropFromPublication(ctx context.Context, conn Execer, publication, schema, table string) error {
	var member bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
			JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE p.pubname = $1 AND n.nspname = $2 AND c.relname = $3)`, publication, schema, table).Scan(&member)
	if err != nil {
		return fmt.Errorf("look for %s.%s in publication %s: %w", schema, table, publication, err)
	}
	if !member {
		return nil
	}
	sql := fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s", pgx.Identifier{publication}.Sanitize(), pgx.Identifier{schema, table}.Sanitize())
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("drop %s.%s from publication %s: %w%s", schema, table, publication, err, privilegeHint(err))
	}
	return nil
}

// IsCode tells whether err is an error of the server with this SQLSTATE.
func IsCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

func privilegeHint(err error) string {
	if IsCode(err, "42501") { // insufficient_privilege
		return " (Freshet's role must own the publication and the tables in it, and have CREATE on the database: " +
			"run it as the owner of the tables or as a superuser)"
	}
	return ""
}
