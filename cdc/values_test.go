package cdc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

// long is a text that Postgres stores out of line (TOAST): it does not compress below the threshold of 2 kB.
const long = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i)`

// valueCase is a table, statements on it, and the changes that the log must have for them.
type valueCase struct {
	name  string
	setup string // before the table is published
	table string // to publish; "" means t
	run   []string
	want  []events.Change
}

func insert(key, row events.Row) events.Change {
	return events.Change{Op: events.Insert, Key: key, New: row}
}

func valueCases(text string) []valueCase {
	id1 := row("id", "1")
	return []valueCase{
		{
			name:  "NULL, the empty string and an absent value are three things",
			setup: `CREATE TABLE t (id int PRIMARY KEY, a text, b text)`,
			run:   []string{`INSERT INTO t VALUES (1, NULL, '')`, `UPDATE t SET a = '', b = NULL`, `DELETE FROM t`},
			want: []events.Change{
				insert(id1, append(row("id", "1"), null("a"), row("b", "")[0])),
				{Op: events.Update, Key: id1, Old: id1, New: append(row("id", "1", "a", ""), null("b"))},
				{Op: events.Delete, Key: id1, Old: id1},
			},
		},
		{
			name:  "unchanged TOAST is unknown with the default identity",
			setup: `CREATE TABLE t (id int PRIMARY KEY, n int, body text); INSERT INTO t VALUES (1, 0, ` + long + `)`,
			run:   []string{`UPDATE t SET n = 1`, `UPDATE t SET body = 'short'`},
			want: []events.Change{
				{Op: events.Update, Key: id1, Old: id1, New: row("id", "1", "n", "1"), Unknown: []string{"body"}},
				{Op: events.Update, Key: id1, Old: id1, New: row("id", "1", "n", "1", "body", "short")},
			},
		},
		{
			name: "unchanged TOAST is filled in with the full identity",
			setup: `CREATE TABLE t (id int PRIMARY KEY, n int, body text); ALTER TABLE t REPLICA IDENTITY FULL;
				INSERT INTO t VALUES (1, 0, ` + long + `)`,
			run: []string{`UPDATE t SET n = 1`},
			want: []events.Change{{
				Op: events.Update, Key: id1, Old: row("id", "1", "n", "0", "body", text), New: row("id", "1", "n", "1", "body", text),
			}},
		},
		{
			name: "a key that is unchanged TOAST is known",
			setup: `CREATE TABLE t (id text PRIMARY KEY, n int); ALTER TABLE t ALTER id SET STORAGE EXTERNAL;
				INSERT INTO t VALUES (repeat('k', 2500), 0)`,
			run: []string{`UPDATE t SET n = 1`},
			want: []events.Change{{
				Op: events.Update, Key: row("id", strings.Repeat("k", 2500)), Old: row("id", strings.Repeat("k", 2500)),
				New: row("id", strings.Repeat("k", 2500), "n", "1"),
			}},
		},
		{
			name:  "composite keys, changed and not",
			setup: `CREATE TABLE t (a int, v text, b int, PRIMARY KEY (b, a)); INSERT INTO t VALUES (1, 'x', 2)`,
			run:   []string{`UPDATE t SET v = 'y'`, `UPDATE t SET b = 3`, `DELETE FROM t`},
			want: []events.Change{
				{Op: events.Update, Key: row("a", "1", "b", "2"), Old: row("a", "1", "b", "2"), New: row("a", "1", "v", "y", "b", "2")},
				{Op: events.Update, Key: row("a", "1", "b", "2"), Old: row("a", "1", "b", "2"), New: row("a", "1", "v", "y", "b", "3")},
				{Op: events.Delete, Key: row("a", "1", "b", "3"), Old: row("a", "1", "b", "3")},
			},
		},
		{
			name: "the full identity has the whole old row",
			setup: `CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL;
				INSERT INTO t VALUES (1, NULL)`,
			run: []string{`UPDATE t SET v = 'x', id = 2`, `DELETE FROM t`},
			want: []events.Change{
				{Op: events.Update, Key: id1, Old: append(row("id", "1"), null("v")), New: row("id", "2", "v", "x")},
				{Op: events.Delete, Key: row("id", "2"), Old: row("id", "2", "v", "x")},
			},
		},
		{
			name: "an index as identity, beside the primary key",
			setup: `CREATE TABLE t (id int PRIMARY KEY, slug text NOT NULL UNIQUE, v int);
				ALTER TABLE t REPLICA IDENTITY USING INDEX t_slug_key; INSERT INTO t VALUES (1, 'a', 0)`,
			run: []string{`UPDATE t SET v = 1`, `UPDATE t SET slug = 'b'`, `UPDATE t SET id = 2`},
			want: []events.Change{
				{Op: events.Update, Old: row("slug", "a"), New: row("id", "1", "slug", "a", "v", "1")},
				{Op: events.Update, Old: row("slug", "a"), New: row("id", "1", "slug", "b", "v", "1")},
				{Op: events.Update, Old: row("slug", "b"), New: row("id", "2", "slug", "b", "v", "1")},
			},
		},
		{
			name:  "no identity: inserts only",
			setup: `CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY NOTHING`,
			run:   []string{`INSERT INTO t VALUES (1, 2)`},
			want:  []events.Change{insert(id1, row("id", "1", "v", "2"))},
		},
		{
			name:  "every digit",
			setup: `CREATE TABLE t (id int PRIMARY KEY, n numeric, i int8, f float8, r float4, ts timestamptz, d date, dt timestamp, iv interval)`,
			run: []string{
				`INSERT INTO t VALUES (1, 12345678901234567890.123456789012345678901234567890, 9223372036854775807, 0.1::float8 + 0.2::float8,
					'1.1', '2026-02-03 04:05:06.789012+09', '0044-03-15 BC', 'infinity', '1 year 2 days 03:04:05.678901')`,
				`INSERT INTO t VALUES (2, 'NaN', -9223372036854775808, '-Infinity', '1e-45', '-infinity', 'infinity', '294276-12-31 23:59:59.999999', '-1 day')`,
				`INSERT INTO t VALUES (3, 1.10, 0, '1e308', '3.4028235e38', '1883-11-18 12:03:58+00', '5874897-12-31', '2026-01-01', '0')`,
			},
			want: []events.Change{
				insert(id1, row("id", "1", "n", "12345678901234567890.123456789012345678901234567890", "i", "9223372036854775807",
					"f", "0.30000000000000004", "r", "1.1", "ts", "2026-02-02 19:05:06.789012+00", "d", "0044-03-15 BC", "dt", "infinity",
					"iv", "1 year 2 days 03:04:05.678901")),
				insert(row("id", "2"), row("id", "2", "n", "NaN", "i", "-9223372036854775808", "f", "-Infinity", "r", "1e-45",
					"ts", "-infinity", "d", "infinity", "dt", "294276-12-31 23:59:59.999999", "iv", "-1 days")),
				insert(row("id", "3"), row("id", "3", "n", "1.10", "i", "0", "f", "1e+308", "r", "3.4028235e+38",
					"ts", "1883-11-18 12:03:58+00", "d", "5874897-12-31", "dt", "2026-01-01 00:00:00", "iv", "00:00:00")),
			},
		},
		{
			name: "bytes, arrays, JSON, enumerations, composites, ranges, booleans",
			setup: `CREATE TYPE mood AS ENUM ('not bad', 'ok'); CREATE TYPE pair AS (x int, y text);
				CREATE TABLE t (id int PRIMARY KEY, b bytea, a text[], j json, jb jsonb, m mood, p pair, r int4range, o bool)`,
			run: []string{`INSERT INTO t VALUES (1, '\x00ff5c', ARRAY['a,"b', NULL, ''], '{"a" :1.0}', '{"a" :1.0}', 'not bad', (1, 'x y'), '[1,5)', true)`},
			want: []events.Change{insert(id1, row("id", "1", "b", `\x00ff5c`, "a", `{"a,\"b",NULL,""}`, "j", `{"a" :1.0}`, "jb", `{"a": 1.0}`,
				"m", "not bad", "p", `(1,"x y")`, "r", "[1,5)", "o", "t"))},
		},
		{
			name:  "quotes, backslashes, control characters, every plane of Unicode",
			setup: `CREATE TABLE t (id int PRIMARY KEY, "a ""b""\c` + "\n" + `é" text)`,
			run:   []string{`INSERT INTO t VALUES (1, E'"\\/\b\f\n\r\t\x01\x1f\x7f é 漢 🦆 \u2028 </script>')`},
			want: []events.Change{insert(id1, row("id", "1", "a \"b\"\\c\né",
				"\"\\/\b\f\n\r\t\x01\x1f\x7f é 漢 🦆 \u2028 </script>"))},
		},
		{
			name: "names that are no NATS tokens", table: `"my.schema *"."tä > ble.x"`,
			setup: `CREATE SCHEMA "my.schema *"; CREATE TABLE "my.schema *"."tä > ble.x" (id int PRIMARY KEY)`,
			run:   []string{`INSERT INTO "my.schema *"."tä > ble.x" VALUES (1)`},
			want:  []events.Change{insert(id1, id1)},
		},
		{
			name:  "savepoints that were rolled back, and transactions",
			setup: `CREATE TABLE t (id int PRIMARY KEY)`,
			run: []string{`BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (2); SAVEPOINT b; INSERT INTO t VALUES (3);
				ROLLBACK TO a; INSERT INTO t VALUES (4); RELEASE a; COMMIT`, `BEGIN; INSERT INTO t VALUES (5); ROLLBACK`},
			want: []events.Change{insert(id1, id1), insert(row("id", "4"), row("id", "4"))},
		},
		{
			name:  "a column that comes and goes",
			setup: `CREATE TABLE t (id int PRIMARY KEY, a int)`,
			run: []string{`INSERT INTO t VALUES (1, 1)`, `ALTER TABLE t DROP a`, `ALTER TABLE t ADD b int DEFAULT 7, ADD c int GENERATED ALWAYS AS (id) STORED`,
				`INSERT INTO t VALUES (2)`},
			want: []events.Change{insert(id1, row("id", "1", "a", "1")), insert(row("id", "2"), row("id", "2", "b", "7"))},
		},
		{
			name:  "an upsert is what it did",
			setup: `CREATE TABLE t (id int PRIMARY KEY, v int)`,
			run:   []string{`INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 2`, `INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 2`},
			want:  []events.Change{insert(id1, row("id", "1", "v", "1")), {Op: events.Update, Key: id1, Old: id1, New: row("id", "1", "v", "2")}},
		},
		{
			name: "a partitioned table goes by its own name",
			setup: `CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
				CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t_high (v int, id int NOT NULL);
				ALTER TABLE t ATTACH PARTITION t_high FOR VALUES FROM (10) TO (20)`,
			run: []string{`INSERT INTO t VALUES (1, 1), (11, 2)`, `UPDATE t_high SET v = 3`, `UPDATE t SET id = 12 WHERE id = 1`, `DELETE FROM t WHERE id = 11`, `TRUNCATE t`},
			want: []events.Change{
				insert(id1, row("id", "1", "v", "1")), insert(row("id", "11"), row("id", "11", "v", "2")),
				// The old row stays unknown: see the next case.
				{Op: events.Update, Key: row("id", "11"), New: row("id", "11", "v", "3")},
				{Op: events.Delete, Key: id1, Old: id1}, insert(row("id", "12"), row("id", "12", "v", "1")), // another partition
				{Op: events.Delete, Key: row("id", "11"), Old: row("id", "11")},
				{Op: events.Truncate},
			},
		},
		{
			name: "partitions whose identity is not that of their table",
			setup: `CREATE TABLE t (id int PRIMARY KEY, slug text NOT NULL, v int) PARTITION BY RANGE (id);
				CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (10) TO (20);
				ALTER TABLE t REPLICA IDENTITY FULL;
				CREATE UNIQUE INDEX other ON t_high (slug); ALTER TABLE t_high REPLICA IDENTITY USING INDEX other;
				INSERT INTO t VALUES (1, 'a', 1), (11, 'b', 2)`,
			run: []string{`UPDATE t SET v = 3 WHERE id = 1`, `UPDATE t SET id = 2 WHERE id = 1`, `UPDATE t SET id = 12 WHERE id = 11`,
				`UPDATE t SET slug = 'c' WHERE id = 12`, `DELETE FROM t`},
			want: []events.Change{
				{Op: events.Update, Key: id1, New: row("id", "1", "slug", "a", "v", "3")},
				{Op: events.Update, Key: id1, Old: id1, New: row("id", "2", "slug", "a", "v", "3")},
				{Op: events.Update, Key: row("id", "12"), New: row("id", "12", "slug", "b", "v", "2")},
				{Op: events.Update, Old: row("slug", "b"), New: row("id", "12", "slug", "c", "v", "2")},
				{Op: events.Delete, Key: row("id", "2"), Old: row("id", "2")},
				{Op: events.Delete, Old: row("slug", "c")},
			},
		},
	}
}

func TestValues(t *testing.T) {
	db := testenv.Postgres(t)
	text := testenv.Value[string](t, db, "SELECT "+long)
	h := newHarness(t, db)
	// What somebody set for his database must not change what the log says.
	for _, setting := range []string{"timezone = 'Asia/Tokyo'", "datestyle = 'German'", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'",
		"extra_float_digits = -5", "statement_timeout = '20s'"} {
		db.Exec(t, "ALTER DATABASE "+db.Name+" SET "+setting)
	}
	h.start(t)
	r := h.reader(t)
	for _, tt := range valueCases(text) {
		t.Run(tt.name, func(t *testing.T) {
			if tt.table == "" {
				tt.table = "t"
			}
			db.Exec(t, tt.setup)
			h.publish(t, tt.table)
			for _, sql := range tt.run {
				db.Exec(t, sql)
			}
			var got []events.Change
			for len(got) < len(tt.want) {
				got = append(got, r.changes().Changes...)
			}
			require.Equal(t, tt.want, got)
			db.Exec(t, "DROP TABLE "+tt.table+"; DROP TYPE IF EXISTS mood; DROP TYPE IF EXISTS pair")
		})
	}
	r.watermark(h.position(t))
}

func TestNamesAreEscapedInSubjects(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	h.db.Exec(t, `CREATE SCHEMA "my.schema *"; CREATE TABLE "my.schema *"."tä > ble" (id int PRIMARY KEY)`)
	h.publish(t, `"my.schema *"."tä > ble"`)
	h.db.Exec(t, `INSERT INTO "my.schema *"."tä > ble" VALUES (1)`)
	m := h.reader(t).of(events.KindChange)
	require.Equal(t, "cdc.test.change.my%2Eschema%20%2A.t%C3%A4%20%3E%20ble", m.Subject())
	c, err := events.DecodeChanges(m.Data())
	require.NoError(t, err)
	require.Equal(t, "my.schema *", c.Schema)
	require.Equal(t, "tä > ble", c.Table)
}

func TestTruncateOfSeveralTables(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	h.db.Exec(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a); CREATE TABLE c (id int PRIMARY KEY);
		CREATE TABLE unpublished (id int PRIMARY KEY)`)
	h.publish(t, "a", "b", "c")
	h.db.Exec(t, `BEGIN; INSERT INTO c VALUES (1); TRUNCATE c, a, unpublished CASCADE; COMMIT`)
	r := h.reader(t)
	first := r.changes()
	require.Equal(t, events.Insert, first.Changes[0].Op)
	require.Equal(t, events.Truncate, first.Changes[1].Op, "one message, as the table is the same")
	truncated := map[string]bool{}
	for last := first; !last.Last; {
		last = r.changes()
		require.Equal(t, []events.Change{{Op: events.Truncate}}, last.Changes)
		truncated[last.Table] = true
	}
	require.Equal(t, map[string]bool{"a": true, "b": true}, truncated)
}

