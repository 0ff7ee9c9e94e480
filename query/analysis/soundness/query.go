package soundness

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// generator makes one query. Every query that it makes has one right result: whatever picks some of several rows (LIMIT,
// DISTINCT ON, a window) does so in an order that leaves nothing open but the order of rows that are equal.
type generator struct {
	d         *draw
	schema    *schema
	constants bool // no parameters
	params    []any
	ctes      []relation // those that can be named, the nearest last
	aliases   int
	fuel      int // how many relations may still be read
}

// query is a generated query.
type query struct {
	sql    string
	params []any
	// ordered is true if the order of its rows counts.
	ordered bool
}

// newQuery makes a query.
func newQuery(d *draw, s *schema) query {
	g := &generator{d: d, schema: s, fuel: 1 + d.weighted(35, 30, 20, 5, 10)}
	ordered := d.chance(30)
	sql, _ := g.query(nil, nil, 2, ordered)
	sql, ordered = strings.CutSuffix(sql, endOfOrdered)
	q := query{ordered: ordered}
	// The generator throws parts away: only what is left is numbered.
	q.sql = placeholder.ReplaceAllStringFunc(sql, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		q.params = append(q.params, g.params[n-1])
		return fmt.Sprintf("$%d", len(q.params))
	})
	return q
}

var placeholder = regexp.MustCompile(`\$[0-9]+`)

// endOfOrdered marks a level that has put its rows into an order that counts.
const endOfOrdered = " "

// query makes a SELECT. want are the kinds of its columns; nil leaves them open. ordered asks for an ORDER BY, where possible.
func (g *generator) query(outer *scope, want []*kind, depth int, ordered bool) (string, []column) {
	if want == nil && !ordered && depth > 0 && g.d.chance(20) {
		return g.narrowed(outer)
	}
	before := len(g.ctes)
	with := ""
	if depth > 0 && g.d.chance(22) {
		with = g.with(outer, depth-1)
	}
	var sql string
	var cols []column
	if depth > 0 && g.d.chance(10) {
		sql, cols = g.setOperation(outer, want, depth-1)
	} else {
		sql, cols = g.level(outer, want, depth, ordered)
	}
	g.ctes = g.ctes[:before]
	return with + sql, cols
}

// with makes a WITH query or two.
func (g *generator) with(outer *scope, depth int) string {
	if g.d.chance(15) {
		return g.recursive(outer)
	}
	var all []string
	for range 1 + g.d.n(2) {
		sql, cols := g.query(outer, nil, depth, false)
		name, list := "c"+fmt.Sprint(len(g.ctes)), ""
		if g.d.chance(25) {
			name = pick(g.d, []string{"t0", "t1"})
		}
		if g.d.chance(30) || hasTwins(cols) {
			cols, list = renamed(g.d, cols)
		}
		if slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, name) }) {
			break
		}
		all = append(all, name+list+" AS "+pick(g.d, []string{"", "MATERIALIZED ", "NOT MATERIALIZED "})+"("+sql+")")
		g.ctes = append(g.ctes, relation{name: name, cols: cols})
	}
	return "WITH " + strings.Join(all, ", ") + " "
}

// recursive is a WITH query that follows rows from one to the next. UNION makes it end.
func (g *generator) recursive(outer *scope) string {
	g.fuel -= 2
	t := pick(g.d, g.schema.tables)
	var numbers []column
	for _, c := range t.columns {
		if c.kind.family == "number" && c.kind.exact {
			numbers = append(numbers, c)
		}
	}
	sc := &scope{sources: []*source{{alias: "b", cols: t.columns}}, outer: outer}
	from, to, show := pick(g.d, numbers), pick(g.d, numbers), pick(g.d, numbers)
	name := fmt.Sprintf("c%d", len(g.ctes))
	start := g.condition(sc, 0)
	step := ""
	if g.d.chance(50) {
		step = " AND " + g.equal(sc)
	}
	g.ctes = append(g.ctes, relation{name: name, cols: []column{{name: "x", kind: bigint}, {name: "y", kind: bigint}}})
	return fmt.Sprintf("WITH RECURSIVE %[1]s(x, y) AS (SELECT b.%[2]s::bigint, b.%[3]s::bigint FROM %[4]s b WHERE %[5]s "+
		"UNION SELECT b.%[2]s::bigint, b.%[3]s::bigint FROM %[4]s b JOIN %[1]s r ON r.y = b.%[6]s%[7]s) ",
		name, show.name, to.name, t.full(), start, from.name, step)
}

func (g *generator) setOperation(outer *scope, want []*kind, depth int) (string, []column) {
	if want == nil {
		want = []*kind{g.someKind()}
		if g.d.chance(50) {
			want = append(want, g.someKind())
		}
	}
	left, cols := g.query(outer, want, depth, false)
	right, _ := g.query(outer, want, depth, false)
	op := pick(g.d, []string{"UNION ALL", "UNION", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL"})
	sql := fmt.Sprintf("(%s) %s (%s)", left, op, right)
	if g.d.chance(20) {
		sql += " ORDER BY " + ordinals(0, len(cols)) + " LIMIT " + fmt.Sprint(1+g.d.n(3))
	}
	return sql, cols
}

// someKind is the kind of a column that some table has.
func (g *generator) someKind() *kind {
	c := pick(g.d, pick(g.d, g.schema.tables).columns)
	if !c.kind.exact {
		return integer
	}
	return c.kind
}

// ordinals are the numbers of the output columns, from the one after skip on.
func ordinals(skip, n int) string {
	var out []string
	for i := skip; i < n; i++ {
		out = append(out, fmt.Sprint(i+1))
	}
	return strings.Join(out, ", ")
}

// scalar is a query of one column and at most one row.
func (g *generator) scalar(outer *scope, k *kind, depth int) string {
	sub, _ := g.query(outer, []*kind{k}, depth, false)
	if g.d.chance(50) {
		return "SELECT q.* FROM (" + sub + ") q ORDER BY 1 LIMIT 1"
	}
	return "SELECT (array_agg(q.o ORDER BY q.o))[1] FROM (" + sub + ") q(o)"
}
