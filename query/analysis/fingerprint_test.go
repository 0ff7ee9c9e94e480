package analysis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis"
)

const fingerprinted = `
	CREATE SCHEMA other;
	CREATE TABLE t (id int PRIMARY KEY, k text NOT NULL, n int, g int GENERATED ALWAYS AS (n * 2) STORED, CONSTRAINT t_k UNIQUE (k));
	CREATE TABLE inherited (id int);
	CREATE TABLE parts (id int PRIMARY KEY, k text) PARTITION BY LIST (id);
	CREATE TABLE part PARTITION OF parts DEFAULT;
	CREATE TABLE part_7 PARTITION OF parts FOR VALUES IN (7);
	CREATE TABLE others (id int PRIMARY KEY, k text) PARTITION BY LIST (id);
	CREATE TABLE other_part PARTITION OF others FOR VALUES IN (1);
	CREATE VIEW v AS SELECT id FROM t WHERE n > 1;
	CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION standard(int) RETURNS int IMMUTABLE RETURN $1 + 1;
	CREATE FUNCTION add(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2';
	CREATE FUNCTION same(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 = $2';
	CREATE FUNCTION to_mood(int) RETURNS mood IMMUTABLE LANGUAGE sql AS $$ SELECT 'good'::mood $$;
	CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int, INITCOND = '0');
	CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same);
	CREATE CAST (int AS mood) WITH FUNCTION to_mood(int);
	CREATE DOMAIN positive AS int DEFAULT 1 CONSTRAINT positive_check CHECK (VALUE > 0);
	CREATE TYPE pair AS (a int, b int);
	CREATE TYPE span AS RANGE (SUBTYPE = int);
	CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`

// Whatever can change what a query means or depends on changes the fingerprint. Each statement stands for a kind of DDL.
func TestFingerprintChanges(t *testing.T) {
	conn := testenv.Postgres(t).Conn(t)
	_, err := conn.Exec(t.Context(), "CREATE TYPE mood AS ENUM ('good', 'bad');"+fingerprinted)
	require.NoError(t, err)
	before := fingerprint(t, conn)
	for _, ddl := range []string{
		"SET LOCAL search_path = other, public",
		"CREATE TABLE other.t (id int)", "DROP VIEW v; DROP TABLE t", "ALTER TABLE t RENAME TO u", "ALTER TABLE inherited SET SCHEMA other",
		"DROP TABLE inherited; CREATE TABLE inherited (id int)", // its rows went without a change in the log
		"ALTER TABLE t ADD COLUMN extra int", "ALTER TABLE t DROP COLUMN k", "ALTER TABLE t RENAME COLUMN k TO kk",
		"ALTER TABLE t ALTER COLUMN k TYPE varchar", `ALTER TABLE t ALTER COLUMN k TYPE text COLLATE folded`,
		"ALTER TABLE t ALTER COLUMN g DROP EXPRESSION",
		"ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t REPLICA IDENTITY NOTHING", "ALTER TABLE t REPLICA IDENTITY USING INDEX t_k",
		"ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey",
		"ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t SET UNLOGGED", "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
		"CREATE TABLE child () INHERITS (inherited)", "ALTER TABLE t INHERIT inherited",
		"ALTER TABLE parts DETACH PARTITION part", "ALTER TABLE parts DETACH PARTITION part; ALTER TABLE others ATTACH PARTITION part DEFAULT", "CREATE TABLE another PARTITION OF parts FOR VALUES IN (1)",
		"ALTER TABLE part REPLICA IDENTITY FULL", "ALTER TABLE parts DROP CONSTRAINT parts_pkey",
		"CREATE VIEW w AS SELECT 1 AS one", "DROP VIEW v", "CREATE OR REPLACE VIEW v AS SELECT id FROM t WHERE n > 2",
		"CREATE MATERIALIZED VIEW m AS SELECT 1 AS one", "CREATE TEMPORARY TABLE mine (id int)",
		"CREATE FUNCTION g() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f(int)",
		"CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'",
		"CREATE OR REPLACE FUNCTION standard(int) RETURNS int IMMUTABLE RETURN $1 + 2",
		"SET LOCAL check_function_bodies = off; CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'SELECT $1'",
		"ALTER FUNCTION f(int) STABLE", "ALTER FUNCTION f(int) STRICT", "ALTER FUNCTION f(int) SECURITY DEFINER",
		"ALTER FUNCTION f(int) SET search_path = other", "CREATE FUNCTION f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'",
		"CREATE OR REPLACE FUNCTION f(int DEFAULT 1) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
		"CREATE OR REPLACE AGGREGATE total(int) (SFUNC = add, STYPE = int, INITCOND = '1')",
		"DROP OPERATOR === (int, int)", "CREATE OPERATOR ==== (LEFTARG = int, RIGHTARG = int, FUNCTION = same)",
		"DROP CAST (int AS mood)", "DROP CAST (int AS mood); CREATE CAST (int AS mood) WITH FUNCTION to_mood(int) AS ASSIGNMENT",
		"ALTER TYPE mood ADD VALUE 'so so'", "ALTER TYPE mood RENAME VALUE 'bad' TO 'sad'", "CREATE TYPE colour AS ENUM ('red')",
		"ALTER DOMAIN positive DROP CONSTRAINT positive_check",
		"ALTER DOMAIN positive DROP CONSTRAINT positive_check; ALTER DOMAIN positive ADD CONSTRAINT positive_check CHECK (VALUE > 1)", "ALTER DOMAIN positive SET NOT NULL", "ALTER DOMAIN positive SET DEFAULT 2",
		"CREATE DOMAIN list AS text[]", "ALTER TYPE pair ADD ATTRIBUTE c int", "DROP TYPE span; CREATE TYPE span AS RANGE (SUBTYPE = bigint)",
		"DROP COLLATION folded; CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2')",
	} {
		t.Run(ddl, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), ddl)
			require.NoError(t, err)
			assert.NotEqual(t, before, fingerprint(t, conn))
			require.NoError(t, tx.Rollback(t.Context()))
			require.Equal(t, before, fingerprint(t, conn))
		})
	}
}

