package soundness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// value writes a value of a kind: as a parameter, or as a constant in one of many ways.
func (g *generator) value(k *kind) string {
	v := k.value(g.d)
	form := g.d.weighted(40, 40, 10, 10)
	switch {
	case form == 0 && !g.constants:
		return g.param(v, k.cast)
	case form == 2:
		return quote(v) + "::" + k.cast
	case form == 3 && len(k.odd) > 0:
		return quote(pick(g.d, k.odd))
	case k.family == "number" && g.d.chance(70):
		return v
	case k == boolean && g.d.chance(50):
		return strconv.FormatBool(v == "t")
	}
	return quote(v)
}

// param adds a parameter and writes it with its cast.
func (g *generator) param(value any, cast string) string {
	g.params = append(g.params, value)
	return fmt.Sprintf("$%d::%s", len(g.params), cast)
}

func hasEquality(c column) bool { return c.kind != tags }

func ofFamily(k *kind) func(column) bool {
	return func(c column) bool { return c.kind.family == k.family }
}

// conditions joins up to max conditions with AND, in one of the ways in which that can be written.
func (g *generator) conditions(sc *scope, most, depth int) string {
	var all []string
	for range min(most, g.d.weighted(20, 50, 20, 10)) {
		all = append(all, g.condition(sc, depth))
	}
	return strings.Join(all, " AND ")
}

// condition is one condition. Most are equalities, as those are what an analysis uses.
func (g *generator) condition(sc *scope, depth int) string {
	switch g.d.weighted(40, 14, 10, 8, 6, 6, 4, 12) {
	case 1:
		return g.columnsEqual(sc)
	case 2:
		return g.oneOf(sc)
	case 3:
		return g.either(sc, depth)
	case 4:
		return g.bounds(sc)
	case 5:
		return g.booleanColumn(sc)
	case 6:
		return g.expression(sc)
	case 7:
		if depth > 0 && g.fuel > 0 {
			return g.subqueryCondition(sc, depth-1)
		}
	}
	return g.equal(sc)
}

func (g *generator) equal(sc *scope) string {
	r, ok := g.find(sc, hasEquality)
	if !ok {
		return "true"
	}
	k := r.kind
	if g.d.chance(20) { // compared with another type
		k = pick(g.d, slices.DeleteFunc(slices.Concat(fuzzyKinds, plainKinds), func(o *kind) bool { return o.family != k.family }))
	}
	v := g.value(k)
	if g.d.chance(15) {
		return v + " = " + r.sql
	}
	return r.sql + " = " + v
}

// columnsEqual compares two columns of one family: an equality carries from one to the other what one of them is pinned to.
func (g *generator) columnsEqual(sc *scope) string {
	a, ok := g.find(sc, hasEquality)
	if !ok {
		return "true"
	}
	b, ok := g.find(sc, func(c column) bool { return c.kind.family == a.kind.family && c != a.column })
	if !ok {
		return g.equal(sc)
	}
	return a.sql + " = " + b.sql
}

func (g *generator) oneOf(sc *scope) string {
	r, ok := g.find(sc, hasEquality)
	if !ok {
		return "true"
	}
	values := []string{g.value(r.kind), g.value(r.kind)}
	switch form := g.d.weighted(50, 20, 10, 10, 10); {
	case form == 1 && !g.constants && r.kind.family == "text":
		return r.sql + " = ANY (" + g.param([]string{r.kind.value(g.d), r.kind.value(g.d)}, "text[]") + ")"
	case form == 2:
		return fmt.Sprintf("%s = ANY (ARRAY[%s])", r.sql, strings.Join(values, ", "))
	case form == 3:
		return fmt.Sprintf("%s NOT IN (%s)", r.sql, strings.Join(values, ", "))
	case form == 4:
		return fmt.Sprintf("(%s, %s) = (%s, %[2]s)", r.sql, values[0], values[1])
	}
	return fmt.Sprintf("%s IN (%s)", r.sql, strings.Join(values, ", "))
}

