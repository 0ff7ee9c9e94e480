package invalidator

import (
	"time"

	"freshet/events"
	"freshet/internal/telemetry"
)

// The reasons for which everything is cleared, as labels of a metric.
const (
	clearNoWatermark = "no-watermark"
	clearGap         = "gap"
	clearReset       = "reset"
	clearAsked       = "asked"
	clearDefinition  = "definition"
)

// tally is what a step does, for the metrics. It is kept until the step is done: what another invalidator was faster with, or
// what fails, is counted where it succeeds.
type tally struct {
	changes []tallied
	// commits are the times of the transactions that clear something; a transaction of many messages has one in each step.
	commits []time.Time
	last    events.Position // of the transaction of the last of commits
	// everything are the labels of what clears all that there is.
	everything []string
	// at is the time of the last message, by the clock of Postgres, and pending how many came after it.
	at      time.Time
	pending uint64
}

// tallied is a number of changes of one kind.
type tallied struct {
	table [2]string
	op    events.Op
	n     int
}

// count adds the changes of a message.
func (t *tally) count(c *events.Changes, clears bool) {
	t.at = c.Committed
	table := [2]string{c.Schema, c.Table}
	for i := range c.Changes {
		op := c.Changes[i].Op
		if n := len(t.changes); n > 0 && t.changes[n-1].op == op && t.changes[n-1].table == table {
			t.changes[n-1].n++
		} else {
			t.changes = append(t.changes, tallied{table, op, 1})
		}
		if table == [2]string{events.Everything.Schema, events.Everything.Name} {
			switch op {
			case events.Clear:
				t.everything = append(t.everything, clearAsked)
			case events.Define:
				t.everything = append(t.everything, clearDefinition)
			}
		}
	}
	if clears && (len(t.commits) == 0 || t.last != c.Position) {
		t.commits, t.last = append(t.commits, c.Committed), c.Position
	}
}

// measure counts a step that was applied.
func (a *applier) measure(s *step, cleared map[[2]string]int, took time.Duration) {
	m := a.cfg.Metrics
	m.Applied(took)
	s.tally.report(m)
	for table, n := range s.clear.matched {
		m.Matched(label(table), n)
	}
	for table, n := range cleared {
		m.Cleared(label(table), n)
	}
}

func (t *tally) report(m *telemetry.Invalidator) {
	for _, c := range t.changes {
		m.Changes(label(c.table), string(c.op), c.n)
	}
	for _, committed := range t.commits {
		m.CommitCleared(committed)
	}
	for _, reason := range t.everything {
		m.ClearedAll(reason)
	}
	m.Lag(t.pending, t.at)
}

func label(table [2]string) string { return table[0] + "." + table[1] }
