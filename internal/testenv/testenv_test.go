package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/internal/servers"
	"freshet/internal/servers/child"
)

func TestMain(m *testing.M) { Main(m) }

// recorder is a test that may fail without failing the one that looks at it.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs f, which should fail, and returns the message.
func failure(t *testing.T, f func(tb testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	require.NotEmpty(t, r.failure, "it should have failed")
	return r.failure
}

func TestPostgresGivesEachCallADatabase(t *testing.T) {
	a, b := Postgres(t), Postgres(t)
	require.Same(t, a.Server, b.Server)
	a.Exec(t, "CREATE TABLE things (id int); INSERT INTO things VALUES (1), (2)")
	a.Exec(t, "INSERT INTO things VALUES ($1)", 3)
	require.Equal(t, 3, Value[int](t, a, "SELECT count(*) FROM things"))
	require.True(t, Value[bool](t, b, "SELECT to_regclass('things') IS NULL"))
	require.Equal(t, "off", Value[string](t, a, "SHOW fsync"))
	require.Equal(t, "logical", Value[string](t, a, "SHOW wal_level"))

	require.Contains(t, failure(t, func(tb testing.TB) {
		tb.Helper()
		a.Exec(tb, "SELEKT 1")
	}), "in: SELEKT 1")
}

func TestPostgresDropsADatabaseInUse(t *testing.T) {
	var name string
	var stream *pgx.Conn
	t.Run("a test that leaves a slot, a walsender and a transaction", func(t *testing.T) {
		db := Postgres(t)
		name = db.Name
		conn := db.Conn(t)
		_, err := conn.Exec(t.Context(), "BEGIN")
		require.NoError(t, err)
		db.Exec(t, "SELECT pg_create_logical_replication_slot('idle_"+name[:4]+"', 'pgoutput')")
		db.Exec(t, "SELECT pg_create_logical_replication_slot('busy_"+name[:4]+"', 'pgoutput')")
		db.Exec(t, "CREATE PUBLICATION p FOR ALL TABLES")
		stream, err = pgx.Connect(t.Context(), db.URL+"&replication=database")
		require.NoError(t, err)
		stream.PgConn().Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION SLOT busy_" + name[:4] +
			" LOGICAL 0/0 (proto_version '1', publication_names 'p')"})
		require.NoError(t, stream.PgConn().Frontend().Flush())
		Eventually(t, 10*time.Second, func() (bool, string) {
			return Value[int](t, db, "SELECT count(*) FROM pg_replication_slots WHERE active AND database = $1", name) == 1,
				"no active slot"
		})
	})
	t.Cleanup(func() { _ = stream.Close(context.Background()) })
	other := Postgres(t)
	require.Zero(t, Value[int](t, other, "SELECT count(*) FROM pg_database WHERE datname = $1", name))
	require.Zero(t, Value[int](t, other, "SELECT count(*) FROM pg_replication_slots WHERE database = $1", name))
}

func TestPrivatePostgresCanBeKilled(t *testing.T) {
	db := PrivatePostgres(t, map[string]string{"max_connections": "17", "fsync": "on"})
	require.Equal(t, "17", Value[string](t, db, "SHOW max_connections"))
	require.Equal(t, "on", Value[string](t, db, "SHOW fsync"))
	db.Exec(t, "CREATE TABLE kept (id int)")
	require.NoError(t, db.Server.Kill())
	require.NoError(t, db.Server.Restart(t.Context()))
	Eventually(t, 10*time.Second, func() (bool, string) {
		_, err := db.Pool(t).Exec(t.Context(), "INSERT INTO kept VALUES (1)")
		return err == nil, fmt.Sprint(err)
	})
}

func TestRedisIsOnesOwn(t *testing.T) {
	a, b := Redis(t, "--maxmemory", "8mb"), Redis(t)
	require.NotEqual(t, a.URL, b.URL)
	require.NoError(t, a.Client(t).Set(t.Context(), "k", "v", 0).Err())
	require.Zero(t, b.Client(t).DBSize(t.Context()).Val())
}

func TestNATSIsOnesOwnAndRestarts(t *testing.T) {
	n := NATS(t, func(o *servers.NATSOptions) { o.SyncInterval = time.Second })
	js := n.JetStream(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	require.NoError(t, n.Server.Restart(t.Context()))
	Eventually(t, 10*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "s", nil)
		return err == nil, fmt.Sprint(err)
	})
}

func TestProcess(t *testing.T) {
	program := filepath.Join(state(t).dir, "parrot")
	require.NoError(t, build(t.Context(), "./internal/testenv/testdata/parrot", program, raceEnabled))

	t.Run("output, signals and status", func(t *testing.T) {
		p := StartProcess(t, program, []string{"PARROT=green"}, "one")
		require.Equal(t, "ready one green", p.WaitForLine(t, "ready", 10*time.Second))
		for range 2 { // the second hangup is another line than the first
			p.Signal(syscall.SIGHUP)
			require.Equal(t, "hangup", p.WaitForLine(t, "hang", 10*time.Second))
		}
		p.Signal(syscall.SIGTERM)
		exit := &child.ExitError{}
		require.ErrorAs(t, p.Wait(t.Context()), &exit)
		require.Equal(t, 3, p.ExitCode())
		require.Equal(t, []string{"ready one green", "hangup", "hangup", "bye"}, strings.Split(strings.TrimSpace(p.Output()), "\n"))
		require.Contains(t, failure(t, func(tb testing.TB) {
			tb.Helper()
			p.WaitForLine(tb, "nothing", time.Minute)
		}), "ended without")
	})
	t.Run("kill", func(t *testing.T) {
		p := StartProcess(t, program, nil, "two")
		p.WaitForLine(t, "ready", 10*time.Second)
		require.Contains(t, failure(t, func(tb testing.TB) {
			tb.Helper()
			p.WaitForLine(tb, "x", time.Millisecond)
		}), "did not print")
		p.Kill()
		p.Kill()
		require.Equal(t, -1, p.ExitCode())
	})
}

func TestEventuallyFailsWithTheLastMessage(t *testing.T) {
	calls := 0
	message := failure(t, func(tb testing.TB) {
		tb.Helper()
		Eventually(tb, 30*time.Millisecond, func() (bool, string) {
			calls++
			return false, fmt.Sprintf("call %d", calls)
		})
	})
	require.Equal(t, fmt.Sprintf("not within 30ms: call %d", calls), message)
}

func TestOutputKeepsTheEnd(t *testing.T) {
	out := newOutput()
	chunk := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	for range 20 {
		_, _ = out.Write(chunk)
	}
	_, _ = out.Write([]byte("last\n"))
	text, end, _ := out.from(0)
	require.LessOrEqual(t, len(text), outputLimit)
	require.Equal(t, 20<<20+5, end)
	found, rest, ok := cutLine(text, "last")
	require.True(t, ok)
	require.Equal(t, "last", found)
	require.Empty(t, rest)
}