// What only makes a query faster, what the rows are, and what others keep for themselves is not in the fingerprint.
func TestFingerprintStays(t *testing.T) {
	db := testenv.Postgres(t)
	conn, other := db.Conn(t), db.Conn(t)
	_, err := conn.Exec(t.Context(), "CREATE TYPE mood AS ENUM ('good', 'bad');"+fingerprinted)
	require.NoError(t, err)
	before := fingerprint(t, conn)
	for _, sql := range []string{
		"INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2); INSERT INTO parts VALUES (1)", "UPDATE t SET n = 3", "DELETE FROM t WHERE id = 2",
		"TRUNCATE t, parts", "ANALYZE", "VACUUM FULL t", "CREATE INDEX ON t (n)", "CREATE UNIQUE INDEX ON t (n, k)", "CREATE SEQUENCE s",
		"CREATE TEMPORARY TABLE mine (id int); CREATE TEMPORARY VIEW my_view AS SELECT * FROM mine",
		"COMMENT ON TABLE t IS 'x'", "CREATE PUBLICATION p FOR TABLE t",
		"DROP VIEW v; CREATE VIEW v AS SELECT id FROM t WHERE n > 1",
		"DROP FUNCTION f(int); CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
		"DROP AGGREGATE total(int); CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int, INITCOND = '0')",
		"DROP OPERATOR === (int, int); CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same)",
		"DROP DOMAIN positive; CREATE DOMAIN positive AS int DEFAULT 1 CONSTRAINT positive_check CHECK (VALUE > 0)",
		"DROP COLLATION folded; CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
	} {
		_, err := other.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
		require.Equal(t, before, fingerprint(t, conn), sql)
	}
}

// The temporary tables of other sessions are not in the catalog: one of the same name as a table would not hide it.
func TestTemporaryTablesOfOthers(t *testing.T) {
	db := testenv.Postgres(t)
	conn, other := db.Conn(t), db.Conn(t)
	for _, c := range []*pgx.Conn{conn, other} {
		_, err := c.Exec(t.Context(), "CREATE TEMPORARY TABLE mine (id int)")
		require.NoError(t, err)
	}
	var mine, others string
	const schema = "SELECT nspname::text FROM pg_namespace WHERE oid = pg_my_temp_schema()"
	require.NoError(t, conn.QueryRow(t.Context(), schema).Scan(&mine))
	require.NoError(t, other.QueryRow(t.Context(), schema).Scan(&others))
	c, err := analysis.ReadCatalog(t.Context(), conn)
	require.NoError(t, err)
	require.NotNil(t, c.Find(mine, "mine"))
	require.Nil(t, c.Find(others, "mine"))
}

// A catalog of 300 tables is read in a few milliseconds, so that it can be read again whenever it may have changed.
func BenchmarkReadCatalog(b *testing.B) {
	db := testenv.Postgres(b)
	conn := db.Conn(b)
	for i := range 300 {
		_, err := conn.Exec(b.Context(), fmt.Sprintf("CREATE TABLE t%d (id bigint PRIMARY KEY, a text, b text, c int, d date, e bool, f uuid, "+
			"g timestamptz); CREATE FUNCTION f%[1]d(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'", i))
		require.NoError(b, err)
	}
	_, err := conn.Exec(b.Context(), "ANALYZE")
	require.NoError(b, err)
	var took time.Duration
	for b.Loop() {
		c, err := analysis.ReadCatalog(b.Context(), conn)
		require.NoError(b, err)
		begin := time.Now()
		c.Fingerprint()
		took += time.Since(begin)
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs/fingerprint")
}

func fingerprint(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	c, err := analysis.ReadCatalog(t.Context(), conn)
	require.NoError(t, err)
	return c.Fingerprint()
}
