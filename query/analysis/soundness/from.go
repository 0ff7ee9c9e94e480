package soundness

import (
	"fmt"
	"slices"
	"strings"
)

// relation is what a name in FROM can stand for: a table, a view or a WITH query.
type relation struct {
	name, schema string // schema is "" for a WITH query
	cols         []column
}

// newAlias makes an alias. Sometimes it is one that an outer level uses too, or the name of a table.
func (g *generator) newAlias(sc *scope) string {
	g.aliases++
	name := fmt.Sprintf("a%d", g.aliases)
	if g.d.chance(25) {
		name = pick(g.d, []string{"a1", "t0", "t1", "z"})
	}
	for slices.ContainsFunc(sc.sources, func(s *source) bool { return s.alias == name }) {
		g.aliases++
		name = fmt.Sprintf("a%d", g.aliases)
	}
	return name
}

// item adds one item of FROM to the scope and returns its SQL.
func (g *generator) item(sc *scope, depth int) string {
	if g.fuel <= 0 {
		return g.relationItem(sc)
	}
	switch g.d.weighted(40, 22, 28, 7, 3) {
	case 1:
		return g.join(sc, depth)
	case 2:
		if depth > 0 {
			return g.subquery(sc, depth-1, false)
		}
	case 3:
		if depth > 0 && len(sc.sources) > 0 {
			return g.subquery(sc, depth-1, true)
		}
	case 4:
		return g.function(sc)
	}
	return g.relationItem(sc)
}

// relationItem reads a table, a view or a WITH query.
func (g *generator) relationItem(sc *scope) string {
	g.fuel--
	r := g.relation()
	sql, s := r.name, &source{alias: r.name, cols: r.cols}
	if r.schema != "" && (r.schema != "app" || g.hidden(r.name) || g.d.chance(30)) {
		sql = r.schema + "." + r.name
	}
	taken := slices.ContainsFunc(sc.sources, func(o *source) bool { return o.alias == r.name && (o.schema == r.schema || o.schema == "") })
	if !taken && g.d.chance(40) {
		s.schema = r.schema
		sc.sources = append(sc.sources, s)
		return sql
	}
	s.alias = g.newAlias(sc)
	sql += " AS " + s.alias
	if g.d.chance(6) {
		var list string
		s.cols, list = renamed(g.d, r.cols)
		sql += list
	}
	sc.sources = append(sc.sources, s)
	return sql
}

// renamed gives all the columns other names: the same ones, in another order.
func renamed(d *draw, cols []column) ([]column, string) {
	cols = slices.Clone(cols)
	free := []string{"id", "k", "s", "v", "x", `"Mix"`, "y", "z", "u", "w"}
	list := make([]string, 0, len(cols))
	for i := range cols {
		if len(free) == 0 {
			break
		}
		at := d.n(len(free))
		cols[i].name = free[at]
		list = append(list, free[at])
		free = slices.Delete(free, at, at+1)
	}
	return cols, "(" + strings.Join(list, ", ") + ")"
}

// relation picks what to read: often a WITH query, if there is one.
func (g *generator) relation() relation {
	if n := len(g.ctes); n > 0 && g.d.chance(75) {
		i := g.d.n(n)
		if c := g.ctes[n-1-i]; !slices.ContainsFunc(g.ctes[n-i:], func(o relation) bool { return o.name == c.name }) {
			return c
		}
	}
	all := g.schema.tables
	if len(g.schema.views) > 0 && g.d.chance(15) {
		all = g.schema.views
	} else if len(g.schema.parts) > 0 && g.d.chance(15) {
		all = g.schema.parts
	}
	t := pick(g.d, all)
	return relation{name: t.name, schema: t.schema, cols: t.columns}
}

// hidden tells whether a WITH query has taken the name of a table.
func (g *generator) hidden(name string) bool {
	return slices.ContainsFunc(g.ctes, func(c relation) bool { return c.name == name })
}

// subquery is a query in FROM. Without LATERAL it does not see what stands beside it.
func (g *generator) subquery(sc *scope, depth int, lateral bool) string {
	outer, prefix := sc.outer, ""
	if lateral {
		outer, prefix = sc, "LATERAL "
	}
	sql, cols := g.query(outer, nil, depth, false)
	s := &source{alias: g.newAlias(sc), cols: cols}
	list := ""
	if g.d.chance(25) || hasTwins(cols) {
		s.cols, list = renamed(g.d, cols)
	}
	sc.sources = append(sc.sources, s)
	return fmt.Sprintf("%s(%s) AS %s%s", prefix, sql, s.alias, list)
}