func TestTablesThatAlternateInATransactionKeepTheirOrder(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	const tables, rounds = 7, 30
	var sql strings.Builder
	sql.WriteString("BEGIN;")
	for i := range tables {
		h.db.Exec(t, fmt.Sprintf("CREATE TABLE t%d (n int PRIMARY KEY)", i))
		h.publish(t, fmt.Sprintf("t%d", i))
	}
	for n := range tables * rounds {
		fmt.Fprintf(&sql, "INSERT INTO t%d VALUES (%d);", n%tables, n)
	}
	h.db.Exec(t, sql.String()+"COMMIT")
	r := h.reader(t)
	for n := range tables * rounds {
		c := r.changes()
		require.Equal(t, fmt.Sprintf("t%d", n%tables), c.Table)
		require.Equal(t, row("n", fmt.Sprint(n)), c.Changes[0].New)
		require.EqualValues(t, n, c.Sequence)
		require.Equal(t, n == tables*rounds-1, c.Last)
	}
}

func TestRowLargerThanAMessage(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, large text, small text, quotes text)`)
	h.publish(t, "t")
	h.db.Exec(t, `INSERT INTO t VALUES (1, repeat('x', 5000000), repeat('y', 1000), repeat('"', 150000)), (2, 'x', 'y', '"')`)
	m := h.reader(t).of(events.KindChange)
	require.LessOrEqual(t, len(m.Data()), events.MaxMessageBytes)
	c, err := events.DecodeChanges(m.Data())
	require.NoError(t, err)
	require.Equal(t, []events.Change{
		{Op: events.Insert, Key: row("id", "1"), New: row("id", "1", "small", strings.Repeat("y", 1000)), Unknown: []string{"large", "quotes"}},
		insert(row("id", "2"), row("id", "2", "large", "x", "small", "y", "quotes", `"`)),
	}, c.Changes, "150,000 quotes are 300,000 bytes of JSON")
}
