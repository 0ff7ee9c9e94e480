package soundness

import (
	"fmt"
	"strings"
)

// form is what a level does with its rows.
type form int

const (
	plain form = iota
	limited
	distinct
	distinctOn
	window
	grouped
	aggregated
)

// output is one output column of a level.
type output struct {
	sql string
	column
}

// level makes a SELECT without WITH and set operations.
func (g *generator) level(outer *scope, want []*kind, depth int, ordered bool) (string, []column) {
	sc := &scope{outer: outer}
	var from []string
	for i := range 1 + g.d.weighted(75, 20, 5) {
		if i > 0 && g.fuel <= 0 {
			break
		}
		from = append(from, g.item(sc, depth))
	}
	where := g.conditions(sc, 3, depth)
	f := form(g.d.weighted(38, 14, 4, 12, 12, 14, 6))
	sql := " FROM " + strings.Join(from, ", ")
	if where != "" {
		sql += " WHERE " + where
	}
	switch f {
	case grouped:
		return g.group(sc, sql, want)
	case aggregated:
		outs := g.aggregates(sc, want, nil)
		return "SELECT " + list(outs) + sql, columns(outs)
	case plain:
		if want == nil && !ordered && g.d.chance(12) {
			if s := sc.sources[0]; len(sc.sources) == 1 && len(sc.merged) == 0 {
				return "SELECT *" + sql, s.cols
			} else if sc.nearestAlone(s) {
				return "SELECT " + s.alias + ".*" + sql, s.cols
			}
		}
	}
	exact := f != plain && f != window || want != nil || ordered
	outs := g.outputs(sc, want, exact, depth)
	if f == window && want == nil {
		return g.window(sc, outs, sql)
	}
	return g.finish(f, sc, outs, sql, ordered), columns(outs)
}

// finish writes a level of a form that does not group.
func (g *generator) finish(f form, sc *scope, outs []output, sql string, ordered bool) string {
	order := ordinals(0, len(outs))
	end := ""
	hidden, ok := g.find(sc, func(c column) bool { return c.kind.exact })
	if ok && hidden.depth == 0 && f != distinct && g.d.chance(50) {
		order = hidden.sql + pick(g.d, []string{"", " DESC", " NULLS FIRST"}) + ", " + order
	}
	switch f {
	case limited:
		end = " ORDER BY " + order + fmt.Sprintf(" LIMIT %d", 1+g.d.n(3))
		if g.d.chance(30) {
			end += " OFFSET 1"
		}
	case distinct:
		return "SELECT DISTINCT " + list(outs) + sql
	case distinctOn:
		if !strings.HasPrefix(order, "1") {
			order = "1, " + order
		}
		return "SELECT DISTINCT ON (1) " + list(outs) + sql + " ORDER BY " + order
	}
	if end == "" && ordered {
		end = " ORDER BY " + order
	}
	if ordered {
		end += endOfOrdered
	}
	return "SELECT " + list(outs) + sql + end
}

// window adds a window function. What it returns does not depend on the order of equal rows.
func (g *generator) window(sc *scope, outs []output, sql string) (string, []column) {
	part, ok := g.find(sc, func(c column) bool { return c.kind.exact })
	order, there := g.find(sc, func(c column) bool { return c.kind.exact })
	if !ok || !there {
		return "SELECT " + list(outs) + sql, columns(outs)
	}
	over := pick(g.d, []string{
		"(PARTITION BY " + part.sql + ")", "(ORDER BY " + order.sql + ")",
		"(PARTITION BY " + part.sql + " ORDER BY " + order.sql + ")",
	})
	call := pick(g.d, []string{"count(*)", "rank()", "dense_rank()", "count(" + order.sql + ")"})
	cols := append(columns(outs), column{name: "y", kind: bigint})
	if g.d.chance(50) {
		return fmt.Sprintf("SELECT %s, %s OVER w AS y%s WINDOW w AS %s", list(outs), call, sql, over), cols
	}
	return fmt.Sprintf("SELECT %s, %s OVER %s AS y%s", list(outs), call, over, sql), cols
}

// outputs makes the output columns: of the kinds that are wanted, or some.
func (g *generator) outputs(sc *scope, want []*kind, exact bool, depth int) []output {
	var outs []output
	if want != nil {
		for _, k := range want {
			outs = append(outs, g.output(sc, k, outs, depth))
		}
		return outs
	}
	for range 1 + g.d.weighted(25, 50, 25) {
		r, ok := g.find(sc, func(column) bool { return true })
		switch {
		case !ok:
			outs = append(outs, output{"1", column{name: g.name(outs, ""), kind: integer}})
		case g.d.chance(15):
			outs = append(outs, g.output(sc, g.someKind(), outs, depth))
		case exact && !r.kind.exact:
			outs = append(outs, output{r.sql + `::text COLLATE "C"`, column{name: g.name(outs, ""), kind: text}})
		default:
			outs = append(outs, output{r.sql, column{name: g.name(outs, r.name), kind: r.kind}})
		}
	}
	return outs
}

