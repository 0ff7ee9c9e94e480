package cdc_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/testenv"
)

// The watermark passes whatever an ordinary client can see of the WAL, although none of it is published.
func TestWatermarkPassesUnrelatedWAL(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	h.db.Exec(t, "CREATE TABLE private (id int)")
	r := h.reader(t)
	r.reset()
	for _, tt := range []struct{ name, sql string }{
		{"a table that is not published", "INSERT INTO private VALUES (1)"},
		{"much of it", "INSERT INTO private SELECT generate_series(1, 200000)"},
		{"a commit that is not flushed", "BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO private VALUES (2); COMMIT"},
		{"a transaction that was rolled back", "BEGIN; INSERT INTO private VALUES (3); ROLLBACK"},
		{"a transaction that is open", "BEGIN; INSERT INTO private VALUES (4)"}, // nothing flushes its records, unless cdc does
		{"another segment", "SELECT pg_switch_wal()"},
		{"nothing", "SELECT 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.db.Conn(t).Exec(t.Context(), tt.sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			began := time.Now()
			w := r.watermark(h.position(t))
			require.Less(t, time.Since(began), 8*time.Second)
			require.False(t, w.At.IsZero())
		})
	}
	t.Run("the time moves on by itself, and does not go back", func(t *testing.T) {
		end := testenv.Value[time.Time](t, h.db, "SELECT clock_timestamp() + interval '1 s'")
		for at := r.watermark(0).At; at.Before(end); {
			w := r.watermark(0)
			require.False(t, w.At.Before(at))
			at = w.At
		}
	})
}

// What is confirmed to Postgres follows what JetStream has safely.
func TestConfirmation(t *testing.T) {
	confirmed := func(t *testing.T, h *harness) events.Position {
		t.Helper()
		p, err := events.ParsePosition(testenv.Value[string](t, h.db,
			"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", h.cfg.Slot))
		require.NoError(t, err)
		return p
	}
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")

	stop := h.start(t, func(c *cdc.Config) { c.NATSSyncInterval = time.Hour })
	h.publish(t, "t")
	begin := confirmed(t, h)
	h.db.Exec(t, "INSERT INTO t VALUES (1)")
	r := h.reader(t)
	r.watermark(h.position(t))
	stop() // tells Postgres what is confirmed, at the latest
	require.Equal(t, begin, confirmed(t, h), "JetStream may still lose it")

	stop = h.start(t) // sync interval 0
	end := h.position(t)
	testenv.Eventually(t, patience, func() (bool, string) { return confirmed(t, h) >= end, "not confirmed" })
	stop()
	end = confirmed(t, h)

	h.start(t, func(c *cdc.Config) { c.NATSSyncInterval = time.Hour })
	h.db.Exec(t, "INSERT INTO t VALUES (2)")
	r.watermark(h.position(t))
	pid, _ := walsender(t, h)
	testenv.Eventually(t, patience, func() (bool, string) { // a status update later
		return testenv.Value[bool](t, h.db, "SELECT coalesce(reply_time, backend_start) > backend_start + interval '1.5 s' FROM pg_stat_replication WHERE pid = $1", pid),
			"no status update"
	})
	require.GreaterOrEqual(t, confirmed(t, h), end, "it went back")
}

// A watermark's time counts only once the log has reached the position that belongs to it (cache/model: clockBehind): whatever was
// acknowledged before that time stands before the watermark. Many commit at once, so that the log is always a little behind.
func TestWatermarkTimeIsNotAheadOfItsPosition(t *testing.T) {
	const writers, rows = 8, 200
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
	h.publish(t, "t")
	acknowledged := make([]time.Time, writers*rows) // by the clock of Postgres
	g, ctx := errgroup.WithContext(t.Context())
	for w := range writers {
		conn := h.db.Conn(t)
		g.Go(func() error {
			for id := w; id < len(acknowledged); id += writers {
				if _, err := conn.Exec(ctx, "INSERT INTO t VALUES ($1)", id); err != nil {
					return err
				}
				if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&acknowledged[id]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())

	r, end := h.reader(t), h.position(t)
	logged := make(map[string]bool)
	var at time.Time // the latest that a watermark has promised so far
	for position := events.Position(0); position < end; {
		m := r.next()
		kind, err := events.SubjectKind(m.Subject())
		require.NoError(t, err)
		switch kind {
		case events.KindWatermark:
			w, err := events.DecodeWatermark(m.Data())
			require.NoError(t, err)
			position, at = w.Position, w.At
		case events.KindChange:
			c, err := events.DecodeChanges(m.Data())
			require.NoError(t, err)
			if c.Table != "t" || c.Changes[0].Op != events.Insert {
				continue
			}
			id, _ := c.Changes[0].New.Get("id")
			n, err := strconv.Atoi(id.Value)
			require.NoError(t, err)
			require.True(t, acknowledged[n].After(at), "row %d was acknowledged at %s, and a watermark before it says %s", n, acknowledged[n], at)
			logged[id.Value] = true
		}
	}
	require.Len(t, logged, writers*rows)
}
