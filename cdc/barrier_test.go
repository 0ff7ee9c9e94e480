package cdc_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/testenv"
)

// hang makes commits wait for a standby that does not exist, and returns once a transaction does: its row is in the WAL, and
// invisible. The table then shows the number that is returned, and the waiting transaction has written the next.
func hang(t *testing.T, h *harness, table string) (visible int, committed <-chan error) {
	t.Helper()
	h.db.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
	h.db.Exec(t, "SELECT pg_reload_conf()")
	writer := h.db.Conn(t)
	pid := writer.PgConn().PID()
	for n := 0; ; n++ {
		done := make(chan error, 1)
		go func() {
			_, err := writer.Exec(t.Context(), "UPDATE "+table+" SET n = n + 1")
			done <- err
		}()
		// The server learns of the setting a moment later: the first commits may pass.
		passed := false
		testenv.Eventually(t, patience, func() (bool, string) {
			select {
			case err := <-done:
				require.NoError(t, err)
				passed = true
			default:
			}
			waiting := testenv.Value[int](t, h.db, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'", pid) == 1
			return waiting || passed, "the commit neither passes nor waits"
		})
		if !passed {
			return n, done
		}
	}
}

// release lets the commits that hang pass.
func release(t *testing.T, h *harness) {
	t.Helper()
	h.db.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = ''")
	h.db.Exec(t, "SELECT pg_reload_conf()")
}

// awaitPolling waits until cdc's barrier has asked for its snapshot many times from now on; what is idle asks once a second.
// check is called again and again meanwhile.
func awaitPolling(t *testing.T, h *harness, check func()) {
	t.Helper()
	asked := map[time.Time]bool{}
	testenv.Eventually(t, patience, func() (bool, string) {
		check()
		asked[testenv.Value[time.Time](t, h.db, `SELECT coalesce(max(query_start), to_timestamp(0)) FROM pg_stat_activity
			WHERE application_name = 'freshet cdc test (queries)' AND query LIKE '%pg_current_snapshot%'`)] = true
		return len(asked) > int(patience/time.Second)+2, fmt.Sprintf("the barrier asked %d times", len(asked))
	})
}

// published is the number that the last change of the table ghost in the stream has; 0 if there is none.
func published(t *testing.T, h *harness) int {
	t.Helper()
	stream, err := h.js.Stream(t.Context(), events.StreamName(source))
	require.NoError(t, err)
	m, err := stream.GetLastMsgForSubject(t.Context(), events.ChangeSubject(source, "public", "ghost"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0
	}
	require.NoError(t, err)
	c, err := events.DecodeChanges(m.Data)
	require.NoError(t, err)
	f, _ := c.Changes[len(c.Changes)-1].New.Get("n")
	n, err := strconv.Atoi(f.Value)
	require.NoError(t, err)
	return n
}

// walsender is the process that serves cdc, with the position that it has sent and that cdc has received.
func walsender(t *testing.T, h *harness) (pid int, received string) {
	t.Helper()
	h.db.QueryRow(t, []any{&pid, &received}, `SELECT pid, coalesce(write_lsn, '0/0')::text FROM pg_stat_replication WHERE application_name = 'freshet cdc test'`)
	return pid, received
}

// Rule 1: visible before published. A cluster of its own, as the setting is the server's.
func TestRuleOneVisibleBeforePublished(t *testing.T) {
	db := testenv.PrivatePostgres(t, map[string]string{"wal_sender_timeout": "1s"})
	h := newHarness(t, db)
	db.Exec(t, `CREATE TABLE ghost (n int); INSERT INTO ghost VALUES (0); ALTER TABLE ghost REPLICA IDENTITY FULL;
		CREATE TABLE bulk (id int PRIMARY KEY, filler text); CREATE TABLE private (n int); INSERT INTO private VALUES (0)`)
	var waited atomic.Int64
	stop := h.start(t, func(c *cdc.Config) { c.OnBarrierWait = func(d time.Duration) { waited.Store(int64(d)) } })
	h.publish(t, "ghost", "bulk")
	r := h.reader(t)

	visible, committed := hang(t, h, "ghost")
	end := h.position(t)
	testenv.Eventually(t, patience, func() (bool, string) {
		_, received := walsender(t, h)
		p, err := events.ParsePosition(received)
		require.NoError(t, err)
		return p >= end, fmt.Sprintf("cdc received up to %s, the commit ends before %s", received, end)
	})
	awaitPolling(t, h, func() {
		require.LessOrEqual(t, published(t, h), visible, "a change was published while it was invisible")
	})
	hidden := h.end(t)
	require.Equal(t, visible, testenv.Value[int](t, db, "SELECT n FROM ghost"), "the row should be invisible still")

	t.Run("the walsender hears of a publisher that is blocked", func(t *testing.T) {
		// More than cdc buffers, so that its reading is blocked too.
		db.Exec(t, `BEGIN; SET LOCAL synchronous_commit = local;
			INSERT INTO bulk SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 40000) i; COMMIT`)
		pid, _ := walsender(t, h)
		began := testenv.Value[time.Time](t, db, "SELECT now()")
		testenv.Eventually(t, patience, func() (bool, string) {
			var late bool
			var now int
			db.QueryRow(t, []any{&late, &now}, `SELECT reply_time > $1::timestamptz + interval '3 s', pid FROM pg_stat_replication
				WHERE application_name = 'freshet cdc test'`, began)
			require.Equal(t, pid, now, "another walsender")
			return late, "no reply three seconds later"
		})
		require.Equal(t, hidden, h.end(t), "nothing may be published before the transaction that hangs")
	})

	release(t, h)
	require.NoError(t, <-committed)
	var low events.Position // the highest watermark before the change
	for n := 1; n <= visible+1; {
		m := r.next()
		switch kind, err := events.SubjectKind(m.Subject()); {
		case err != nil:
			require.NoError(t, err)
		case kind == events.KindWatermark:
			w, err := events.DecodeWatermark(m.Data())
			require.NoError(t, err)
			low = w.Position
		case kind == events.KindChange:
			c, err := events.DecodeChanges(m.Data())
			require.NoError(t, err)
			require.Equal(t, row("n", fmt.Sprint(n)), c.Changes[0].New)
			require.LessOrEqual(t, low, c.Position, "a watermark that promises a change that is not there")
			n++
		}
	}
	require.Greater(t, r.last, hidden, "the change was published while it was invisible")
	require.Equal(t, "bulk", r.changes().Table)
	require.Positive(t, waited.Load(), "OnBarrierWait")
	r.watermark(h.position(t))

	t.Run("cdc's own commits do not wait for the standby", func(t *testing.T) {
		_, committed := hang(t, h, "private")
		// The records of an open transaction are flushed by no commit, unless cdc makes one: it must not hang.
		_, err := db.Conn(t).Exec(t.Context(), "BEGIN; UPDATE bulk SET filler = 'x' WHERE id = 1", pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		r.watermark(h.position(t))
		stop()
		h.start(t)
		release(t, h)
		require.NoError(t, <-committed)
	})
}
