package migrations_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
)

// messages reads what a database has emitted, through a logical slot.
type messages struct {
	t    *testing.T
	db   *testenv.Database
	slot string
}

// message is one of our logical messages.
type message struct {
	prefix, content string
}

// follow makes a slot. Messages of a database begin where it does.
func follow(t *testing.T, db *testenv.Database) *messages {
	t.Helper()
	m := &messages{t: t, db: db, slot: db.Name}
	db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'test_decoding')", m.slot)
	return m
}

// next returns the messages of transactions that have been committed since it was last called.
func (m *messages) next() (found []message) {
	m.t.Helper()
	rows, err := m.db.Pool(m.t).Query(m.t.Context(), `SELECT data FROM pg_logical_slot_get_changes($1, NULL, 1000000, 'include-xids', '0')`, m.slot)
	require.NoError(m.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(m.t, err)
	for _, line := range lines {
		head, content, is := strings.Cut(line, " content:")
		if _, prefix, ok := strings.Cut(head, "prefix: freshet"); is && ok {
			require.Contains(m.t, head, "transactional: 1")
			prefix, _, _ = strings.Cut(prefix, ",")
			found = append(found, message{"freshet" + prefix, content})
		}
	}
	return found
}

// names is what messages are about, without their reasons: "ddl public.blogs", "clear public.blogs {...}", "ddl *".
func (m *messages) names() []string {
	m.t.Helper()
	var names []string
	for _, one := range m.next() {
		var c struct {
			Schema, Table, Reason string
			Values                json.RawMessage
		}
		require.NoError(m.t, json.Unmarshal([]byte(one.content), &c), one.content)
		require.NotEmpty(m.t, c.Reason)
		name := strings.TrimPrefix(one.prefix, "freshet.") + " *"
		if c.Schema != "" {
			name = strings.TrimPrefix(one.prefix, "freshet.") + " " + c.Schema + "." + c.Table
		}
		if c.Values != nil {
			name += " " + string(c.Values)
		}
		names = append(names, name)
	}
	return names
}

// The schema that the cases start from. All of it but free, free_view and other.free is registered or stands behind something that is.
const subjects = `
	CREATE SCHEMA other;
	CREATE TYPE mood AS ENUM ('ok', 'bad');
	CREATE TABLE blogs (id int PRIMARY KEY, v text, m mood, n numeric(10,2));
	CREATE UNIQUE INDEX blogs_v ON blogs (v);
	CREATE TABLE spare (id int PRIMARY KEY, v text);
	CREATE TABLE events (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
	CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
	CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY RANGE (day);
	CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES FROM ('2026-02-01') TO ('2026-02-15');
	CREATE TABLE loose (id int NOT NULL, day date NOT NULL);
	CREATE TABLE parent (id int);
	CREATE TABLE child () INHERITS (parent);
	CREATE TABLE free (id int PRIMARY KEY, v text);
	CREATE TABLE twin (id int);
	CREATE TABLE other.twin (id int);
	CREATE VIEW recent AS SELECT * FROM blogs;
	CREATE VIEW free_view AS SELECT * FROM free;
	CREATE FUNCTION score(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
	CREATE SEQUENCE numbers;
	CREATE PUBLICATION p FOR TABLE blogs, free, freshet.shapes;
	INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ('public', 'blogs', '{id}'), ('public', 'blogs', '{v}'),
		('public', 'events', '{id}');
	SELECT freshet.guard_partitions('events')`

// statementCase is one or several statements, and what is emitted for them.
type statementCase struct {
	run  string
	want []string
}

func ddlCases() []statementCase {
	blogs, events, parent, all := "ddl public.blogs", "ddl public.events", "ddl public.parent", "ddl *"
	none := []string(nil)
	const inherited = `INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ('public', 'parent', '{id}');`
	return []statementCase{
		{`ALTER TABLE blogs ADD COLUMN w int`, []string{blogs}},
		{`ALTER TABLE blogs RENAME v TO w`, []string{blogs}},
		{`ALTER TABLE blogs ADD w int; ALTER TABLE blogs DROP COLUMN w`, []string{blogs, blogs}},
		{`ALTER TABLE blogs DROP COLUMN v CASCADE`, []string{all, blogs}},
		{`ALTER TABLE events_1 ALTER id SET STATISTICS 5; ALTER TABLE events ALTER id TYPE text`, []string{events, events}},
		{`ALTER TABLE blogs REPLICA IDENTITY FULL`, []string{blogs}},
		{`ALTER TABLE blogs ENABLE ROW LEVEL SECURITY`, []string{blogs}},
		{`ALTER TABLE blogs RENAME TO articles`, []string{blogs}},
		{`ALTER INDEX blogs RENAME TO articles`, []string{blogs}}, // Postgres lets it
		{`BEGIN; ALTER TABLE blogs RENAME TO old; ALTER TABLE spare RENAME TO blogs; COMMIT`, []string{blogs, blogs}},
		{`ALTER TABLE blogs SET SCHEMA other`, []string{blogs}},
		{`DROP TABLE blogs CASCADE`, []string{all}}, // with a view of it
		{`DROP VIEW recent`, []string{all}},
		{inherited + `DROP TABLE parent CASCADE`, []string{events, parent}}, // with a child, which might have been a partition
		{`DROP TABLE events; CREATE TABLE events (id int)`, []string{events, events}},
		{`DROP TABLE free CASCADE`, []string{all}}, // with its view
		{`DROP TABLE spare`, []string{events}},
		{inherited + `DROP TABLE child`, []string{events, parent}},
		{`BEGIN; ALTER TABLE blogs ADD COLUMN w int; ROLLBACK`, none},

		{`CREATE OR REPLACE VIEW recent AS SELECT id, v, m, n FROM blogs WHERE id > 5`, []string{all}},
		{`ALTER VIEW free_view RENAME TO v2`, []string{all}},
		{`CREATE OR REPLACE FUNCTION score(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'`, []string{all}},
		{`DROP FUNCTION score`, []string{all}},
		{`ALTER TYPE mood RENAME VALUE 'bad' TO 'sad'`, []string{all}},
		{`ALTER TYPE mood ADD VALUE 'new'`, []string{all}},
		{`CREATE DOMAIN positive AS int CHECK (VALUE > 0)`, []string{all}},
		{`CREATE RULE r AS ON UPDATE TO free DO INSTEAD NOTHING`, []string{all}},
		{`ALTER SCHEMA other RENAME TO another`, []string{all}},
		{`CREATE EXTENSION citext`, []string{all}},
		{`CREATE EXTENSION citext; DROP EXTENSION citext`, []string{all, all}},
		{`CREATE CAST (mood AS int) WITH INOUT`, []string{all}},

		{`CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); TRUNCATE events_3`,
			[]string{events, "clear public.events"}},
		{`ALTER TABLE events ATTACH PARTITION loose FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); TRUNCATE loose`,
			[]string{events, "clear public.events"}},
		{`ALTER TABLE events_2 ATTACH PARTITION loose FOR VALUES FROM ('2026-02-15') TO ('2026-02-20'); TRUNCATE loose`,
			[]string{events, "clear public.events"}},
		{`ALTER TABLE events DETACH PARTITION events_1`, []string{events}},
		{`ALTER TABLE events_1 ADD CHECK (id > 0)`, []string{events}},
		{`DROP TABLE events_1`, []string{events}},
		{`DROP TABLE events_2a`, []string{events}},
		{`TRUNCATE events_1`, []string{"clear public.events"}},
		{`TRUNCATE events_2a`, []string{"clear public.events"}},
		{`TRUNCATE events_2`, []string{"clear public.events", "clear public.events"}}, // and the partition below
		{`SET session_replication_role = replica; TRUNCATE events_1; ALTER TABLE blogs ADD w int; RESET session_replication_role`,
			[]string{"clear public.events", blogs}},
		{inherited + `ALTER TABLE child NO INHERIT parent`, []string{parent}},
		{inherited + `CREATE TABLE child2 (id int); ALTER TABLE child2 INHERIT parent`, []string{parent}},
		{inherited + `ALTER TABLE child ADD COLUMN w int`, []string{parent}},
		{`INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ('public', 'child', '{id}'); ALTER TABLE parent ADD w int`, []string{"ddl public.child"}},
		{inherited + `CREATE TABLE child2 () INHERITS (parent)`, []string{parent}},

		{`CREATE TABLE other.blogs (id int)`, []string{all}},
		{`CREATE TABLE other.free (id int)`, []string{all}},
		{`CREATE TABLE other.shade (id int); ALTER TABLE other.shade RENAME TO free`, []string{all}},
		{`CREATE MATERIALIZED VIEW other.blogs AS SELECT 1 AS id`, []string{all}},
		{`CREATE TABLE other.shade (id int); ALTER TABLE other.shade SET SCHEMA public`, none},
		{`CREATE SCHEMA third; CREATE TABLE third.shade (id int); CREATE VIEW other.shade AS SELECT 1 AS one`, []string{all}},

		{`ALTER PUBLICATION p DROP TABLE blogs`, []string{blogs}},
		{`ALTER PUBLICATION p SET TABLE free, freshet.shapes`, []string{blogs}},
		{`ALTER PUBLICATION p DROP TABLE free`, none},
		{`ALTER PUBLICATION p ADD TABLE events`, none},
		{`ALTER PUBLICATION p SET (publish = 'insert')`, []string{all}},
		{`CREATE PUBLICATION q FOR TABLE blogs`, none},
		{`DROP PUBLICATION p`, []string{all}},

		{`CREATE TABLE unrelated (id serial PRIMARY KEY, v text)`, none},
		{`CREATE TABLE unrelated AS SELECT 1 AS one`, none},
		{`SELECT 1 AS one INTO unrelated`, none},
		{`CREATE TEMP TABLE blogs (id int); ALTER TABLE pg_temp.blogs ADD v int; DROP TABLE pg_temp.blogs`, none},
		{`CREATE TEMP VIEW v AS SELECT 1 AS one; DROP VIEW v`, none},
		{`CREATE SCHEMA third; DROP SCHEMA third`, none},
		{`CREATE INDEX i ON blogs (v, id); ALTER INDEX i RENAME TO j; DROP INDEX j`, none},
		{`REINDEX TABLE blogs`, none},
		{`ALTER SEQUENCE numbers RESTART; DROP SEQUENCE numbers; CREATE SEQUENCE numbers`, none},
		{`CREATE STATISTICS s ON id, v FROM blogs; DROP STATISTICS s`, none},
		{`CREATE TRIGGER tr BEFORE UPDATE ON blogs FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); DROP TRIGGER tr ON blogs`, none},
		{`CREATE POLICY po ON blogs USING (true); DROP POLICY po ON blogs`, none},
		{`GRANT SELECT ON blogs TO PUBLIC; REVOKE SELECT ON blogs FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`, none},
		{`COMMENT ON TABLE blogs IS 'x'; COMMENT ON FUNCTION score IS 'x'; COMMENT ON TYPE mood IS 'x'`, none},
		{`CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id; REFRESH MATERIALIZED VIEW mv; DROP MATERIALIZED VIEW mv`, none},
		{`TRUNCATE free`, none},
		{`ALTER TABLE twin ADD w int`, none}, // it had its name before
		{`ANALYZE blogs`, none},
		{`SELECT freshet.guard_partitions('events')`, none},
		{`DROP TRIGGER freshet_truncated ON events_1; SELECT freshet.guard_partitions('events')`, none},
		{`ALTER TABLE freshet.shapes ADD x int; CREATE TABLE freshet.blogs (id int); DROP TABLE freshet.blogs; CREATE FUNCTION freshet.f() RETURNS int
			LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION freshet.f; CREATE TYPE freshet.e AS ENUM ('x'); DROP TYPE freshet.e`, none},
	}
}

func TestDDLIsEmitted(t *testing.T) {
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Freshet)
	m := follow(t, db)
	for _, tt := range ddlCases() {
		t.Run(tt.run, func(t *testing.T) {
			t.Cleanup(func() {
				db.Exec(t, `DROP SCHEMA IF EXISTS public, other, another, third CASCADE; CREATE SCHEMA public; DROP PUBLICATION IF EXISTS p, q;
					DELETE FROM freshet.shapes; ALTER TABLE freshet.shapes DROP COLUMN IF EXISTS x`)
			})
			db.Exec(t, subjects)
			m.next()
			db.Exec(t, tt.run)
			require.Equal(t, tt.want, m.names())
		})
	}
}

