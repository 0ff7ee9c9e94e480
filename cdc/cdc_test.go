package cdc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

func TestChangesReachTheStream(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, name text)`)
	h.start(t)
	h.publish(t, "t")
	r := h.reader(t)
	h.db.Exec(t, `INSERT INTO t VALUES (1, 'a'), (2, NULL)`)
	h.db.Exec(t, `UPDATE t SET name = 'b' WHERE id = 1`)
	h.db.Exec(t, `DELETE FROM t WHERE id = 2`)
	h.db.Exec(t, `TRUNCATE t`)

	c := r.changes()
	require.Equal(t, "public", c.Schema)
	require.Equal(t, "t", c.Table)
	require.True(t, c.Last)
	require.Equal(t, []events.Change{
		{Op: events.Insert, Key: row("id", "1"), New: row("id", "1", "name", "a")},
		{Op: events.Insert, Key: row("id", "2"), New: append(row("id", "2"), null("name"))},
	}, c.Changes)
	require.Equal(t, []events.Change{
		{Op: events.Update, Key: row("id", "1"), Old: row("id", "1"), New: row("id", "1", "name", "b")},
	}, r.changes().Changes)
	require.Equal(t, []events.Change{{Op: events.Delete, Key: row("id", "2"), Old: row("id", "2")}}, r.changes().Changes)
	require.Equal(t, []events.Change{{Op: events.Truncate}}, r.changes().Changes)
	w := r.watermark(h.position(t))
	require.False(t, w.At.IsZero())
}
