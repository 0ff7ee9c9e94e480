package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

const partitioned = `
	CREATE SCHEMA "odd one";
	CREATE TABLE "odd one"."the table" (id int PRIMARY KEY) PARTITION BY LIST (id);
	CREATE TABLE "odd one".one PARTITION OF "odd one"."the table" FOR VALUES IN (1);
	CREATE TABLE "odd one".rest PARTITION OF "odd one"."the table" DEFAULT PARTITION BY HASH (id);
	CREATE TABLE "odd one".rest_0 PARTITION OF "odd one".rest FOR VALUES WITH (MODULUS 1, REMAINDER 0)`

const guarded = "SELECT coalesce(string_agg(c.relname, ' ' ORDER BY c.relname), '') FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE tgname = 'freshet_truncated'"

func guard(t *testing.T, conn *pgx.Conn, schema, table string) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { return postgres.GuardPartitions(t.Context(), tx, schema, table) })
}

// Every partition, at every level, gets the trigger, also one that came later.
func TestGuardPartitions(t *testing.T) {
	db := migrated(t)
	conn := db.Conn(t)
	db.Exec(t, partitioned+"; CREATE TABLE plain (id int PRIMARY KEY)")
	require.NoError(t, guard(t, conn, "public", "plain"))
	require.NoError(t, guard(t, conn, "public", "nothing"), "whoever needs the table finds out")
	require.Empty(t, testenv.Value[string](t, db, guarded))

	require.NoError(t, guard(t, conn, "odd one", "the table"))
	require.Equal(t, "one rest rest_0", testenv.Value[string](t, db, guarded))

	// The event trigger is out of the way, as where the role may not create one.
	db.Exec(t, `DROP EVENT TRIGGER freshet_ddl; CREATE TABLE "odd one".two PARTITION OF "odd one"."the table" FOR VALUES IN (2)`)
	require.Equal(t, "one rest rest_0", testenv.Value[string](t, db, guarded))
	require.NoError(t, guard(t, conn, "odd one", "the table"))
	require.Equal(t, "one rest rest_0 two", testenv.Value[string](t, db, guarded))
}

// Partitions that have the trigger are not locked: a transaction that writes to one is no obstacle, and we are none to it.
func TestGuardPartitionsLocksNothing(t *testing.T) {
	db := migrated(t)
	db.Exec(t, partitioned)
	conn, other := db.Conn(t), db.Conn(t)
	require.NoError(t, guard(t, conn, "odd one", "the table"))
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE "odd one".one`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SET lock_timeout = 1") // milliseconds
	require.NoError(t, err)
	require.NoError(t, guard(t, conn, "odd one", "the table"))
	require.NoError(t, tx.Rollback(t.Context()))
}

// A long transaction is not waited for, and the transaction goes on with the timeout that it had.
func TestGuardPartitionsDoesNotWaitForLong(t *testing.T) {
	db := migrated(t)
	db.Exec(t, partitioned)
	conn, other := db.Conn(t), db.Conn(t)
	long, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = long.Exec(t.Context(), `INSERT INTO "odd one".one VALUES (1)`)
	require.NoError(t, err)
	err = guard(t, conn, "odd one", "the table")
	require.True(t, postgres.IsCode(err, "55P03"), "%v", err)
	require.ErrorContains(t, err, `the partitions of "odd one"."the table"`)
	require.ErrorContains(t, err, "it will be tried again")
	require.NoError(t, long.Rollback(t.Context()))

	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SET LOCAL lock_timeout = '7s'")
	require.NoError(t, err)
	require.NoError(t, postgres.GuardPartitions(t.Context(), tx, "odd one", "the table"))
	var after string
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&after))
	require.Equal(t, "7s", after)
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, "one rest rest_0", testenv.Value[string](t, db, guarded))
}

func TestGuardPartitionsSaysWhatToDo(t *testing.T) {
	db := migrated(t)
	db.Exec(t, partitioned+`; CREATE ROLE weak_guard LOGIN; GRANT USAGE ON SCHEMA freshet, "odd one" TO weak_guard`)
	t.Cleanup(func() { db.Exec(t, "DROP OWNED BY weak_guard; DROP ROLE weak_guard") })
	weak, err := pgx.Connect(t.Context(), strings.Replace(db.URL, "postgres@", "weak_guard@", 1))
	require.NoError(t, err)
	defer weak.Close(t.Context())
	require.ErrorContains(t, guard(t, weak, "odd one", "the table"), "must own the partitions")

	db.Exec(t, "DROP FUNCTION freshet.unguarded_partitions(oid)")
	require.ErrorContains(t, guard(t, db.Conn(t), "odd one", "the table"), "run `freshet migrate up`")
}
