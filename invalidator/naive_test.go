package invalidator

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
)

// The matcher against one that knows no numbers, no layouts and no sets.
func TestMatchAgainstNaive(t *testing.T) {
	for seed := range uint64(2000) {
		g := newMatchDraw(seed)
		shapes := g.shapes()
		m := newMatcher(shapes) // one for many messages: it learns from each
		for range 8 {
			msg, got, want := g.message(), newClearing(), newClearing()
			m.match(msg, got)
			naiveMatch(shapes, msg, want)
			require.Equal(t, slices.Sorted(maps.Keys(want.tags)), slices.Sorted(maps.Keys(got.tags)), "seed %d: tags of %+v", seed, msg)
			require.Equal(t, slices.Sorted(maps.Keys(want.shapes)), slices.Sorted(maps.Keys(got.shapes)), "seed %d: shapes of %+v", seed, msg)
			require.Equal(t, want.sweep, got.sweep, "seed %d", seed)
		}
	}
}

// naiveMatch says the rules as plainly as can be.
func naiveMatch(shapes []cache.Shape, msg *events.Changes, c *clearing) {
	for _, change := range msg.Changes {
		if change.Op == events.Define {
			c.shapes[cache.CatalogShape.String()] = cache.CatalogShape
		}
		for _, s := range shapes {
			if s.Schema != msg.Schema || s.Table != msg.Table {
				continue
			}
			var rows []events.Row
			switch {
			case change.Op == events.Truncate, change.Op == events.Define, change.Op == events.Clear && len(change.Old) == 0:
				c.shapes[s.String()] = s
				c.sweep[[2]string{s.Schema, s.Table}] = true
			case change.Op == events.Insert:
				rows = []events.Row{change.New}
			case change.Op == events.Delete, change.Op == events.Clear:
				rows = []events.Row{change.Old}
			case s.Reads == nil || slices.ContainsFunc(slices.Concat(s.Reads, s.Columns), func(column string) bool {
				before, known := change.Old.Get(column)
				after, still := change.New.Get(column)
				return !known || !still || before != after || slices.Contains(change.Unknown, column)
			}):
				rows = []events.Row{change.Old, change.New}
			}
			for _, row := range rows {
				naiveTag(s, row, c)
			}
		}
	}
}

func naiveTag(s cache.Shape, row events.Row, c *clearing) {
	var values []string
	for _, column := range s.Columns {
		f, ok := row.Get(column)
		if !ok {
			c.shapes[s.String()] = s
			return
		}
		if !f.Null {
			values = append(values, f.Value)
		}
	}
	if len(values) == len(s.Columns) {
		tag := s.Tag(values...)
		c.tags[tag.Name] = tag
	}
}

// matchDraw draws shapes and messages of two tables.
type matchDraw struct {
	*rand.Rand
	columns []string
}

func newMatchDraw(seed uint64) *matchDraw {
	g := &matchDraw{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i := range []int{2, 5, 12, 90}[g.IntN(4)] {
		g.columns = append(g.columns, "c"+strconv.Itoa(i))
	}
	return g
}

func (g *matchDraw) table() string { return []string{"one", "two"}[g.IntN(2)] }

// some are a few of the columns, or one that no row has.
func (g *matchDraw) some(most int) []string {
	out := []string{}
	for range g.IntN(most + 1) {
		out = append(out, g.columns[g.IntN(len(g.columns))])
	}
	if g.IntN(20) == 0 {
		out = append(out, "generated")
	}
	return out
}

// shapes has some of them twice, with other reads.
func (g *matchDraw) shapes() (shapes []cache.Shape) {
	for range g.IntN([]int{4, 200}[g.IntN(2)]) {
		s := cache.NewShape("public", g.table(), g.some(3)...)
		if g.IntN(8) > 0 {
			s = s.Reading(g.some(3))
		}
		shapes = append(shapes, s)
	}
	return shapes
}

func (g *matchDraw) message() *events.Changes {
	msg := &events.Changes{Schema: "public", Table: g.table()}
	ops := []events.Op{
		events.Insert, events.Update, events.Update, events.Update, events.Update, events.Delete, events.Truncate, events.Define, events.Clear,
	}
	for range 1 + g.IntN(3) {
		change := events.Change{Op: ops[g.IntN(len(ops))]}
		if change.Op != events.Insert {
			change.Old = g.row(g.columns)
		}
		switch change.Op {
		case events.Insert:
			change.New = g.row(g.columns)
		case events.Update:
			change.New = slices.Clone(change.Old)
			for range g.IntN(4) {
				if i := g.IntN(len(change.New) + 1); i < len(change.New) {
					change.New[i] = g.field(change.New[i].Name)
				}
			}
			change.New = g.reduced(change.New)
			change.Unknown = append(g.some(1), "content")
		case events.Clear:
			change.Old = g.row(g.some(2))
		case events.Truncate, events.Define:
			change.Old = nil
		}
		change.Old = g.reduced(change.Old)
		msg.Changes = append(msg.Changes, change)
	}
	return msg
}

func (g *matchDraw) row(columns []string) events.Row {
	r := make(events.Row, 0, len(columns))
	for _, c := range columns {
		if _, twice := r.Get(c); !twice {
			r = append(r, g.field(c))
		}
	}
	return r
}

func (g *matchDraw) field(name string) events.Field {
	if g.IntN(6) == 0 {
		return events.Field{Name: name, Null: true}
	}
	return events.Field{Name: name, Value: []string{"", "x", "y"}[g.IntN(3)]}
}

// reduced is the row now and then without some of its columns, or with them in another order.
func (g *matchDraw) reduced(r events.Row) events.Row {
	r = slices.Clone(r)
	if g.IntN(4) == 0 {
		r = slices.DeleteFunc(r, func(events.Field) bool { return g.IntN(3) == 0 })
	}
	if g.IntN(4) == 0 {
		g.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
	}
	return r
}
