package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// backends are the servers of one test, and the settings that name them.
type backends struct {
	db    *testenv.Database
	redis *testenv.RedisServer
	nats  *testenv.NATSServer
	env   []string
}

// newBackends starts Redis and NATS beside a database.
func newBackends(t *testing.T, db *testenv.Database) *backends {
	t.Helper()
	b := &backends{db: db, redis: testenv.Redis(t), nats: testenv.NATS(t)}
	// A source of its own: slots have one name in the whole cluster, which the tests share.
	b.env = []string{
		"DATABASE_URL=" + db.URL, "REDIS_URL=" + b.redis.URL, "NATS_URL=" + b.nats.URL, "FRESHET_SOURCE=" + sourceName(db),
		"FRESHET_HTTP_ADDR=127.0.0.1:0", "FRESHET_CDC_HTTP_ADDR=127.0.0.1:0", "FRESHET_INVALIDATOR_HTTP_ADDR=127.0.0.1:0",
		"FRESHET_NATS_SYNC_INTERVAL=1s", "FRESHET_ADMIN_TOKEN=a-token", "DB_MIN_CONNECTIONS=0",
	}
	return b
}

func sourceName(db *testenv.Database) string { return db.Name[:min(len(db.Name), 40)] }

// with adds settings; the last of a name counts.
func (b *backends) with(settings ...string) []string {
	return append(slices.Clip(b.env), settings...)
}

