package soundness

import "fmt"

// narrowed reads one table in a subquery that picks, counts or numbers its rows, and outside of it keeps the rows with one value:
// the shape in which it matters most whether a condition may be moved inwards. It is common in what people write, too.
func (g *generator) narrowed(outer *scope) (string, []column) {
	inner := &scope{outer: outer}
	from := " FROM " + g.relationItem(inner)
	if g.d.chance(30) {
		from += " WHERE " + g.condition(inner, 0)
	}
	sub, cols := g.shaped(inner, from)
	s := &source{alias: g.newAlias(&scope{}), cols: cols}
	list := ""
	if hasTwins(cols) {
		s.cols, list = renamed(g.d, cols)
	}
	sc := &scope{sources: []*source{s}, outer: outer}
	if g.d.chance(20) { // the same rows once more, beside it
		name := fmt.Sprintf("c%d", len(g.ctes))
		twin := &source{alias: s.alias + "b", cols: s.cols}
		sc.sources = append(sc.sources, twin)
		return fmt.Sprintf("WITH %[1]s%[2]s AS (%[3]s) SELECT %[4]s.* FROM %[1]s AS %[5]s, %[1]s AS %[4]s WHERE %[6]s",
			name, list, sub, twin.alias, s.alias, g.equal(&scope{sources: sc.sources[:1]})), twin.cols
	}
	return fmt.Sprintf("SELECT %[1]s.* FROM (%[2]s) AS %[1]s%[3]s WHERE %[4]s", s.alias, sub, list, g.equal(sc)), s.cols
}

// shaped is a level over one table that does something with its rows as a whole.
func (g *generator) shaped(sc *scope, from string) (string, []column) {
	f := pick(g.d, []form{limited, distinctOn, window, distinctOn, grouped, plain})
	if f == grouped {
		return g.group(sc, from, nil)
	}
	var outs []output
	for range 2 + g.d.n(2) {
		if r, ok := g.find(sc, func(c column) bool { return c.kind.exact }); ok {
			outs = append(outs, output{r.sql, column{name: g.name(outs, r.name), kind: r.kind}})
		}
	}
	if len(outs) == 0 {
		return "SELECT 1 AS k" + from, []column{{name: "k", kind: integer}}
	}
	if f == window {
		return g.window(sc, outs, from)
	}
	return g.finish(f, sc, outs, from, false), columns(outs)
}