// subject is a database with the subjects of the cases, followed from now on.
func subject(t *testing.T) (*testenv.Database, *messages) {
	t.Helper()
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Freshet)
	db.Exec(t, subjects)
	return db, follow(t, db)
}

// role makes a role that may log in, and returns its connection.
func role(t *testing.T, db *testenv.Database, name, grants string) *pgx.Conn {
	t.Helper()
	db.Exec(t, "CREATE ROLE "+name+" LOGIN; "+grants)
	t.Cleanup(func() { db.Exec(t, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	conn, err := pgx.Connect(t.Context(), strings.Replace(db.URL, "postgres@", name+"@", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// DETACH ... CONCURRENTLY commits in the middle. What is emitted must be in the transaction that makes the partition invisible, which
// is the first: a reader that holds the second up shows it.
func TestDetachConcurrently(t *testing.T) {
	db, m := subject(t)
	db.Exec(t, "INSERT INTO events VALUES (1, '2026-01-05')")
	m.next()
	reader, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	var n int
	require.NoError(t, reader.QueryRow(t.Context(), "SELECT count(*) FROM events").Scan(&n))
	require.Equal(t, 1, n)

	detached := make(chan error, 1)
	go func() {
		_, err := db.Pool(t).Exec(t.Context(), "ALTER TABLE events\n\tDETACH PARTITION events_1 CONCURRENTLY")
		detached <- err
	}()
	testenv.Eventually(t, time.Minute, func() (bool, string) {
		return testenv.Value[int](t, db, "SELECT count(*) FROM events") == 0, "new snapshots see the partition still"
	})
	require.Equal(t, []string{"ddl public.events"}, m.names(), "before the command ends")
	require.Empty(t, detached)
	require.NoError(t, reader.Commit(t.Context()))
	require.NoError(t, <-detached)
	require.Equal(t, []string{"ddl public.events"}, m.names(), "and when it does")
}

// revokeEmit takes the right to emit messages from everybody; the functions' parameters are not the same in all majors.
const revokeEmit = `DO $$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
	END LOOP; END $$`

// Who runs DDL or TRUNCATE needs no right to anything of Freshet's.
func TestUnprivilegedRoleRunsDDL(t *testing.T) {
	db, m := subject(t)
	name := db.Name + "_dba"
	conn := role(t, db, name, "GRANT CREATE ON SCHEMA public TO "+name+"; GRANT TRUNCATE ON events_1 TO "+name+
		"; ALTER TABLE blogs OWNER TO "+name+"; ALTER TABLE events OWNER TO "+name+"; "+revokeEmit)
	m.next()
	for _, tt := range []statementCase{
		{"CREATE TABLE own (id int); ALTER TABLE own ADD v int", nil},
		{"ALTER TABLE blogs ADD w int", []string{"ddl public.blogs"}},
		{"TRUNCATE events_1", []string{"clear public.events"}},
		{"CREATE TABLE e PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); TRUNCATE e", []string{"ddl public.events", "clear public.events"}},
		{"DROP TABLE own", []string{"ddl public.events"}},
	} {
		_, err := conn.Exec(t.Context(), tt.run, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, tt.run)
		require.Equal(t, tt.want, m.names(), tt.run)
	}
	_, err := conn.Exec(t.Context(), "SELECT FROM freshet.shapes")
	require.ErrorContains(t, err, "permission denied")
}

// Whatever goes wrong in the event triggers, the command goes on, and everything is taken to have changed.
func TestBrokenTriggersFailNothing(t *testing.T) {
	db, m := subject(t)
	db.Exec(t, "CREATE TABLE kept AS TABLE freshet.shapes; DROP TABLE freshet.shapes")
	m.next()
	for _, sql := range []string{"ALTER TABLE blogs ADD w int", "DROP TABLE spare", "ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY"} {
		db.Exec(t, sql)
		found := m.next()
		require.NotEmpty(t, found, sql)
		for _, one := range found {
			require.Equal(t, message{"freshet.ddl", "{}"}, one, sql)
		}
	}
}

// A partition that cannot be guarded is not somebody's failed command either; nor does guarding wait for others.
func TestGuardingTakesNoLocksOfOthers(t *testing.T) {
	db, m := subject(t)
	db.Exec(t, "DROP TRIGGER freshet_truncated ON events_1")
	other, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), "LOCK TABLE events_1 IN ROW EXCLUSIVE MODE")
	require.NoError(t, err)
	m.next()
	db.Exec(t, `SET lock_timeout = '5s'; CREATE TABLE e PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); RESET lock_timeout`)
	require.Equal(t, []string{"ddl public.events"}, m.names())
	_, err = db.Conn(t).Exec(t.Context(), "SET lock_timeout = '50ms'; SELECT freshet.guard_partitions('events')", pgx.QueryExecModeSimpleProtocol)
	require.ErrorContains(t, err, "lock timeout", "of the caller")
	require.NoError(t, other.Rollback(t.Context()))
	require.Equal(t, 1, testenv.Value[int](t, db, "SELECT freshet.guard_partitions('events')"))
	require.Equal(t, 4, testenv.Value[int](t, db, `SELECT count(*) FROM pg_trigger WHERE tgname = 'freshet_truncated' AND tgenabled = 'A'`))
	require.Zero(t, testenv.Value[int](t, db, "SELECT freshet.guard_partitions('blogs')"))
}

// Without a superuser there are no event triggers; the rest works.
func TestMigratedByAPlainOwner(t *testing.T) {
	db := testenv.Postgres(t)
	name := db.Name + "_owner"
	conn := role(t, db, name, "GRANT CREATE ON DATABASE "+db.Name+" TO "+name+"; GRANT CREATE ON SCHEMA public TO "+name)
	handle := stdlib.OpenDB(*conn.Config())
	defer handle.Close()
	migrator := up(t, handle, migrations.Freshet)
	triggers, err := postgres.HasDDLTrigger(t.Context(), conn)
	require.NoError(t, err)
	require.False(t, triggers)
	m := follow(t, db)
	_, err = conn.Exec(t.Context(), `CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
		SELECT freshet.guard_partitions('p'); TRUNCATE p1; SELECT freshet.clear('p', '{"id": 1}'); SELECT freshet.clear_all()`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	require.Equal(t, []string{"clear public.p", `clear public.p {"id": "1"}`, "clear *"}, m.names())
	for undone := 3; undone > 0; undone-- {
		_, err := migrator.Down(t.Context())
		require.NoError(t, err)
	}
	require.Zero(t, testenv.Value[int](t, db, "SELECT count(*) FROM pg_trigger WHERE tgname = 'freshet_truncated'"))
}

// The values of a clear are those that the log prints, whatever the session's settings are.
func TestClearPrintsAsTheLogDoes(t *testing.T) {
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Freshet)
	m := follow(t, db)
	db.Exec(t, `CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('ok', 'not bad');
		CREATE TABLE "T t" (id int8 PRIMARY KEY, o bool, n numeric(10,2), p price, c char(4), v varchar(3), ts timestamptz, d date, iv interval,
			f float8, b bytea, u uuid, m mood, j jsonb, a int[], "q ""x" text, gone int);
		ALTER TABLE "T t" DROP gone`)
	m.next()
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), `SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape';
		SET extra_float_digits = -5`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	for key, want := range map[string]string{
		`{"id": 42}`:                          `{"id": "42"}`,
		`{"id": "42"}`:                        `{"id": "42"}`,
		`{"id": null}`:                        `{"id": null}`,
		`{"id": 9223372036854775807}`:         `{"id": "9223372036854775807"}`,
		`{"o": true, "id": 1}`:                `{"o": "t", "id": "1"}`,
		`{"o": "no"}`:                         `{"o": "f"}`,
		`{"n": 1}`:                            `{"n": "1.00"}`,
		`{"p": -1.5}`:                         `{"p": "-1.50"}`, // no constraint is asked
		`{"c": "ab"}`:                         `{"c": "ab  "}`,
		`{"v": "abcdef"}`:                     `{"v": "abc"}`, // what no row has clears nothing of any other
		`{"ts": "2026-02-03T04:05:06+09:00"}`: `{"ts": "2026-02-02 19:05:06+00"}`,
		`{"d": "2026-02-03"}`:                 `{"d": "2026-02-03"}`,
		`{"iv": "P1DT2H"}`:                    `{"iv": "1 day 02:00:00"}`,
		`{"f": 0.30000000000000004}`:          `{"f": "0.30000000000000004"}`,
		`{"b": "\\x00ff"}`:                    `{"b": "\\x00ff"}`,
		`{"u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}`: `{"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}`,
		`{"m": "not bad"}`:            `{"m": "not bad"}`,
		`{"j": {"a" :1}}`:             `{"j": "{\"a\": 1}"}`,
		`{"j": "x"}`:                  `{"j": "\"x\""}`,
		`{"a": "{1, 2}"}`:             `{"a": "{1,2}"}`,
		`{"q \"x": "é'\\ %s $1 \"漢"}`: `{"q \"x": "é'\\ %s $1 \"漢"}`,
		`{}`:                          "",
		`{"q \"x": "` + strings.Repeat("x", 40000) + `"}`: "", // too long to be told: any row
	} {
		_, err := conn.Exec(t.Context(), `SELECT freshet.clear('"T t"', $1::jsonb)`, key)
		require.NoError(t, err, key)
		require.Equal(t, []string{strings.TrimSpace("clear public.T t " + want)}, m.names(), key)
	}
	for sql, want := range map[string]string{
		`SELECT freshet.clear('"T t"', '{"none": 1}')`:                          `column "none" of table public."T t" does not exist`,
		`SELECT freshet.clear('"T t"', '{"gone": 1}')`:                          `column "gone" of table`,
		`SELECT freshet.clear('"T t"', '{"........pg.dropped.17........": 1}')`: `column "........pg.dropped.17........" of table`,
		`SELECT freshet.clear('"T t"', '{"ctid": "(0,1)"}')`:                    `column "ctid" of table`,
		`SELECT freshet.clear('"T t"', '{"id": "x"}')`:                          `invalid input syntax for type bigint: "x"`,
		`SELECT freshet.clear('"T t"', '[1]')`:                                  "the key must be an object",
		`SELECT freshet.clear('nothing')`:                                       `relation "nothing" does not exist`,
		`SELECT freshet.clear(NULL)`:                                            "there is no such table",
		`SELECT freshet.clear('pg_catalog.pg_tables')`:                          "is not a table",
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, m.names())
}

// The log knows partitions by their table's name only.
func TestClearOfAPartitionIsOfItsTable(t *testing.T) {
	db, m := subject(t)
	m.next()
	db.Exec(t, `SELECT freshet.clear('events_2a', '{"id": 7}'); SELECT freshet.clear('events_1')`)
	db.Exec(t, "BEGIN; SELECT freshet.clear_all(); ROLLBACK")
	require.Equal(t, []string{`clear public.events {"id": "7"}`, "clear public.events"}, m.names())
}
