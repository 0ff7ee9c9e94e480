package query

import (
	"fmt"
	"slices"
	"strings"

	"freshet/query/analysis"
)

// Plan is what the result of a read depends on.
type Plan struct {
	Needs []Need
	// Warnings are for people: why a need is coarse, and what would make it finer.
	Warnings []string
	// Timed is true if the result depends on the time of the day through a function like now(): then nothing clears it when it is out of
	// date in that respect, and only its ttl makes it new.
	Timed bool
}

// Need is a shape that a read depends on, and where its values come from.
type Need struct {
	Schema, Table string
	// Columns are pinned, sorted by name; none: any row of the table counts.
	Columns []string
	// Reads are the columns whose values can matter, sorted; nil: any.
	Reads []string

	values [][]pinValue // for each column, those that it is pinned to
}

// pinValue is a parameter, each element of a list parameter, or a constant.
type pinValue struct {
	param int // index into Query.Params; -1: the constant
	list  bool
	text  string
}

// MaxTags bounds the tags of one need: a request with more (a long IN list) is not cached.
const MaxTags = 64

// Plan derives what a read depends on from its statement. What the file declares with depends is added to that: it is for what
// cannot be seen, a function that reads tables. An error is one or more [*Error]s, joined.
func (q *Query) Plan(c *analysis.Catalog) (*Plan, error) {
	r, err := analysis.Analyze(c, q.SQL)
	if err != nil {
		return nil, &Error{File: q.File, Line: q.line, Msg: "cannot be cached: " + err.Error(), Err: err}
	}
	if len(r.Opaque) > 0 && len(q.Depends) == 0 {
		return nil, &Error{File: q.File, Line: q.line, Msg: fmt.Sprintf("what the function %s() reads cannot be seen: name the tables with "+
			"depends, or declare it IMMUTABLE if it reads none", strings.Join(r.Opaque, "(), "))}
	}
	plan := &Plan{Warnings: r.Warnings, Timed: r.Timed}
	for _, d := range r.Dependencies {
		plan.Needs = append(plan.Needs, q.derived(d))
	}
	p := &problems{file: q.File}
	q.addDeclared(plan, c, p)
	checked := map[*analysis.Relation]bool{}
	for _, n := range plan.Needs {
		r := c.Find(n.Schema, n.Table)
		if err := r.Identified(); err != nil && !checked[r] {
			p.add(q.line, "%v", err)
		}
		checked[r] = true
	}
	if len(plan.Needs) == 0 && len(p.errs) == 0 {
		p.add(q.line, "reads no table: there is nothing to cache")
	}
	if err := p.join(); err != nil {
		return nil, err
	}
	return plan, nil
}

// derived makes a need of what the analysis found.
func (q *Query) derived(d analysis.Dependency) Need {
	n := Need{Schema: d.Relation.Schema, Table: d.Relation.Name, Reads: d.Reads}
	for _, p := range d.Pins {
		values := make([]pinValue, len(p.Values))
		for i, v := range p.Values {
			values[i] = pinValue{param: -1, text: v.Const}
			if v.Param > 0 {
				values[i] = pinValue{param: q.numbered(v.Param), list: v.List}
			}
		}
		n.Columns = append(n.Columns, p.Column)
		n.values = append(n.values, values)
	}
	return n
}

// numbered is the index of the parameter that is $n in the statement.
func (q *Query) numbered(n int) int {
	return slices.IndexFunc(q.Params, func(p Param) bool { return p.n == n })
}

// covers tells whether whatever clears the need clears one of the plan's, whichever columns change.
func (p *Plan) covers(need Need) bool {
	return slices.ContainsFunc(p.Needs, func(n Need) bool {
		return n.Schema == need.Schema && n.Table == need.Table && n.Reads == nil && len(n.Columns) == 0
	})
}

// Values returns the values of the need's columns for a request, in the order of Columns: a list for each combination. ok is
// false if there are more than MaxTags.
func (n *Need) Values(args Args) (combinations [][]string, ok bool) {
	combinations = [][]string{nil}
	for _, from := range n.values {
		var values []string
		for _, v := range from {
			values = append(values, args.texts(v)...)
		}
		slices.Sort(values)
		values = slices.Compact(values)
		if len(values)*len(combinations) > MaxTags {
			return nil, false
		}
		next := make([][]string, 0, len(values)*len(combinations))
		for _, before := range combinations {
			for _, v := range values {
				next = append(next, append(slices.Clone(before), v))
			}
		}
		combinations = next
	}
	return combinations, true
}

// texts are the values that a pin value stands for, as Postgres prints them. A parameter that is NULL pins to nothing that a row
// can have: the equality is true of no row.
func (a Args) texts(v pinValue) []string {
	if v.param < 0 {
		return []string{v.text}
	}
	switch value := a.values[v.param].(type) {
	case string:
		return []string{value}
	case []string:
		return value
	}
	return nil
}
