package invalidator

import (
	"math/bits"
	"slices"

	"freshet/cache"
	"freshet/events"
)

// matcher knows the active shapes, by table. It is for one goroutine at a time: it learns from the rows that it sees.
type matcher struct {
	shapes  map[string]cache.Shape // by name
	byTable map[[2]string]*tableMatcher
}

// newMatcher matches these shapes, and cache.CatalogShape, which is always active.
func newMatcher(shapes []cache.Shape) *matcher {
	m := &matcher{shapes: map[string]cache.Shape{}, byTable: map[[2]string]*tableMatcher{}}
	tables := map[[2]string][]cache.Shape{}
	for _, s := range cache.Union(append(slices.Clone(shapes), cache.CatalogShape)) {
		m.shapes[s.String()] = s
		table := [2]string{s.Schema, s.Table}
		tables[table] = append(tables[table], s)
	}
	for name, shapes := range tables {
		m.byTable[name] = newTableMatcher(name, shapes)
	}
	return m
}

// clearing is what a batch of messages clears: single buckets, and whole shapes.
type clearing struct {
	tags   map[string]cache.Tag
	shapes map[string]cache.Shape
	// sweep are the tables of which nothing is left.
	sweep map[[2]string]bool
	// found counts tags and shapes as they are found, the same one again and again.
	found int
	// matched is how many changes of each table belong to a shape.
	matched map[[2]string]int
}

func newClearing() *clearing {
	return &clearing{
		tags: map[string]cache.Tag{}, shapes: map[string]cache.Shape{}, sweep: map[[2]string]bool{}, matched: map[[2]string]int{},
	}
}

var catalogName = cache.CatalogShape.String()

// match adds what a message clears: the tags of each change's old row and of its new row.
func (m *matcher) match(msg *events.Changes, c *clearing) {
	t := m.byTable[[2]string{msg.Schema, msg.Table}]
	matched := 0
	for i := range msg.Changes {
		change := &msg.Changes[i]
		if change.Op == events.Define { // also of what no shape is of: a view that a query reads
			c.shapes[catalogName] = cache.CatalogShape
		}
		if t != nil {
			before := c.found
			t.match(change, c)
			if c.found != before {
				matched++
			}
		}
	}
	if matched > 0 {
		c.matched[t.name] += matched
	}
}

// interrupt clears the shapes of a table that a change of the registry's table says were not ready for a while, in which the
// table's changes may not have been published. They may be ready again by now, so that reading the list alone does not tell.
// Under the name of the registry's table, Define and Clear mean every table.
func (m *matcher) interrupt(msg *events.Changes, c *clearing) {
	for i := range msg.Changes {
		change := &msg.Changes[i]
		row := change.Old
		switch change.Op {
		case events.Define, events.Clear:
			for name, shape := range m.shapes {
				// What was cleared by hand is defined as it was.
				if name != catalogName || change.Op == events.Define {
					c.shapes[name] = shape
				}
			}
			continue
		case events.Insert:
			continue // what was there before was deleted before
		case events.Update:
			if ready, ok := change.New.Get("ready"); ok && ready.Value == "t" {
				continue
			}
			row = change.New
		}
		schema, known := row.Get("schema_name")
		table, _ := row.Get("table_name")
		for name, shape := range m.shapes {
			if !known || shape.Schema == schema.Value && shape.Table == table.Value {
				c.shapes[name] = shape
			}
		}
	}
}

// covers tells whether every shape that is active in the state is known here, with the columns that it reads there.
func (m *matcher) covers(s cache.State) bool {
	for name, generation := range s.Generations {
		if shape, there := m.shapes[name]; !there || !shape.Matched(generation) {
			return false
		}
	}
	return true
}

// tableMatcher matches the changes of one table. Its shapes have numbers, and so have the columns that any of them pins or reads;
// other columns matter to none.
type tableMatcher struct {
	name    [2]string
	shapes  []tableShape
	columns map[string]int
	always  bitset   // the shapes that any update counts for
	touched []bitset // by column, the shapes that a change of it counts for
	moved   []bitset // by column, the shapes that pin it: a change of it makes it another tag

	// What follows is kept from one change to the next, so that a change allocates nothing.
	before, after layout
	counts, moves bitset
	values        []string
	buf           []byte
}

// tableShape is a shape with what would otherwise be made anew for each row.
type tableShape struct {
	cache.Shape
	name  string
	names cache.TagNames
	pins  []int // the numbers of its columns
}

func newTableMatcher(name [2]string, shapes []cache.Shape) *tableMatcher {
	t := &tableMatcher{name: name, columns: map[string]int{}, always: newBitset(len(shapes))}
	for i, s := range shapes {
		shape := tableShape{Shape: s, name: s.String(), names: s.TagNames()}
		for _, column := range s.Columns {
			k := t.column(column, len(shapes))
			shape.pins = append(shape.pins, k)
			t.touched[k].add(i)
			t.moved[k].add(i)
		}
		for _, column := range s.Reads {
			t.touched[t.column(column, len(shapes))].add(i)
		}
		if s.Reads == nil {
			t.always.add(i)
		}
		t.shapes = append(t.shapes, shape)
		t.values = append(t.values, s.Columns...) // long enough for those of any shape
	}
	t.before, t.after = newLayout(t.columns), newLayout(t.columns)
	t.counts, t.moves = newBitset(len(shapes)), newBitset(len(shapes))
	return t
}