// either combines conditions in ways that pin nothing, and some that look as if they did.
func (g *generator) either(sc *scope, depth int) string {
	a, b := g.condition(sc, max(depth-1, 0)), g.condition(sc, max(depth-1, 0))
	switch g.d.n(5) {
	case 1:
		return "NOT (" + a + ")"
	case 2:
		return "(" + a + " AND " + b + ")"
	case 3:
		return "(" + a + ") IS NOT TRUE"
	case 4:
		return "CASE WHEN " + a + " THEN " + b + " ELSE true END"
	}
	return "(" + a + " OR " + b + ")"
}

func (g *generator) bounds(sc *scope) string {
	r, ok := g.find(sc, hasEquality)
	if !ok {
		return "true"
	}
	switch g.d.n(6) {
	case 1:
		return r.sql + " <> " + g.value(r.kind)
	case 2:
		return r.sql + " IS NULL"
	case 3:
		return r.sql + " IS NOT NULL"
	case 4:
		return r.sql + " IS NOT DISTINCT FROM " + g.value(r.kind)
	case 5:
		return r.sql + " BETWEEN " + g.value(r.kind) + " AND " + g.value(r.kind)
	}
	return r.sql + " <= " + g.value(r.kind)
}

func (g *generator) booleanColumn(sc *scope) string {
	r, ok := g.find(sc, func(c column) bool { return c.kind == boolean })
	if !ok {
		return g.equal(sc)
	}
	form := pick(g.d, []string{"%s", "NOT %s", "%s IS TRUE", "%s IS NOT FALSE", "NOT (NOT %s)", "%s IS UNKNOWN"})
	return fmt.Sprintf(form, r.sql)
}

// expression restricts a column, or a row, without being an equality of the column.
func (g *generator) expression(sc *scope) string {
	if r, ok := g.find(sc, func(c column) bool { return c.kind == tags }); ok && g.d.chance(30) {
		return g.value(text) + " = ANY (" + r.sql + ")"
	}
	r, ok := g.find(sc, hasEquality)
	if !ok {
		return "true"
	}
	switch g.d.n(4) {
	case 1:
		return fmt.Sprintf("coalesce(%s, %s) = %s", r.sql, quote(r.kind.values[0]), g.value(r.kind))
	case 2:
		if len(sc.sources) > 0 && sc.nearestAlone(sc.sources[0]) {
			return sc.sources[0].alias + " IS NOT NULL"
		}
	case 3:
		return fmt.Sprintf("%s::text = %s", r.sql, quote(r.kind.values[0]))
	}
	return fmt.Sprintf("nullif(%s, %s) IS NOT NULL", r.sql, g.value(r.kind))
}

// nearestAlone tells whether the source can be named as a whole row.
func (sc *scope) nearestAlone(s *source) bool {
	f := sc.nearest(func(o *source) bool { return o.alias == s.alias })
	column := sc.nearest(func(o *source) bool { return countNames(o.cols, s.alias) > 0 })
	return f.first == s && f.count == 1 && column.level == nil
}

// subqueryCondition is EXISTS, IN and their kind.
func (g *generator) subqueryCondition(sc *scope, depth int) string {
	r, ok := g.find(sc, func(c column) bool { return c.kind.exact })
	if form := g.d.weighted(35, 20, 15, 10, 10, 10); ok && form >= 2 {
		sub, _ := g.query(sc, []*kind{r.kind}, depth, false)
		switch form {
		case 2:
			return r.sql + " IN (" + sub + ")"
		case 3:
			return r.sql + " NOT IN (" + sub + ")"
		case 4:
			return r.sql + " <= ALL (" + sub + ")"
		case 5:
			return r.sql + " = (" + g.scalar(sc, r.kind, depth) + ")"
		}
	} else if form == 1 {
		sub, _ := g.query(sc, nil, depth, false)
		return "NOT EXISTS (" + sub + ")"
	}
	sub, _ := g.query(sc, nil, depth, false)
	return "EXISTS (" + sub + ")"
}
