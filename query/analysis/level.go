package analysis

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// level is one query level: a SELECT with its FROM and WHERE, or a set operation, whose arms are levels of their own.
type level struct {
	a       *analyzer
	outer   *level
	ctes    map[string]*cte
	sources []*source
	where   []atom
	outputs []output
	// blurred is true if the outputs are not all known: a star over columns that are not known.
	blurred bool
	// inner are the levels whose rows this one does not restrict: subqueries in expressions, arms, CTEs that are read twice.
	inner []*level
	// pushable is true if a condition on an output column that is a plain column may be moved into the level's WHERE.
	pushable bool
	// merged is true if a join is by USING or NATURAL.
	merged bool
}

// source is one entry of FROM.
type source struct {
	alias string
	// schema is that of a table or a view without an alias: only such a one may be called schema.table.
	schema string
	// table is set for a base table, child for a subquery, a view, or a CTE that is read only here.
	table *occurrence
	child *level
	// columns are the names by which the source's columns are known; nil if they are not known (a function).
	columns []string
	// on are the conjuncts of joins that a row of this source has to fulfil.
	on []atom
}

// output is one column of a level's result.
type output struct {
	name string
	ref  ref // the column that it is, if it is a plain one
}

// ref is a column of a source. The zero ref is none.
type ref struct {
	source *source
	column string
}

// class is the class of the column, "" if it cannot be pinned.
func (r ref) class() string {
	switch {
	case r.source == nil:
		return ""
	case r.source.table != nil:
		if c := r.source.table.relation.Column(r.column); c != nil {
			return c.Class
		}
	case r.source.child != nil:
		return r.source.inside(r.column).class()
	}
	return ""
}

// typeName is the name of the column's type.
func (r ref) typeName() string {
	switch {
	case r.source == nil:
	case r.source.table != nil:
		if c := r.source.table.relation.Column(r.column); c != nil {
			return c.Type
		}
	case r.source.child != nil:
		return r.source.inside(r.column).typeName()
	}
	return ""
}

// inside is the column of the child that a column of the source is.
func (s *source) inside(column string) ref {
	i := slices.Index(s.columns, column)
	if i < 0 || i >= len(s.child.outputs) || !s.child.pushable || s.child.blurred || slices.Contains(s.columns[i+1:], column) {
		return ref{} // also if two have the name: it is known which is meant only where they get other names further out
	}
	return s.child.outputs[i].ref
}

// cte is one WITH query.
type cte struct {
	level   *level
	columns []string
	shared  bool // read in more than one place, or recursive: no reader can restrict it
}

// selectLevel builds a level. settle must be called on it once.
func (a *analyzer) selectLevel(s *pg.SelectStmt, outer *level) *level {
	l := &level{a: a, outer: outer, ctes: map[string]*cte{}}
	if s.GetIntoClause() != nil || len(s.GetLockingClause()) > 0 {
		a.refuse("SELECT ... INTO and FOR UPDATE or SHARE do more than read")
	}
	l.with(s)
	if s.GetOp() != pg.SetOperation_SETOP_NONE && s.GetOp() != pg.SetOperation_SET_OPERATION_UNDEFINED {
		l.arms(s)
		return l
	}
	for _, item := range s.GetFromClause() {
		l.from(item)
	}
	l.where = l.conjuncts(s.GetWhereClause(), l.sources)
	l.target(s)
	l.pushable = a.pushable(s)
	if outer != nil && !a.keeps(ownLevel) {
		outer.where = append(outer.where, l.conjuncts(s.GetWhereClause(), outer.sources)...)
	}
	w := walker{level: l, candidates: l.sources}
	w.clause(readSelected, s.GetTargetList()...)
	w.clause(readSelected, s.GetValuesLists()...)
	w.clause(readWhere, s.GetWhereClause())
	w.clause(readHaving, s.GetHavingClause())
	w.clause(readWindow, s.GetWindowClause()...)
	w.clause(readOrder, s.GetLimitCount(), s.GetLimitOffset())
	w.keys(readGroup, s.GetGroupClause())
	w.keys(readOrder, s.GetSortClause())
	w.keys(readOrder, s.GetDistinctClause())
	return l
}

// with makes the WITH queries known. Each sees those before it; if they are recursive, all of them.
func (l *level) with(s *pg.SelectStmt) {
	recursive := s.GetWithClause().GetRecursive()
	for _, n := range s.GetWithClause().GetCtes() {
		if e := n.GetCommonTableExpr(); recursive && e.GetCtequery().GetSelectStmt() != nil {
			// Each sees all of them, itself too. There its columns are known by name only.
			l.ctes[e.GetCtename()] = &cte{shared: true, columns: recursiveNames(e, e.GetCtequery().GetSelectStmt())}
		}
	}
	for _, n := range s.GetWithClause().GetCtes() {
		e := n.GetCommonTableExpr()
		query := e.GetCtequery().GetSelectStmt()
		if query == nil {
			l.a.refuse("WITH %s changes data", e.GetCtename())
			l.ctes[e.GetCtename()] = &cte{shared: true}
			continue
		}
		c := &cte{shared: recursive || mentions(s, e.GetCtename()) != 1 && l.a.keeps(sharedWith)}
		c.level = l.a.selectLevel(query, l)
		c.columns = c.level.names(e.GetAliascolnames())
		if e.GetSearchClause() != nil || e.GetCycleClause() != nil {
			c.columns = nil // they add columns
		}
		if c.shared {
			l.inner = append(l.inner, c.level)
		}
		l.ctes[e.GetCtename()] = c
	}
}

