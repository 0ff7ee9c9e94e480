package cdc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/telemetry"
	"freshet/internal/testenv"
)

// measured lets a cdc count, and returns what it counts.
func measured(m *telemetry.CDC) func(*cdc.Config) {
	return func(cfg *cdc.Config) { cfg.Metrics = m }
}

// What is published is counted, once: also what a second session does not publish again.
func TestPublishedChangesAreMeasured(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY)")
	m := telemetry.NewCDC("test", time.Now)
	require.NotContains(t, testenv.Scrape(t, m.Handler()), "freshet_cdc_lag_bytes")
	stop := h.start(t, measured(m))
	h.publish(t, "a", "b")
	r := h.reader(t)
	for _, sql := range []string{
		"INSERT INTO a SELECT i, 0 FROM generate_series(1, 5) i",
		"WITH x AS (INSERT INTO a VALUES (6, 0)), y AS (INSERT INTO b VALUES (1)) SELECT", // two messages, one transaction
		"UPDATE a SET n = 1 WHERE id < 4",
		"INSERT INTO a VALUES (7, 0); UPDATE a SET n = 2 WHERE id = 7", // one transaction, one message, two operations
		"DELETE FROM a WHERE id = 1",
		"TRUNCATE b",
		"CREATE TABLE unpublished (id int)",
	} {
		h.db.Exec(t, sql)
	}
	r.watermark(h.position(t))
	testenv.Eventually(t, patience, func() (bool, string) {
		got := testenv.Scrape(t, m.Handler())
		return got["freshet_cdc_lag_bytes"] == 0 && got["freshet_cdc_lag_seconds"] < 1.5, fmt.Sprint(got)
	})
	stop() // everything is counted once it is drained
	got := testenv.Scrape(t, m.Handler())
	want := map[string]float64{
		`freshet_cdc_changes_total{op="insert",table="public.a"}`:   7,
		`freshet_cdc_changes_total{op="insert",table="public.b"}`:   1,
		`freshet_cdc_changes_total{op="update",table="public.a"}`:   4,
		`freshet_cdc_changes_total{op="delete",table="public.a"}`:   1,
		`freshet_cdc_changes_total{op="truncate",table="public.b"}`: 1,
		`freshet_cdc_resets_total{reason="slot-new"}`:               1,
		"freshet_cdc_sessions_total":                                1,
		"freshet_cdc_streaming":                                     0,
		"freshet_cdc_barrier_wait_seconds_count":                    got["freshet_cdc_barrier_waits_total"],
		"freshet_cdc_messages_total":                                float64(h.end(t)),
		"freshet_cdc_message_bytes_total":                           float64(h.bodies(t)),
	}
	for series, value := range want {
		require.Contains(t, got, series)
		require.InDelta(t, value, got[series], 0, series)
	}
	// Those six, and the definitions that were announced; not the one that is of nobody's business.
	require.InDelta(t, float64(h.transactions(t)), got["freshet_cdc_transactions_total"], 0)
	require.GreaterOrEqual(t, got["freshet_cdc_transactions_total"], 6.0)

	h.start(t, measured(m))
	h.db.Exec(t, "INSERT INTO b VALUES (2)")
	r.watermark(h.position(t))
	got = testenv.Scrape(t, m.Handler())
	require.InDelta(t, 2, got["freshet_cdc_sessions_total"], 0)
	require.InDelta(t, 1, got["freshet_cdc_streaming"], 0)
	require.InDelta(t, 2, got[`freshet_cdc_changes_total{op="insert",table="public.b"}`], 0)
	require.InDelta(t, 1, got[`freshet_cdc_resets_total{reason="slot-new"}`], 0)
}

// bodies is how many bytes the messages of the stream have.
func (h *harness) bodies(t *testing.T) (n int) {
	t.Helper()
	r := h.reader(t)
	for end := h.end(t); r.last < end; {
		n += len(r.next().Data())
	}
	return n
}

// transactions is how many the stream has.
func (h *harness) transactions(t *testing.T) (n int) {
	t.Helper()
	r := h.reader(t)
	for end := h.end(t); r.last < end; {
		m := r.next()
		if kind, err := events.SubjectKind(m.Subject()); err == nil && kind == events.KindChange {
			c, err := events.DecodeChanges(m.Data())
			require.NoError(t, err)
			if c.Last {
				n++
			}
		}
	}
	return n
}

// A commit that does not become visible shows as a lag, in bytes and in time, and as a wait once it has.
func TestLagIsMeasured(t *testing.T) {
	h := newHarness(t, testenv.PrivatePostgres(t, nil))
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
	m := telemetry.NewCDC("test", time.Now)
	h.start(t, measured(m))
	h.publish(t, "t")
	h.reader(t).watermark(h.position(t))
	waits := testenv.Scrape(t, m.Handler())["freshet_cdc_barrier_waits_total"]
	_, committed := hang(t, h, "t")
	testenv.Eventually(t, patience, func() (bool, string) {
		got := testenv.Scrape(t, m.Handler())
		return got["freshet_cdc_lag_bytes"] > 0 && got["freshet_cdc_lag_seconds"] > 2, fmt.Sprint(got)
	})
	release(t, h)
	require.NoError(t, <-committed)
	testenv.Eventually(t, patience, func() (bool, string) {
		got := testenv.Scrape(t, m.Handler())
		return got["freshet_cdc_lag_bytes"] == 0 && got["freshet_cdc_lag_seconds"] < 1.5 && got["freshet_cdc_barrier_waits_total"] > waits &&
			got["freshet_cdc_barrier_wait_seconds_sum"] > 1, fmt.Sprint(got)
	})
}
