// Package analysis derives from a SELECT which changes can alter its result: for each table that it reads, the columns that it
// pins by equality, and the columns that it reads at all.
//
// It rests on one theorem: a row that fails a conjunct at its own query level cannot affect that level's result. So a change
// whose old row and new row both differ from what the query pins can be ignored. Whatever the analysis does not understand makes
// its answer coarser, never wrong: a table that is read is always there, and at worst without a pin.
package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Dependency is a table that the result depends on. Several may name one table.
type Dependency struct {
	Relation *Relation
	// Pins are the columns that are pinned, sorted by name. None: any row of the table may count.
	Pins []Pin
	// Reads are the columns whose values can matter, sorted: an update that leaves all of them as they were alters nothing. It may be
	// empty, but is never nil. There are no generated columns among them, but those that they are made of.
	Reads []string
}

// Pin fixes a column to one of some values: a row with another one does not count. There is more than one for col IN (...).
type Pin struct {
	Column string
	Values []Value
}

// Value is a parameter or a constant.
type Value struct {
	// Param is n for $n; 0 for a constant.
	Param int
	// List is true if the parameter is an array: each of its elements is a value.
	List bool
	// Const is the constant, as Postgres prints it.
	Const string
}

// Result is what an analysis finds.
type Result struct {
	Dependencies []Dependency
	// Warnings are for people: what makes the result age, or the dependencies coarse, and what would help.
	Warnings []string
	// Timed is true if the result depends on the time of the day, through a function like now() or a constant like 'today'.
	Timed bool
	// Opaque are functions that may read tables which the analysis cannot see.
	Opaque []string
}

// Error says why a statement cannot be cached.
type Error struct{ Msg string }

func (e *Error) Error() string { return e.Msg }

// Analyze analyzes one SELECT. Its parameters must each be cast to their type ($1::text).
func Analyze(c *Catalog, sql string) (*Result, error) { return analyze(&analyzer{catalog: c}, sql) }

func analyze(a *analyzer, sql string) (*Result, error) {
	tree, err := pg.Parse(sql)
	if err != nil {
		return nil, &Error{fmt.Sprintf("Postgres's parser: %v", err)}
	}
	if len(tree.GetStmts()) != 1 || tree.GetStmts()[0].GetStmt().GetSelectStmt() == nil {
		return nil, &Error{"only a SELECT can be cached"}
	}
	top := a.selectLevel(tree.GetStmts()[0].GetStmt().GetSelectStmt(), nil)
	top.settle(nil)
	if len(a.refusals) > 0 {
		return nil, &Error{strings.Join(dedupe(a.refusals), "; ")}
	}
	return a.result(), nil
}

// analyzer is the state of one analysis.
type analyzer struct {
	catalog     *Catalog
	occurrences []*occurrence
	refusals    []string
	warnings    []string
	timed       bool
	opaque      []string
	views       []string // those that are being opened, to end a recursion that Postgres would refuse anyway
	dropped     rule     // none, but in tests
}

// occurrence is one place where a base table is read.
type occurrence struct {
	a        *analyzer
	relation *Relation
	reads    map[string]bool
	pins     map[string][]Value
}

// read marks a column as read. The log does not have a generated column: that it has changed shows in those that it is made of.
func (o *occurrence) read(column string) {
	if c := o.relation.Column(column); c == nil || !c.Generated {
		o.reads[column] = true
	} else if o.a.keeps(readGenerated) {
		o.readAll()
	}
}

func (o *occurrence) readAll() {
	for _, c := range o.relation.Columns {
		if !c.Generated {
			o.reads[c.Name] = true
		}
	}
}

func (a *analyzer) refuse(format string, args ...any) {
	a.refusals = append(a.refusals, fmt.Sprintf(format, args...))
}

func (a *analyzer) warn(format string, args ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, args...))
}

// result turns the occurrences into dependencies: those with the same pins are one, and one without pins covers every other of
// its table.
func (a *analyzer) result() *Result {
	var all []Dependency
	for _, o := range a.occurrences {
		d := Dependency{Relation: o.relation}
		for column, values := range o.pins {
			if why := o.relation.unpinnable(column); why != "" {
				a.warnings = append(a.warnings, why)
				continue
			}
			d.Pins = append(d.Pins, Pin{column, values})
		}
		if caution := o.relation.Caution(); caution != "" {
			a.warnings = append(a.warnings, caution)
		}
		slices.SortFunc(d.Pins, func(x, y Pin) int { return strings.Compare(x.Column, y.Column) })
		d.Reads = slices.AppendSeq([]string{}, maps.Keys(o.reads))
		slices.Sort(d.Reads)
		all = append(all, d)
	}
	all = merge(all)
	slices.SortStableFunc(all, func(x, y Dependency) int { return strings.Compare(x.Key(), y.Key()) })
	return &Result{Dependencies: all, Warnings: dedupe(a.warnings), Timed: a.timed, Opaque: dedupe(a.opaque)}
}

// unpinnable says why a column that is pinned is none that a change can be matched by, and what would help; "" if it is one.
func (r *Relation) unpinnable(column string) string {
	switch c := r.Column(column); {
	case c.Generated:
		return fmt.Sprintf("%s.%s is pinned, but it is generated and so not in the log: it cannot make the dependency finer", r, column)
	case c.Logged:
		return ""
	}
	remedy := "run ALTER TABLE " + r.sql() + " REPLICA IDENTITY FULL"
	if leaf := r.vague(); leaf != nil {
		remedy = everyPartition(leaf)
	}
	return fmt.Sprintf("%s.%s is pinned, but the old row of a change does not have it (only %s), so it cannot make the dependency finer: %s",
		r, column, cmp.Or(r.logged(), "nothing"), remedy)
}

func merge(all []Dependency) []Dependency {
	byKey := map[string]*Dependency{}
	whole := map[*Relation]*Dependency{}
	var order []string
	for i := range all {
		d := &all[i]
		if len(d.Pins) == 0 && whole[d.Relation] == nil {
			whole[d.Relation] = d
		}
	}
	for i := range all {
		d := &all[i]
		if w := whole[d.Relation]; w != nil && w != d {
			w.Reads = union(w.Reads, d.Reads)
			continue
		}
		key := d.Key()
		if there := byKey[key]; there != nil {
			there.Reads = union(there.Reads, d.Reads)
			continue
		}
		byKey[key] = d
		order = append(order, key)
	}
	out := make([]Dependency, len(order))
	for i, key := range order {
		out[i] = *byKey[key]
	}
	return out
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Key names the dependency with its values: public.blogs(id = $1, status = 'published').
func (d *Dependency) Key() string {
	pins := make([]string, len(d.Pins))
	for i, p := range d.Pins {
		values := make([]string, len(p.Values))
		for j, v := range p.Values {
			values[j] = v.String()
		}
		pins[i] = p.Column + " = " + strings.Join(values, " or ")
	}
	return d.Relation.String() + "(" + strings.Join(pins, ", ") + ")"
}

// String is $1, any of $1, or the constant in quotes.
func (v Value) String() string {
	switch {
	case v.List:
		return fmt.Sprintf("any of $%d", v.Param)
	case v.Param > 0:
		return fmt.Sprintf("$%d", v.Param)
	}
	return "'" + strings.ReplaceAll(v.Const, "'", "''") + "'"
}

func dedupe(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