func hasTwins(cols []column) bool {
	return slices.ContainsFunc(cols, func(c column) bool { return countNames(cols, c.name) > 1 })
}

// function is a function in FROM, sometimes of a column that stands before it.
func (g *generator) function(sc *scope) string {
	call, k := "generate_series(1, 2)", integer
	if r, ok := g.find(sc, func(c column) bool { return c.kind == tags }); ok && g.d.chance(60) {
		call, k = "unnest("+r.sql+")", text
	}
	s := &source{alias: g.newAlias(sc), cols: []column{{name: "k", kind: k}}}
	sc.sources = append(sc.sources, s)
	return fmt.Sprintf("%s AS %s(k)", call, s.alias)
}

// join joins two items. Its condition sees only them, and what is outside of the level.
func (g *generator) join(sc *scope, depth int) string {
	before := len(sc.sources)
	left := g.item(sc, depth)
	middle := len(sc.sources)
	right := g.item(sc, depth)
	on := &scope{sources: sc.sources[before:], merged: sc.merged, outer: sc.outer}
	a, b := sc.sources[before:middle], sc.sources[middle:]
	kind := pick(g.d, []string{"JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"})
	var sql string
	if kind == "CROSS JOIN" {
		sql = left + " CROSS JOIN " + right
	} else if name := g.shared(a, b); name != "" && g.d.chance(45) {
		sc.merged = append(sc.merged, name)
		sql = fmt.Sprintf("%s %s %s USING (%s)", left, kind, right, name)
	} else {
		sql = fmt.Sprintf("%s %s %s ON %s", left, kind, right, g.on(on, a, b, kind == "FULL JOIN", depth))
	}
	if g.d.chance(4) && !strings.Contains(sql, " USING ") { // a merged column would come first, and once
		return g.aliased(sc, before, sql)
	}
	return "(" + sql + ")"
}

// aliased gives a join a name, which hides those of its sides.
func (g *generator) aliased(sc *scope, before int, sql string) string {
	s := &source{}
	for _, side := range sc.sources[before:] {
		s.cols = append(s.cols, side.cols...)
	}
	sc.sources = sc.sources[:before:before]
	s.alias = g.newAlias(sc)
	sc.sources = append(sc.sources, s)
	return "(" + sql + ") AS " + s.alias
}

// shared finds a column that both sides have once, of kinds that can be compared.
func (g *generator) shared(a, b []*source) string {
	if len(a) != 1 || len(b) != 1 {
		return ""
	}
	var out []string
	for _, c := range a[0].cols {
		for _, o := range b[0].cols {
			if c.name == o.name && c.kind.family == o.kind.family && c.kind != tags && countNames(a[0].cols, c.name) == 1 &&
				countNames(b[0].cols, c.name) == 1 {
				out = append(out, c.name)
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return out[len(out)-1-g.d.n(len(out))] // rather not the key, which hardly ever changes
}

// on is the condition of a join: an equality of both sides, and more on either side.
func (g *generator) on(on *scope, a, b []*source, full bool, depth int) string {
	var all []string
	left, ok := g.side(on, a, hasEquality)
	if ok && (full || g.d.chance(80)) {
		if right, fits := g.side(on, b, ofFamily(left.kind)); fits {
			all = append(all, left.sql+" = "+right.sql)
		}
	}
	if !full { // Postgres joins a FULL JOIN by equalities of both sides only
		for range g.d.weighted(35, 50, 15) {
			all = append(all, g.condition(on, min(depth, 1)))
		}
	}
	if len(all) == 0 {
		return "true"
	}
	return strings.Join(all, " AND ")
}

// side picks a column of one side of a join.
func (g *generator) side(on *scope, side []*source, fits func(column) bool) (reference, bool) {
	var out []reference
	for _, s := range side {
		for _, c := range s.cols {
			if !fits(c) {
				continue
			}
			for _, sql := range on.spellings(on, s, c.name) {
				out = append(out, reference{sql: sql, column: c})
			}
		}
	}
	if len(out) == 0 {
		return reference{}, false
	}
	return pick(g.d, out), true
}
