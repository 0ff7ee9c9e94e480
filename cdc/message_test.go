package cdc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

// entries reads n changes with what they are about: "insert public.t", "clear freshet.shapes".
func (r *reader) entries(n int) (entries []string, changes []events.Change) {
	r.t.Helper()
	for len(entries) < n {
		c := r.anyChanges()
		for _, change := range c.Changes {
			entries = append(entries, fmt.Sprintf("%s %s.%s", change.Op, c.Schema, c.Table))
			changes = append(changes, change)
		}
	}
	return entries, changes
}

// withoutTriggers leaves only what cdc finds by itself.
func withoutTriggers(t *testing.T, db *testenv.Database) {
	t.Helper()
	db.Exec(t, "DROP EVENT TRIGGER freshet_ddl; DROP EVENT TRIGGER freshet_drop; DROP EVENT TRIGGER freshet_detach")
}

func TestMessagesAreInOrderWithTheChanges(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ('public', 't', '{id}')`)
	h.start(t)
	h.publish(t, "t")
	h.db.Exec(t, `BEGIN; INSERT INTO t VALUES (1); SELECT freshet.clear('t', '{"id": 7}'); INSERT INTO t VALUES (2); ALTER TABLE t ADD v int;
		SELECT pg_logical_emit_message(true, 'somebody', repeat('x', 20000000)); SELECT pg_logical_emit_message(false, 'freshet.ddl', '{}');
		INSERT INTO t VALUES (3); SELECT freshet.clear_all(); DELETE FROM t WHERE id = 1; COMMIT`)
	r := h.reader(t)
	entries, changes := r.entries(7)
	require.Equal(t, []string{"insert public.t", "clear public.t", "insert public.t", "ddl public.t", "insert public.t", "clear freshet.shapes",
		"delete public.t"}, entries)
	require.Equal(t, events.Change{Op: events.Clear, Old: row("id", "7"), Reason: "freshet.clear"}, changes[1])
	require.Equal(t, events.Change{Op: events.Define, Reason: "ALTER TABLE"}, changes[3])
	require.Equal(t, events.Change{Op: events.Clear, Reason: "freshet.clear_all"}, changes[5])

	// Of what is rolled back nothing comes.
	h.db.Exec(t, `BEGIN; SELECT freshet.clear_all(); ROLLBACK; BEGIN; SAVEPOINT a; SELECT freshet.clear('t'); ROLLBACK TO a; INSERT INTO t VALUES (9); COMMIT`)
	require.Equal(t, row("id", "9"), r.changes().Changes[0].Key)
	r.watermark(h.position(t))
}

// logged collects what cdc logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Nobody can stop cdc with a message; what cannot be read is about everything.
func TestGarbageUnderOurPrefixes(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	var log logged
	h.start(t, func(c *cdc.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	h.publish(t, "t")
	garbage := []string{`''`, `'\x00ff'::bytea`, `'{"schema":"public"}'`, `'{"schema":"public","table":"' || repeat('x', 5000) || '"}'`,
		`repeat('[', 30000000)`, `'{"schema":"public","table":"t","values":{"id":1}}'`}
	for _, content := range garbage {
		h.db.Exec(t, "SELECT pg_logical_emit_message(true, 'freshet.clear', "+content+")")
	}
	h.db.Exec(t, "SELECT pg_logical_emit_message(true, 'freshet.ddl', '{'); INSERT INTO t VALUES (1)")
	entries, _ := h.reader(t).entries(len(garbage) + 2)
	want := append(slicesRepeat("clear freshet.shapes", len(garbage)), "ddl freshet.shapes", "insert public.t")
	require.Equal(t, want, entries)
	require.Equal(t, len(garbage)+1, strings.Count(log.String(), "level=WARN"))
	require.Contains(t, log.String(), "a logical message cannot be read and is taken to be about everything")
}

func slicesRepeat(s string, n int) []string {
	return strings.Split(strings.Repeat(s+"\n", n-1)+s, "\n")
}

// A session that goes on within a transaction leaves out exactly what the log has, messages too.
func TestResumeBetweenMessages(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE TABLE large (id int PRIMARY KEY, filler text)`)
	stop := h.start(t)
	h.publish(t, "large")
	// A message between the rows, again and again.
	const rows = 3000
	h.db.Exec(t, `DO $$ BEGIN FOR i IN 1..3000 LOOP
			INSERT INTO large VALUES (i, repeat(md5(i::text), 500));
			PERFORM freshet.emit('freshet.clear', 'public', 'large', jsonb_build_object('id', i::text), 'test');
			PERFORM pg_logical_emit_message(true, 'somebody', 'x');
		END LOOP; END $$`)
	awaitPartOf(t, h, 100)
	stop()
	h.start(t)
	r := h.reader(t)
	log := logState{decode: events.DecodeChanges}
	inserted, cleared := 0, 0
	r.verify(&log, h.position(t), func(c *events.Changes) {
		for _, change := range c.Changes {
			if change.Op == events.Insert {
				inserted++
				require.Equal(t, row("id", fmt.Sprint(inserted)), change.Key)
			} else {
				cleared++
				require.Equal(t, row("id", fmt.Sprint(cleared)), change.Old)
				require.Equal(t, inserted, cleared, "out of order")
			}
		}
	})
	require.Equal(t, rows, inserted)
	require.Equal(t, rows, cleared)
	require.Equal(t, 1, log.resumed, "sessions that went on within the transaction")
}