// recursiveNames are the columns of a recursive WITH query: its aliases, or the names of its first arm.
func recursiveNames(e *pg.CommonTableExpr, query *pg.SelectStmt) []string {
	for query.GetLarg() != nil {
		query = query.GetLarg()
	}
	var names []string
	for i, n := range query.GetTargetList() {
		t := n.GetResTarget()
		name := t.GetName()
		if fields := t.GetVal().GetColumnRef().GetFields(); name == "" && len(fields) > 0 {
			if fields[len(fields)-1].GetAStar() != nil {
				return nil
			}
			name = fields[len(fields)-1].GetString_().GetSval()
		}
		if i < len(e.GetAliascolnames()) {
			name = e.GetAliascolnames()[i].GetString_().GetSval()
		}
		names = append(names, name)
	}
	return names
}

// arms builds the two sides of UNION, INTERSECT or EXCEPT.
func (l *level) arms(s *pg.SelectStmt) {
	left, right := l.a.selectLevel(s.GetLarg(), l), l.a.selectLevel(s.GetRarg(), l)
	l.inner = append(l.inner, left, right)
	l.blurred = left.blurred
	for _, o := range left.outputs {
		l.outputs = append(l.outputs, output{name: o.name})
	}
	w := walker{level: l}
	w.keys(readOrder, s.GetSortClause())
	w.clause(readOrder, s.GetLimitCount(), s.GetLimitOffset())
}

// findCTE looks a name up here and outwards.
func (l *level) findCTE(name string) *cte {
	for ; l != nil; l = l.outer {
		if c := l.ctes[name]; c != nil {
			return c
		}
	}
	return nil
}

// names are the names of the outputs, the first of them replaced by aliases; nil if they are not all known.
func (l *level) names(aliases []*pg.Node) []string {
	if l.blurred {
		return nil
	}
	names := make([]string, len(l.outputs))
	for i, o := range l.outputs {
		names[i] = o.name
		if i < len(aliases) {
			names[i] = aliases[i].GetString_().GetSval()
		}
	}
	return names
}

// target lists the output columns, with stars opened up. An output whose name is not known has the name "".
func (l *level) target(s *pg.SelectStmt) {
	for _, n := range s.GetTargetList() {
		t := n.GetResTarget()
		fields := t.GetVal().GetColumnRef().GetFields()
		switch {
		case len(fields) > 0 && fields[len(fields)-1].GetAStar() != nil:
			l.star(fields)
		case len(fields) > 0:
			o := output{name: t.GetName(), ref: l.plain(t.GetVal(), l.sources)}
			if o.name == "" {
				o.name = fields[len(fields)-1].GetString_().GetSval()
			}
			l.outputs = append(l.outputs, o)
		default:
			l.outputs = append(l.outputs, output{name: t.GetName()})
		}
	}
	if len(s.GetValuesLists()) > 0 {
		for range s.GetValuesLists()[0].GetList().GetItems() {
			l.outputs = append(l.outputs, output{})
		}
	}
}

func (l *level) star(fields []*pg.Node) {
	names := fieldNames(fields)
	matched := 0
	for _, src := range l.sources {
		if len(names) > 0 && !src.is(names) {
			continue
		}
		matched++
		if src.columns == nil {
			l.blurred = true
		}
		for _, c := range src.columns {
			l.outputs = append(l.outputs, output{name: c, ref: ref{src, c}})
		}
	}
	switch {
	case matched == 0: // the row of an outer level
		l.blurred = true
	case l.merged && len(names) == 0: // USING puts its columns first, once
		l.blurred = true
	}
}

// pushable tells whether a condition on a plain output column means the same within the level's WHERE: not if the level counts rows
// or looks at several of them. Below GROUP BY it does, as such a column is one of the keys, or belongs to one (and is NULL in the
// grouping sets without it); below DISTINCT as well, as rows that it takes for the same agree in all the columns.
func (a *analyzer) pushable(s *pg.SelectStmt) bool {
	switch {
	case s.GetLimitCount() != nil || s.GetLimitOffset() != nil:
		return !a.keeps(underLimit)
	case slices.ContainsFunc(s.GetDistinctClause(), func(n *pg.Node) bool { return n.GetNode() != nil }): // DISTINCT ON
		return !a.keeps(underDistinctOn)
	case len(s.GetValuesLists()) > 0:
		return false
	}
	windows := len(s.GetWindowClause()) > 0
	visit(s, func(m any) bool {
		if f, ok := m.(*pg.FuncCall); ok && f.GetOver() != nil {
			windows = true
		}
		return !windows
	})
	return !windows || !a.keeps(underWindow)
}

// settle finds what each source is pinned to, given conditions that a reader of this level adds to its WHERE.
func (l *level) settle(added []atom) {
	for _, s := range l.sources {
		atoms := slices.Concat(s.on, l.where, added)
		for _, other := range l.sources {
			if !l.a.keeps(ownJoin) {
				atoms = append(atoms, other.on...)
			}
		}
		switch {
		case s.table != nil:
			for column, p := range pinned(s, atoms) {
				s.table.pins[column] = p.values
			}
		case s.child != nil:
			var inside []atom
			for column, p := range pinned(s, atoms) {
				if r := s.inside(column); r.source != nil {
					inside = append(inside, atom{left: r, values: p.values, class: p.class})
				}
			}
			s.child.settle(inside)
		}
	}
	for _, inner := range l.inner {
		inner.settle(nil)
	}
}
