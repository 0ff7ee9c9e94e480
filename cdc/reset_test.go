package cdc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/telemetry"
	"freshet/internal/testenv"
)

// TestResets lists what breaks the continuity of the log while cdc is stopped, and what does not.
func TestResets(t *testing.T) {
	setContinuity := func(set string) func(*testing.T, *harness) {
		return func(t *testing.T, h *harness) { h.db.Exec(t, "UPDATE freshet.continuity SET "+set) }
	}
	for _, tt := range []struct {
		name   string
		lose   func(*testing.T, *harness)
		reason string // "": no reset
		label  string // the reason, for a metric
	}{
		{"nothing", func(*testing.T, *harness) {}, "", ""},
		{"slot dropped", func(t *testing.T, h *harness) {
			h.db.Exec(t, "SELECT pg_drop_replication_slot($1)", h.cfg.Slot)
		}, "the replication slot is new", "slot-new"},
		{"slot made again by hand", func(t *testing.T, h *harness) {
			h.db.Exec(t, "SELECT pg_drop_replication_slot($1)", h.cfg.Slot)
			h.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", h.cfg.Slot)
		}, "but the slot was confirmed up to", "stream-behind"},
		{"slot advanced by hand", func(t *testing.T, h *harness) {
			h.db.Exec(t, "SELECT pg_replication_slot_advance($1, pg_current_wal_flush_lsn())", h.cfg.Slot)
		}, "but the slot was confirmed up to", "stream-behind"},
		{"stream deleted", func(t *testing.T, h *harness) {
			require.NoError(t, h.js.DeleteStream(t.Context(), events.StreamName(source)))
		}, "the stream is new", "stream-new"},
		{"stream purged", func(t *testing.T, h *harness) {
			stream, err := h.js.Stream(t.Context(), events.StreamName(source))
			require.NoError(t, err)
			require.NoError(t, stream.Purge(t.Context()))
		}, "the stream's last message is gone", "stream-purged"},
		{"last message deleted", func(t *testing.T, h *harness) {
			stream, err := h.js.Stream(t.Context(), events.StreamName(source))
			require.NoError(t, err)
			require.NoError(t, stream.DeleteMsg(t.Context(), h.end(t)))
		}, "the stream's last message is gone", "stream-purged"},
		{"continuity record deleted", func(t *testing.T, h *harness) {
			h.db.Exec(t, "DELETE FROM freshet.continuity")
		}, "the database has no continuity record", "no-record"},
		{"database from a backup", setContinuity("session = 'x', previous = 'y'"), "are of different times", "restored"},
		{"the session before, when it did not publish", setContinuity("previous = session, session = 'x'"), "", ""},
		{"another cluster", setContinuity("system_identifier = '1'"), "another Postgres cluster", "other-cluster"},
		{"another timeline", setContinuity("timeline = 7"), "promoted or restored", "promoted"},
		{"another source's record", setContinuity("source = 'other'"), "no continuity record", "no-record"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, testenv.Postgres(t))
			h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
			stop := h.start(t)
			h.publish(t, "t")
			h.db.Exec(t, "INSERT INTO t VALUES (1)")
			r := h.reader(t)
			require.Equal(t, "the replication slot is new", r.reset().Reason, "the first start")
			require.Equal(t, row("id", "1"), r.changes().Changes[0].New)
			stop()
			// The walsender takes a moment to notice that its client is gone.
			testenv.Eventually(t, patience, func() (bool, string) {
				return !testenv.Value[bool](t, h.db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", h.cfg.Slot), "the slot is still held"
			})
			h.db.Exec(t, "INSERT INTO t VALUES (2)")
			end := h.end(t)
			tt.lose(t, h)
			if _, err := h.js.Stream(t.Context(), events.StreamName(source)); errors.Is(err, jetstream.ErrStreamNotFound) {
				end = 0 // a new stream counts from the beginning, and may be longer than the old one was by the time it is read
			}

			m := telemetry.NewCDC("test", time.Now)
			h.start(t, measured(m))
			h.db.Exec(t, "INSERT INTO t VALUES (3)")
			var log logState
			var got []string
			from := h.readerAfter(t, end)
			from.verify(&log, h.position(t), func(c *events.Changes) {
				id, _ := c.Changes[0].New.Get("id")
				got = append(got, id.Value)
			})
			require.Contains(t, got, "3", "it goes on")
			for series, n := range testenv.Scrape(t, m.Handler()) {
				if strings.HasPrefix(series, "freshet_cdc_resets_total") {
					require.Equal(t, fmt.Sprintf("freshet_cdc_resets_total{reason=%q} 1", tt.label), fmt.Sprintf("%s %g", series, n))
				}
			}
			if tt.reason == "" {
				require.Empty(t, log.resets)
				require.Equal(t, []string{"2", "3"}, got, "nothing was lost")
				return
			}
			require.Contains(t, testenv.Scrape(t, m.Handler()), fmt.Sprintf("freshet_cdc_resets_total{reason=%q}", tt.label))
			require.Len(t, log.resets, 1)
			require.Contains(t, log.resets[0], tt.reason)
		})
	}
}