// Without event triggers, cdc itself finds that a table is another one, as soon as it changes.
func TestRedefinedTableIsAnnounced(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	withoutTriggers(t, h.db)
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, v int);
		CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)`)
	h.start(t)
	h.publish(t, "t", "p")
	r := h.reader(t)
	for i, tt := range []struct{ sql, table string }{
		{"ALTER TABLE t ADD w int", "t"}, {"ALTER TABLE t REPLICA IDENTITY FULL", "t"}, {"ALTER TABLE t ALTER v TYPE bigint", "t"},
		{"ALTER TABLE p RENAME v TO w", "p"}, {"ALTER TABLE p1 REPLICA IDENTITY FULL", "p"},
	} {
		insert := fmt.Sprintf("INSERT INTO %s VALUES (%%d)", tt.table)
		h.db.Exec(t, fmt.Sprintf(insert, 2*i))
		h.db.Exec(t, "ANALYZE "+tt.table) // described again, as the same
		h.db.Exec(t, tt.sql)
		h.db.Exec(t, fmt.Sprintf(insert, 2*i+1))
		for inserted := 0; ; { // a partition may be described later than its table
			entries, changes := r.entries(1)
			if entries[0] == "insert public."+tt.table {
				inserted++
				continue
			}
			require.Equal(t, "ddl public."+tt.table, entries[0], tt.sql)
			require.Equal(t, events.Change{Op: events.Define, Reason: "the walsender describes the table anew"}, changes[0])
			if inserted == 2 {
				break
			}
		}
	}
	r.watermark(h.position(t))
}

// emitRight gives or takes the right to emit messages; the functions' parameters are not the same in all majors.
const emitRight = `DO $$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' LOOP
		EXECUTE format('%s EXECUTE ON FUNCTION %%s %s PUBLIC', f);
	END LOOP; END $$`

// What a session could not announce the next one does.
func TestRedefinedTableIsAnnouncedLater(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	withoutTriggers(t, h.db)
	// A role that may do all that cdc does, but emit messages.
	role := h.db.Name + "_cdc"
	h.db.Exec(t, "CREATE ROLE "+role+" LOGIN REPLICATION; GRANT ALL ON DATABASE "+h.db.Name+" TO "+role+`; CREATE TABLE t (id int PRIMARY KEY);
		ALTER TABLE freshet.shapes OWNER TO `+role+"; GRANT USAGE, CREATE ON SCHEMA freshet TO "+role+"; GRANT ALL ON ALL TABLES IN SCHEMA freshet TO "+role+";"+fmt.Sprintf(emitRight, "REVOKE", "FROM"))
	t.Cleanup(func() {
		h.db.Exec(t, "ALTER TABLE freshet.shapes OWNER TO postgres; DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role)
	})
	require.NoError(t, postgres.EnsurePublication(t.Context(), h.db.Pool(t), h.cfg.Publication))
	h.publish(t, "t")
	var log logged
	run := h.run(t, func(c *cdc.Config) {
		c.DatabaseURL = strings.Replace(c.DatabaseURL, "postgres@", role+"@", 1)
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	run.awaitStreaming()
	r := h.reader(t)
	h.db.Exec(t, "INSERT INTO t VALUES (1)")
	h.db.Exec(t, "ALTER TABLE t ADD v int; INSERT INTO t VALUES (2)")
	r.changes()
	require.Equal(t, row("id", "2"), r.changes().Changes[0].Key)
	testenv.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(log.String(), "cannot announce that tables were defined anew; trying again"), log.String()
	})
	h.db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'freshet cdc test'`)
	run.awaitStreaming()
	h.db.Exec(t, "INSERT INTO t VALUES (3)")
	require.Equal(t, row("id", "3"), r.changes().Changes[0].Key, "the log does not wait for it")
	h.db.Exec(t, fmt.Sprintf(emitRight, "GRANT", "TO"))
	entries, _ := r.entries(1)
	require.Equal(t, []string{"ddl public.t"}, entries)
}

// Messages are UTF-8 whatever the encoding of the database: the server does not convert them.
func TestMessagesOfAnotherEncoding(t *testing.T) {
	db := testenv.Postgres(t)
	name := db.Name + "_latin"
	db.Exec(t, "CREATE DATABASE "+name+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'LATIN1'")
	latin := &testenv.Database{URL: strings.Replace(db.URL, db.Name, name, 1) + "&client_encoding=UTF8", Name: name, Server: db.Server}
	t.Cleanup(func() {
		testenv.Eventually(t, patience, func() (bool, string) { // the walsender ends a moment after its connection
			return !testenv.Value[bool](t, latin, "SELECT bool_or(active) FROM pg_replication_slots WHERE database = current_database()"), "the slot is in use"
		})
		latin.Exec(t, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
		latin.Pool(t).Close()
		db.Exec(t, "DROP DATABASE "+name)
	})
	h := newHarness(t, latin)
	latin.Exec(t, `CREATE TABLE "blä" (id int PRIMARY KEY, "ö" text) PARTITION BY RANGE (id);
		CREATE TABLE part PARTITION OF "blä" FOR VALUES FROM (0) TO (10);
		INSERT INTO freshet.shapes (schema_name, table_name, columns) VALUES ('public', 'blä', '{id}')`)
	h.cfg.DatabaseURL = strings.TrimSuffix(latin.URL, "&client_encoding=UTF8")
	h.start(t)
	h.publish(t, `"blä"`)
	latin.Exec(t, `ALTER TABLE "blä" ADD v int; SELECT freshet.clear('"blä"', '{"ö": "ü"}')`)
	withoutTriggers(t, latin)
	latin.Exec(t, `INSERT INTO "blä" VALUES (1)`)
	latin.Exec(t, `ALTER TABLE part REPLICA IDENTITY FULL; INSERT INTO "blä" VALUES (2)`)
	entries, changes := h.reader(t).entries(5)
	require.Equal(t, []string{"ddl public.blä", "clear public.blä", "insert public.blä", "insert public.blä", "ddl public.blä"}, entries)
	require.Equal(t, row("ö", "ü"), changes[1].Old)
}
