package cdc_test

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

func TestNewChecksTheConfiguration(t *testing.T) {
	conn := testenv.NATS(t).Conn(t)
	for name, tt := range map[string]struct {
		cfg  cdc.Config
		want string
	}{
		"no NATS":           {cdc.Config{Source: "s", Slot: "s", Publication: "p"}, "no NATS connection"},
		"no source":         {cdc.Config{NATS: conn, Slot: "s", Publication: "p"}, "must have names"},
		"no slot":           {cdc.Config{NATS: conn, Source: "s", Publication: "p"}, "must have names"},
		"no publication":    {cdc.Config{NATS: conn, Source: "s", Slot: "s"}, "must have names"},
		"source no subject": {cdc.Config{NATS: conn, Source: "a.*", Slot: "s", Publication: "p"}, "part of NATS subjects"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cdc.New(tt.cfg)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// Until it has streamed once, cdc fails at once, with a text that says what to do.
func TestMisconfigurationEndsTheStart(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	publication := func(options string) func(*testing.T, *cdc.Config) {
		return func(t *testing.T, _ *cdc.Config) { h.db.Exec(t, "CREATE PUBLICATION freshet_test "+options) }
	}
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *cdc.Config)
		want    []string
	}{
		{"Postgres is not there", func(t *testing.T, c *cdc.Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, l.Close())
			c.DatabaseURL = "postgres://postgres@" + l.Addr().String() + "/postgres?sslmode=disable"
		}, []string{"is DATABASE_URL right?", "connection refused"}},
		{"no such database", func(_ *testing.T, c *cdc.Config) {
			u, err := url.Parse(c.DatabaseURL)
			require.NoError(t, err)
			u.Path = "/nowhere"
			c.DatabaseURL = u.String()
		}, []string{`database "nowhere" does not exist`}},
		{"a role without REPLICATION", func(t *testing.T, c *cdc.Config) {
			h.db.Exec(t, "CREATE ROLE weak LOGIN")
			t.Cleanup(func() { h.db.Exec(t, "DROP ROLE weak") })
			u, err := url.Parse(c.DatabaseURL)
			require.NoError(t, err)
			u.User = url.User("weak")
			c.DatabaseURL = u.String()
		}, []string{"ALTER ROLE ... REPLICATION"}},
		{"not migrated", func(t *testing.T, c *cdc.Config) {
			c.DatabaseURL = testenv.Postgres(t).URL
		}, []string{"freshet migrate up"}},
		{"a slot of another plugin", func(t *testing.T, c *cdc.Config) {
			c.Slot = "foreign"
			h.db.Exec(t, "SELECT pg_create_logical_replication_slot('foreign', 'test_decoding')")
		}, []string{`plugin "test_decoding"`, "pg_drop_replication_slot('foreign')"}},
		{"a slot of another database", func(t *testing.T, c *cdc.Config) {
			c.Slot = "elsewhere"
			testenv.Postgres(t).Exec(t, "SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')")
		}, []string{"the replication slot elsewhere exists", "choose another name"}},
		{"a publication that leaves deletes out", publication("FOR TABLE freshet.shapes WITH (publish = 'insert, update')"),
			[]string{"leaves changes out", "publish = 'insert, update, delete, truncate'"}},
		{"a publication of partitions", publication("FOR TABLE freshet.shapes"), []string{"publish_via_partition_root = true"}},
		{"a publication with a row filter", publication("FOR TABLE freshet.shapes WHERE (ready) WITH (publish_via_partition_root = true)"),
			[]string{"row filter"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := h.run(t, func(c *cdc.Config) { tt.prepare(t, c) })
			err := r.failed()
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			h.db.Exec(t, "DROP PUBLICATION IF EXISTS freshet_test")
		})
	}
	t.Run("a publication made by hand gets the shapes", func(t *testing.T) {
		h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY);
			CREATE PUBLICATION freshet_test FOR TABLE t WITH (publish_via_partition_root = true)`)
		h.start(t)
		require.Equal(t, 2, testenv.Value[int](t, h.db, "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'freshet_test'"))
	})
}

func TestWALLevelMustBeLogical(t *testing.T) {
	h := newHarness(t, testenv.PrivatePostgres(t, map[string]string{"wal_level": "replica"}))
	err := h.run(t).failed()
	var setup *cdc.SetupError
	require.ErrorAs(t, err, &setup)
	require.ErrorContains(t, err, "ALTER SYSTEM SET wal_level = 'logical'")
}

// The settings of a role are made for applications; cdc waits longer, and is idle longer.
func TestTimeoutsOfTheRoleDoNotEndIt(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE ROLE hurried SUPERUSER LOGIN; ALTER ROLE hurried SET statement_timeout = '50ms'; ALTER ROLE hurried SET lock_timeout = '50ms';
		ALTER ROLE hurried SET idle_session_timeout = '50ms'`)
	t.Cleanup(func() { h.db.Exec(t, "DROP OWNED BY hurried; DROP ROLE hurried") })
	open, err := h.db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = open.Exec(t.Context(), "CREATE TABLE t ()")
	require.NoError(t, err)
	c := h.run(t, func(c *cdc.Config) { c.DatabaseURL = strings.Replace(c.DatabaseURL, "postgres@", "hurried@", 1) })
	testenv.Eventually(t, patience, func() (bool, string) { // the slot waits for the transaction that is open
		return testenv.Value[bool](t, h.db, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'hurried' AND
			query LIKE '%pg_create_logical_replication_slot%' AND clock_timestamp() > query_start + interval '200 ms')`), "no slot is made"
	})
	require.NoError(t, open.Commit(t.Context()))
	c.awaitStreaming()
	h.db.Exec(t, "SELECT 1")
	h.reader(t).watermark(h.position(t))
}

func TestSecondCDCStandsByAndTakesOver(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
	// Both at once, on nothing: one makes the slot and the stream, and neither fails.
	both := []*running{h.run(t), h.run(t)}
	streams := func() int {
		select {
		case <-both[0].streaming:
			return 0
		case <-both[1].streaming:
			return 1
		case err := <-both[0].done:
			both[0].stopped = true
			require.NoError(t, err)
		case err := <-both[1].done:
			both[1].stopped = true
			require.NoError(t, err)
		case <-time.After(patience):
			require.Fail(t, "none streams")
		}
		return -1
	}
	first := streams()
	h.publish(t, "t")
	h.db.Exec(t, "INSERT INTO t VALUES (1)")
	r := h.reader(t)
	r.changes()
	h.awaitStandby(t)
	require.Empty(t, both[1-first].streaming, "two stream at once")

	both[first].stop()
	h.db.Exec(t, "INSERT INTO t VALUES (2)")
	require.Equal(t, 1-first, streams())
	require.Equal(t, row("id", "2"), r.changes().Changes[0].New)
}

// awaitStandby waits until a cdc waits for the slot.
func (h *harness) awaitStandby(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		return testenv.Value[bool](t, h.db, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE application_name = 'freshet cdc test (queries)' AND query LIKE '%pg_replication_slots%')`), "nobody stands by"
	})
}