// migrate runs freshet migrate up.
func (b *backends) migrate(t *testing.T, args ...string) {
	t.Helper()
	output, status := finish(t, b.env, append([]string{"migrate", "up"}, args...)...)
	require.Zero(t, status, output)
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// A server that cannot be reached is one line: which, where, and which setting says so.
func TestUnreachableServers(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	at := nobody(t)
	for _, tt := range []struct {
		name    string
		args    []string
		setting string
		want    []string
	}{
		{"migrate without Postgres", []string{"migrate", "up"}, "DATABASE_URL=postgres://u:hush@" + at + "/x", []string{"DATABASE_URL"}},
		{"api without Postgres", []string{"api", "--example"}, "DATABASE_URL=postgres://u:hush@" + at + "/x", []string{"DATABASE_URL"}},
		{"cdc without Postgres", []string{"cdc"}, "DATABASE_URL=postgres://u:hush@" + at + "/x", []string{"DATABASE_URL"}},
		{"invalidator without Postgres", []string{"invalidator"}, "DATABASE_URL=postgres://u:hush@" + at + "/x", []string{"DATABASE_URL"}},
		{"cdc without NATS", []string{"cdc"}, "NATS_URL=nats://u:hush@" + at, []string{"NATS_URL"}},
		{"invalidator without NATS", []string{"invalidator"}, "NATS_URL=nats://hush@" + at, []string{"NATS_URL"}},
		{"invalidator without Redis", []string{"invalidator"}, "REDIS_URL=redis://u:hush@" + at, []string{"REDIS_URL"}},
		{"dev without its Postgres", []string{"dev", "--data", t.TempDir()}, "DATABASE_URL=postgres://u:hush@" + at + "/x", []string{"DATABASE_URL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := refused(t, b.with(tt.setting), tt.args...)
			require.Contains(t, line, at)
			require.NotContains(t, line, "hush")
			for _, want := range tt.want {
				require.Contains(t, line, want)
			}
		})
	}
	// The api alone does without Redis.
	p := begin(t, b.with("REDIS_URL=redis://"+at), "api", "--example")
	require.Equal(t, "freshet; fwd=bypass; detail=redis-unavailable", get(t, serving(t, p)+"/blogs").header.Get("Cache-Status"))
	p.Signal(syscall.SIGTERM)
	exited(t, p)
	require.Zero(t, p.ExitCode())
}

// A server that is there but cannot be used is one line that says what to change.
func TestUnusableServers(t *testing.T) {
	plain := newBackends(t, testenv.PrivatePostgres(t, map[string]string{"wal_level": "replica"}))
	plain.migrate(t)
	require.Contains(t, refused(t, plain.env, "cdc"), "wal_level is replica and must be logical: run ALTER SYSTEM SET wal_level = 'logical' and restart")

	b := newBackends(t, testenv.Postgres(t))
	require.Regexp(t, "`freshet migrate up`", refused(t, b.env, "invalidator"))
	require.Contains(t, refused(t, b.env, "api", "--example"), "run `freshet migrate up` on it")

	b.migrate(t)
	output, status := finish(t, b.env, "api", "--example")
	require.Equal(t, 1, status)
	require.Contains(t, output, "blog_by_id.sql:")
	require.Contains(t, output, `relation "blogs" does not exist`)
	require.Contains(t, output, "`freshet migrate up --example`")
	b.db.Exec(t, "DROP SCHEMA freshet CASCADE")
	require.Contains(t, refused(t, b.env, "cdc"), "run `freshet migrate up` on it")
	b.migrate(t)

	b.db.Exec(t, "CREATE ROLE plain_"+b.db.Name+" LOGIN")
	defer b.db.Exec(t, "DROP OWNED BY plain_"+b.db.Name+"; DROP ROLE plain_"+b.db.Name)
	b.db.Exec(t, "GRANT ALL ON SCHEMA freshet TO plain_"+b.db.Name+"; GRANT ALL ON ALL TABLES IN SCHEMA freshet TO plain_"+b.db.Name)
	line := refused(t, b.with("DATABASE_URL="+withUser(t, b.db.URL, "plain_"+b.db.Name)), "cdc")
	require.Regexp(t, "ALTER ROLE .* REPLICATION|superuser", line)
}

// A slot that belongs to somebody else is left alone.
func TestSlotOfSomebodyElse(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t)
	slot := "freshet_" + sourceName(b.db)
	b.db.Exec(t, "CREATE PUBLICATION theirs")
	b.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	cfg, err := pgconn.ParseConfig(b.db.URL)
	require.NoError(t, err)
	cfg.RuntimeParams["replication"], cfg.RuntimeParams["application_name"] = "database", "theirs"
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	conn.Exec(t.Context(), fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names 'theirs')", slot))
	testenv.Eventually(t, patience, func() (bool, string) {
		return testenv.Value[bool](t, b.db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", slot), "the slot is not in use"
	})
	line := refused(t, b.env, "cdc")
	require.Contains(t, line, "the replication slot "+slot+" is in use by pid")
	require.Contains(t, line, `(application "theirs")`)
	require.Contains(t, line, "--slot")
	require.NoError(t, conn.Close(t.Context()))

	testenv.Eventually(t, patience, func() (bool, string) {
		return !testenv.Value[bool](t, b.db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", slot), "the slot is still in use"
	})
	b.db.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
	b.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'test_decoding')", slot)
	require.Contains(t, refused(t, b.env, "cdc"), "SELECT pg_drop_replication_slot('"+slot+"')")
}

// A query file that Postgres refuses is told with its line; so are two that want one route, in one folder or in two.
func TestBrokenQueryFiles(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	const file = "-- name: %s\n-- route: GET %s\n-- result: many\n-- depends: blogs()\nSELECT id,\n  %s FROM blogs"
	dir := writeFile(t, "mine.sql", fmt.Sprintf(file, "mine", "/mine", "titel"))
	require.Contains(t, refused(t, b.env, "api", "--queries", dir), `mine.sql:6: column "titel" does not exist`)
	dir = writeFile(t, "mine.sql", "-- name: mine\n-- route: GET /blogs/:no\n-- param: no bigint\n-- result: one\n-- depends: blogs()\nSELECT :no AS no")
	require.Contains(t, refused(t, b.env, "api", "--example", "--queries", dir), "the route GET /blogs/:no is taken by blog_by_id.sql")
	require.Contains(t, refused(t, b.env, "api", "--queries", t.TempDir()), "there is no .sql file")
	output, status := finish(t, b.env, "api", "--queries", filepath.Join(dir, "missing"))
	require.Equal(t, 1, status)
	require.Contains(t, output, "the path of a folder")
}
