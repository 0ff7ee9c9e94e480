package query

import (
	"slices"

	"freshet/query/analysis"
)

// addDeclared adds what the depends lines name to a plan, and reports those through which no change would ever arrive.
func (q *Query) addDeclared(plan *Plan, c *analysis.Catalog, p *problems) {
	for _, d := range q.Depends {
		r := c.Find(d.Schema, d.Table)
		if r == nil {
			p.add(d.Line, "depends: there is no table %s", d.full())
			continue
		}
		if reason := undependable(c, r); reason != "" {
			p.add(d.Line, "depends: %s %s", d.full(), reason)
			continue
		}
		// The changes of a partition are in the log under the name of its root, which has columns of the same names.
		r = c.Root(r)
		q.checkPins(d, r, p)
		if need := q.declared(d, r); !plan.covers(need) {
			plan.Needs = append(plan.Needs, need)
		}
		if caution := r.Caution(); caution != "" && !slices.Contains(plan.Warnings, caution) {
			plan.Warnings = append(plan.Warnings, caution)
		}
	}
}

// undependable says why no dependency can be on a relation, though a statement may well read it; "" if one can.
func undependable(c *analysis.Catalog, r *analysis.Relation) string {
	if reason := c.Refusal(r); reason != "" {
		return reason
	}
	if r.Kind == 'v' {
		return "is a view, whose changes are not in the log under that name; name the tables that hold its rows"
	}
	return ""
}

// checkPins reports pins whose comparison as text would not be Postgres's comparison of the values.
func (q *Query) checkPins(d Dependency, r *analysis.Relation, p *problems) {
	for _, pin := range d.Columns {
		column := r.Column(pin.Column)
		if column == nil {
			names := slices.Sorted(slices.Values(r.Names()))
			p.add(d.Line, "depends: the table %s has no column %s%s", d.full(), pin.Column, suggest(pin.Column, names))
			continue
		}
		class := Type(column.Class)
		switch {
		case column.Generated:
			p.add(d.Line, "depends: %s(%s) pins a generated column, which is not in the log; use %s()", d.Table, pin.Column, d.Table)
		case class == "":
			p.add(d.Line, "depends: %s(%s) pins a column of type %s, whose equal values can be written differently; use %s()",
				d.Table, pin.Column, column.Type, d.Table)
		case pin.Param == "":
			if canonical, err := class.canonical(pin.Const); err != nil || canonical != pin.Const {
				p.add(d.Line, "depends: %s(%s) has the type %s, which has no value written %q", d.Table, pin.Column, class, pin.Const)
			}
		case !sameKind(class, q.param(pin.Param).Type):
			p.add(d.Line, "depends: %s(%s) has the type %s, but the parameter %s is %s", d.Table, pin.Column, class,
				pin.Param, q.param(pin.Param).Type)
		}
	}
}

// sameKind reports whether equal values of the two types have one canonical form.
func sameKind(column, param Type) bool {
	return column == param || column == TypeBigint && param == TypeInt
}

// declared makes a need of a depends line. Any column of the table may matter then.
func (q *Query) declared(d Dependency, r *analysis.Relation) Need {
	n := Need{Schema: r.Schema, Table: r.Name}
	for _, p := range d.Columns {
		value := pinValue{param: -1, text: p.Const}
		if p.Param != "" {
			value.param = slices.IndexFunc(q.Params, func(param Param) bool { return param.Name == p.Param })
		}
		n.Columns = append(n.Columns, p.Column)
		n.values = append(n.values, []pinValue{value})
	}
	return n
}

// full is the table as the file writes it.
func (d Dependency) full() string {
	if d.Schema == "" {
		return d.Table
	}
	return d.Schema + "." + d.Table
}
