package telemetry

import "sync"

// maxTables bounds the values of a label that names tables. A database with a table for each day or customer must not fill the memory of
// Prometheus: the tables that come later share one value.
const maxTables = 200

// otherTable is what the tables beyond maxTables are called.
const otherTable = "other"

// tables are the tables that have a label's value of their own: the first that were seen.
type tables struct {
	mu    sync.RWMutex
	known map[string]struct{}
}

// label is the value for a table.
func (t *tables) label(table string) string {
	t.mu.RLock()
	_, known := t.known[table]
	t.mu.RUnlock()
	if known {
		return table
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.known[table]; known {
		return table
	}
	if len(t.known) >= maxTables {
		return otherTable
	}
	if t.known == nil {
		t.known = map[string]struct{}{}
	}
	t.known[table] = struct{}{}
	return table
}
