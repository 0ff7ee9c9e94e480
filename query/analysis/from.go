package analysis

import (
	"cmp"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// from adds an item of FROM to the level and returns the sources in it.
func (l *level) from(n *pg.Node) []*source {
	switch {
	case n.GetRangeVar() != nil:
		return l.add(l.relation(n.GetRangeVar()))
	case n.GetRangeSubselect() != nil:
		return l.add(l.subselect(n.GetRangeSubselect()))
	case n.GetJoinExpr() != nil:
		return l.join(n.GetJoinExpr())
	case n.GetRangeFunction() != nil:
		f := n.GetRangeFunction()
		w := walker{level: l, candidates: l.sources}
		w.nodes(f.GetFunctions())
		return l.add(&source{alias: f.GetAlias().GetAliasname()})
	case n.GetRangeTableSample() != nil:
		l.a.refuse("TABLESAMPLE reads other rows each time")
		return l.from(n.GetRangeTableSample().GetRelation())
	default: // XMLTABLE, JSON_TABLE: functions of what stands before them
		w := walker{level: l, candidates: l.sources}
		w.node(n)
		return l.add(&source{})
	}
}

func (l *level) add(s *source) []*source {
	l.sources = append(l.sources, s)
	return []*source{s}
}

// relation is a table, a view, or a WITH query.
func (l *level) relation(v *pg.RangeVar) *source {
	s := &source{alias: cmp.Or(v.GetAlias().GetAliasname(), v.GetRelname())}
	if v.GetSchemaname() == "" {
		if c := l.findCTE(v.GetRelname()); c != nil {
			s.columns = rename(c.columns, v.GetAlias())
			if !c.shared {
				s.child = c.level
			}
			return s
		}
	}
	r := l.a.catalog.Find(v.GetSchemaname(), v.GetRelname())
	if r == nil {
		l.a.refuse("there is no table %s", v.GetRelname())
		return s
	}
	if reason := l.a.catalog.Refusal(r); reason != "" {
		l.a.refuse("%s %s", r, reason)
		return s
	}
	if v.GetAlias() == nil {
		s.schema = r.Schema
	}
	if r.Kind == 'v' {
		s.child = l.view(r)
		s.columns = rename(r.Names(), v.GetAlias())
		return s
	}
	if len(v.GetAlias().GetColnames()) > 0 {
		// Other names for columns: as a subquery that gives them.
		inner := &source{alias: r.Name, table: l.a.occur(r), columns: r.Names()}
		s.child = &level{a: l.a, ctes: map[string]*cte{}, sources: []*source{inner}, pushable: true}
		for _, c := range r.Names() {
			inner.table.read(c)
			s.child.outputs = append(s.child.outputs, output{c, ref{inner, c}})
		}
		s.columns = rename(r.Names(), v.GetAlias())
		return s
	}
	s.table, s.columns = l.a.occur(r), r.Names()
	return s
}

// occur notes that a table is read. Of a partition the changes are those of the root of its tree: it is as if that were read.
func (a *analyzer) occur(r *Relation) *occurrence {
	if a.keeps(partitionRoot) {
		r = a.catalog.Root(r)
	}
	o := &occurrence{a: a, relation: r, reads: map[string]bool{}, pins: map[string][]Value{}}
	a.occurrences = append(a.occurrences, o)
	return o
}

// rename gives the first columns other names: FROM t AS x(a, b).
func rename(columns []string, alias *pg.Alias) []string {
	columns = slices.Clone(columns)
	for i, n := range alias.GetColnames() {
		if i < len(columns) {
			columns[i] = n.GetString_().GetSval()
		}
	}
	return columns
}

// view opens a view up, as a subquery.
func (l *level) view(r *Relation) *level {
	if slices.Contains(l.a.views, r.String()) {
		l.a.refuse("the view %s reads itself", r)
		return &level{a: l.a}
	}
	tree, err := pg.Parse(r.Definition)
	if err != nil || len(tree.GetStmts()) != 1 || tree.GetStmts()[0].GetStmt().GetSelectStmt() == nil {
		l.a.refuse("the definition of the view %s cannot be read", r)
		return &level{a: l.a}
	}
	l.a.views = append(l.a.views, r.String())
	defer func() { l.a.views = l.a.views[:len(l.a.views)-1] }()
	return l.a.selectLevel(tree.GetStmts()[0].GetStmt().GetSelectStmt(), nil)
}

// subselect is a subquery in FROM. With LATERAL it sees what stands before it in the level; without, only what is around the level.
func (l *level) subselect(v *pg.RangeSubselect) *source {
	visible := l.sources
	if !v.GetLateral() {
		visible = nil
	}
	var child *level
	l.seeing(visible, func() { child = l.a.selectLevel(v.GetSubquery().GetSelectStmt(), l) })
	return &source{alias: v.GetAlias().GetAliasname(), child: child, columns: child.names(v.GetAlias().GetColnames())}
}

// seeing has names looked up while only these of the level's sources can be seen.
func (l *level) seeing(visible []*source, do func()) {
	all := l.sources
	l.sources = visible
	do()
	l.sources = all
}

// join adds both sides, and says which of them the condition restricts: a row that fails it cannot matter on either side of an
// inner join, nor on the nullable side of an outer one; on the preserved side it stays in the result.
func (l *level) join(j *pg.JoinExpr) []*source {
	left, right := l.from(j.GetLarg()), l.from(j.GetRarg())
	both := slices.Concat(left, right)
	atoms := l.conjuncts(j.GetQuals(), both)
	w := walker{level: l, candidates: both}
	l.seeing(both, func() { w.clause(readOn, j.GetQuals()) })
	if j.GetIsNatural() || len(j.GetUsingClause()) > 0 {
		atoms = append(atoms, l.using(j, left, right)...)
	}
	if j.GetAlias() != nil {
		// The join's own name hides those of its sides; whoever uses it reads everything.
		l.a.warnOnce("a join with an alias is not looked into")
		for _, s := range both {
			s.readAll()
		}
		l.sources = slices.DeleteFunc(l.sources, func(s *source) bool { return slices.Contains(both, s) })
		hidden := &level{a: l.a, outer: l.outer, ctes: map[string]*cte{}, sources: both}
		l.inner = append(l.inner, hidden)
		return l.add(&source{alias: j.GetAlias().GetAliasname()})
	}
	var restricted []*source
	switch j.GetJointype() {
	case pg.JoinType_JOIN_INNER:
		restricted = both
	case pg.JoinType_JOIN_LEFT:
		restricted = right
	case pg.JoinType_JOIN_RIGHT:
		restricted = left
	}
	if !l.a.keeps(preservedSide) {
		restricted = both
	}
	for _, s := range restricted {
		s.on = append(s.on, atoms...)
	}
	return both
}

// using reads the columns of USING or NATURAL on both sides. USING (x) is ON left.x = right.x; where one of the two is itself merged,
// and of NATURAL, nothing is made.
func (l *level) using(j *pg.JoinExpr, left, right []*source) []atom {
	l.merged = true
	var atoms []atom
	for _, n := range j.GetUsingClause() {
		name := n.GetString_().GetSval()
		if a, b := only(left, name), only(right, name); a.source != nil && b.source != nil {
			atoms = append(atoms, atom{left: a, right: b})
		}
	}
	if !l.a.keeps(readUsing) {
		return atoms
	}
	for _, s := range slices.Concat(left, right) {
		if j.GetIsNatural() {
			s.readAll()
			continue
		}
		for _, n := range j.GetUsingClause() {
			s.read(n.GetString_().GetSval())
		}
	}
	return atoms
}

// only is the column of that name, if just one of the sources has it, and of all of them the columns are known.
func only(sources []*source, name string) (r ref) {
	for _, s := range sources {
		if s.columns == nil || r.source != nil && slices.Contains(s.columns, name) {
			return ref{}
		}
		if slices.Contains(s.columns, name) {
			r = ref{s, name}
		}
	}
	return r
}

// read marks a column of the source as read, if it has one of that name.
func (s *source) read(column string) {
	if s.table != nil && s.table.relation.Column(column) != nil {
		s.table.read(column)
	}
}

// readAll marks every column of the source as read. What a subquery mentions is read already.
func (s *source) readAll() {
	if s.table != nil {
		s.table.readAll()
	}
}

func (a *analyzer) warnOnce(text string) { a.warnings = append(a.warnings, text) }