// name is a name for the next output: mostly the column's own. Now and then two have the same one.
func (g *generator) name(outs []output, own string) string {
	if own == "" || g.d.chance(25) {
		own = pick(g.d, names)
	}
	if g.d.chance(8) {
		return own
	}
	for _, next := range append([]string{own, "id"}, append(names, "y", "z", "u")...) {
		if countNames(columns(outs), next) == 0 {
			return next
		}
	}
	return "w"
}

// output is an expression of a kind.
func (g *generator) output(sc *scope, k *kind, outs []output, depth int) output {
	o := output{quote(k.values[0]) + "::" + k.sql, column{name: g.name(outs, ""), kind: k}}
	r, ok := g.find(sc, func(c column) bool { return c.kind.sql == k.sql })
	switch form := g.d.weighted(60, 10, 10, 12, 8); {
	case form == 3 && depth > 0 && g.fuel > 0:
		o.sql = "(" + g.scalar(sc, k, depth-1) + ")"
	case form == 4 && k == boolean:
		o.sql = "(" + g.condition(sc, depth) + ")"
	case !ok:
	case form == 1:
		o.sql = fmt.Sprintf("coalesce(%s, %s)", r.sql, g.value(k))
	case form == 2:
		o.sql = fmt.Sprintf("CASE WHEN %s THEN %s END", g.condition(sc, 0), r.sql)
	default:
		o.sql = r.sql
	}
	return o
}

// group makes a level with GROUP BY.
func (g *generator) group(sc *scope, sql string, want []*kind) (string, []column) {
	key, ok := g.find(sc, func(c column) bool {
		return c.kind.exact && (len(want) == 0 || c.kind.sql == want[0].sql)
	})
	if !ok || key.depth > 0 {
		outs := g.aggregates(sc, want, nil)
		return "SELECT " + list(outs) + sql, columns(outs)
	}
	first := output{key.sql, column{name: key.name, kind: key.kind}}
	var rest []*kind
	if want != nil {
		rest = want[1:]
	}
	outs := g.aggregates(sc, rest, []output{first})
	by := pick(g.d, []string{key.sql, key.sql, "1", "ROLLUP (" + key.sql + ")"})
	if second, ok := g.find(sc, func(c column) bool { return c.kind.exact }); ok && second.depth == 0 && second.sql != key.sql && g.d.chance(50) {
		by += ", " + second.sql // not shown, but it tells how many rows there are
	}
	sql = "SELECT " + list(outs) + sql + " GROUP BY " + by
	if r, ok := g.find(sc, hasEquality); ok && r.depth == 0 && g.d.chance(60) {
		sql += " HAVING " + pick(g.d, []string{
			"count(*) > 1", key.sql + " = " + g.value(key.kind), "count(" + r.sql + ") > 1", "count(DISTINCT " + r.sql + ") < 2",
		})
	}
	return sql, columns(outs)
}

// aggregates adds aggregates of the kinds that are wanted, or one.
func (g *generator) aggregates(sc *scope, want []*kind, outs []output) []output {
	if want == nil {
		want = []*kind{pick(g.d, []*kind{bigint, bigint, text, boolean})}
	}
	for _, k := range want {
		o := output{quote(k.values[0]) + "::" + k.sql, column{name: g.name(outs, ""), kind: k}}
		r, ok := g.find(sc, func(c column) bool { return c.kind.sql == k.sql })
		other, there := g.find(sc, hasEquality)
		switch {
		case k == bigint:
			o.sql = "count(*)"
			if there && g.d.chance(50) {
				o.sql = "count(" + pick(g.d, []string{"", "DISTINCT "}) + other.sql + ")"
			}
			if there && g.d.chance(20) {
				o.sql += " FILTER (WHERE " + g.condition(sc, 0) + ")"
			}
		case k == text && there:
			o.sql = fmt.Sprintf(`string_agg(%s::text COLLATE "C", ',' ORDER BY %[1]s::text COLLATE "C")`, other.sql)
		case k == boolean && ok:
			o.sql = "bool_or(" + r.sql + ")"
		case ok && k != uuid:
			o.sql = "max(" + r.sql + ")"
		}
		if other.depth > 0 || r.depth > 0 { // an aggregate of an outer column belongs to the outer level
			o.sql = quote(k.values[0]) + "::" + k.sql
		}
		outs = append(outs, o)
	}
	return outs
}

func list(outs []output) string {
	all := make([]string, len(outs))
	for i, o := range outs {
		all[i] = o.sql + " AS " + o.name
		if o.sql == o.name || strings.HasSuffix(o.sql, "."+o.name) && !strings.ContainsAny(o.sql, " (") {
			all[i] = o.sql
		}
	}
	return strings.Join(all, ", ")
}

func columns(outs []output) []column {
	all := make([]column, len(outs))
	for i, o := range outs {
		all[i] = o.column
	}
	return all
}
