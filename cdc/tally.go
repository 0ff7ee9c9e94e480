package cdc

import (
	"freshet/events"
	"freshet/internal/telemetry"
)

// tally counts changes for the metrics: consecutive ones of the same kind, of which there can be millions, as one.
type tally struct {
	metrics *telemetry.CDC
	table   events.Table
	op      events.Op
	n       int
}

func (t *tally) add(table events.Table, op events.Op) {
	if t.n > 0 && (op != t.op || table.Name != t.table.Name || table.Schema != t.table.Schema) {
		t.flush()
	}
	t.table, t.op = table, op
	t.n++
}

// flush hands over what was counted.
func (t *tally) flush() {
	if t.n > 0 {
		t.metrics.Changes(t.table.Schema+"."+t.table.Name, string(t.op), t.n)
		t.n = 0
	}
}