// column is the number of a column, which it gets when it is first asked for.
func (t *tableMatcher) column(name string, shapes int) int {
	k, known := t.columns[name]
	if !known {
		k = len(t.columns)
		t.columns[name] = k
		t.touched, t.moved = append(t.touched, newBitset(shapes)), append(t.moved, newBitset(shapes))
	}
	return k
}

func (t *tableMatcher) match(change *events.Change, c *clearing) {
	switch change.Op {
	case events.Truncate, events.Define:
		t.all(c)
	case events.Insert:
		t.row(change.New, t.after.find(change.New), c)
	case events.Delete:
		t.row(change.Old, t.before.find(change.Old), c)
	case events.Update:
		t.update(change, c)
	case events.Clear: // a row of which only those columns are known that whoever asks for it has given
		if len(change.Old) == 0 {
			t.all(c)
			return
		}
		t.row(change.Old, t.before.find(change.Old), c)
	}
}

// all clears every shape as a whole.
func (t *tableMatcher) all(c *clearing) {
	for i := range t.shapes {
		c.shapes[t.shapes[i].name] = t.shapes[i].Shape
	}
	c.found++
	c.sweep[t.name] = true
}

// row adds the tags of a row, one for each shape.
func (t *tableMatcher) row(row events.Row, at []int, c *clearing) {
	for i := range t.shapes {
		t.tag(&t.shapes[i], row, at, c)
	}
}

// update adds the tags of the old row and of the new row, for the shapes that a changed column counts for. What is not known to be
// the same has changed.
func (t *tableMatcher) update(change *events.Change, c *clearing) {
	before, after := t.before.find(change.Old), t.after.find(change.New)
	copy(t.counts, t.always)
	clear(t.moves)
	for k := range before {
		if !same(change.Old, before[k], change.New, after[k]) {
			t.counts.or(t.touched[k])
			t.moves.or(t.moved[k])
		}
	}
	for _, name := range change.Unknown {
		if k, known := t.columns[name]; known {
			t.counts.or(t.touched[k])
			t.moves.or(t.moved[k])
		}
	}
	for w, word := range t.counts {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			t.tag(&t.shapes[i], change.New, after, c)
			if t.moves.has(i) {
				t.tag(&t.shapes[i], change.Old, before, c)
			}
		}
	}
}

// same tells whether a value is known before and after a change, and is the same.
func same(before events.Row, i int, after events.Row, j int) bool {
	return i >= 0 && j >= 0 && before[i].Null == after[j].Null && before[i].Value == after[j].Value
}

// tag adds the tag of one row. A row that does not tell what the shape needs (no REPLICA IDENTITY FULL, a value that was not
// sent) clears the whole shape: coarser, never wrong. A NULL has no tag, as no equality matches it.
func (t *tableMatcher) tag(s *tableShape, row events.Row, at []int, c *clearing) {
	values := t.values[:len(s.pins)]
	null := false
	for i, k := range s.pins {
		if at[k] < 0 {
			c.shapes[s.name] = s.Shape
			c.found++
			return
		}
		field := &row[at[k]]
		values[i] = field.Value
		null = null || field.Null
	}
	if null {
		return
	}
	c.found++
	t.buf = s.names.Append(t.buf[:0], values)
	if _, there := c.tags[string(t.buf)]; !there {
		name := string(t.buf)
		c.tags[name] = cache.Tag{Shape: s.Shape, Name: name}
	}
}

// layout knows where a row has which column. Nearly every row of a table has the columns of the row before it, in that order: to
// compare their names costs less than to look them up.
type layout struct {
	columns map[string]int
	names   []string
	at      []int // by the number of a column; -1: the row does not have it
}

func newLayout(columns map[string]int) layout {
	return layout{columns: columns, at: slices.Repeat([]int{-1}, len(columns))}
}

// find returns where the row has the columns, by number. The next call overwrites it.
func (l *layout) find(row events.Row) []int {
	if slices.EqualFunc(row, l.names, func(f events.Field, name string) bool { return f.Name == name }) {
		return l.at
	}
	l.names = l.names[:0]
	for k := range l.at {
		l.at[k] = -1
	}
	for i := range row {
		l.names = append(l.names, row[i].Name)
		if k, known := l.columns[row[i].Name]; known && l.at[k] < 0 {
			l.at[k] = i
		}
	}
	return l.at
}

// bitset is a set of shapes, by number.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// or adds those of another set for as many shapes.
func (b bitset) or(other bitset) {
	for w := range b {
		b[w] |= other[w]
	}
}
