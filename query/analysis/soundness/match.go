package soundness

import (
	"slices"

	"freshet/query/analysis"
)

// change is a row that was inserted, updated or deleted, or a table that was truncated.
type change struct {
	relation string // schema.name
	op       string // INSERT, UPDATE, DELETE or TRUNCATE
	old, new row
}

// row is what the log has of a row: the text of each column by its name; nil for NULL. A column that it does not have is not there.
type row map[string]*string

// clears tells whether a change clears a result with these dependencies, by the rule of the invalidator: it belongs to the tags
// of its old row and of its new one. An update that leaves all the columns that are read or pinned as they were clears nothing.
func clears(deps []analysis.Dependency, params []any, c change) bool {
	return slices.ContainsFunc(deps, func(d analysis.Dependency) bool {
		switch {
		case d.Relation.String() != c.relation:
			return false
		case c.op == "TRUNCATE":
			return true
		case c.op == "UPDATE" && !changed(append(pinned(d), d.Reads...), c):
			return false
		}
		return c.old != nil && matches(d.Pins, params, c.old) || c.new != nil && matches(d.Pins, params, c.new)
	})
}

func pinned(d analysis.Dependency) []string {
	var out []string
	for _, p := range d.Pins {
		out = append(out, p.Column)
	}
	return out
}

// changed tells whether any of the columns differs between the old row and the new one, or may differ: what is not known on either side
// may have changed.
func changed(columns []string, c change) bool {
	return slices.ContainsFunc(columns, func(name string) bool {
		before, known := c.old[name]
		after, there := c.new[name]
		return !known || !there || (before == nil) != (after == nil) || before != nil && *before != *after
	})
}

// matches tells whether a row has one of the values of every pin. NULL equals nothing; of a column that the log does not have,
// any value is possible.
func matches(pins []analysis.Pin, params []any, r row) bool {
	for _, p := range pins {
		text, known := r[p.Column]
		if !known {
			continue
		}
		if text == nil || !slices.ContainsFunc(p.Values, func(v analysis.Value) bool { return slices.Contains(texts(v, params), *text) }) {
			return false
		}
	}
	return true
}

// texts are the values that a pin's value stands for.
func texts(v analysis.Value, params []any) []string {
	if v.Param == 0 {
		return []string{v.Const}
	}
	switch p := params[v.Param-1].(type) {
	case string:
		return []string{p}
	case []string:
		return p
	}
	return nil
}