func TestForeignHolderOfTheSlot(t *testing.T) {
	for _, application := range []string{"somebody else", ""} {
		t.Run("application "+strconv.Quote(application), func(t *testing.T) {
			h := newHarness(t, testenv.Postgres(t))
			require.NoError(t, postgres.EnsurePublication(t.Context(), h.db.Conn(t), h.cfg.Publication))
			h.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", h.cfg.Slot)
			conn, err := pgconn.Connect(t.Context(), h.db.URL+"&replication=database&application_name="+url.PathEscape(application))
			require.NoError(t, err)
			defer conn.Close(t.Context())
			require.NoError(t, pglogrepl.StartReplication(t.Context(), conn, h.cfg.Slot, 0, pglogrepl.StartReplicationOptions{
				PluginArgs: []string{"proto_version '1'", "publication_names 'freshet_test'"},
			}))
			err = h.run(t).failed()
			var setup *cdc.SetupError
			require.ErrorAs(t, err, &setup)
			require.ErrorContains(t, err, "pid "+strconv.Itoa(int(conn.PID())))
			require.ErrorContains(t, err, "application "+strconv.Quote(application))
		})
	}
}

// In the middle of a failover a URL can lead to two servers that both hold themselves for the primary.
func TestConnectionsToDifferentServers(t *testing.T) {
	awaitFarewells(t)
	h, other := newHarness(t, testenv.Postgres(t)), testenv.PrivatePostgres(t, nil)
	here, err := url.Parse(h.db.URL)
	require.NoError(t, err)
	there, err := url.Parse(other.URL)
	require.NoError(t, err)
	other.Exec(t, "CREATE DATABASE "+pgx.Identifier{strings.TrimPrefix(here.Path, "/")}.Sanitize())
	proxy := newHanging(t, here.Host)
	proxy.log = there.Host
	here.Host = proxy.listener.Addr().String()
	c := h.run(t, func(c *cdc.Config) { c.DatabaseURL = here.String() })
	require.ErrorContains(t, c.failed(), "to different servers")
}
