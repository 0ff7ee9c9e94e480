package invalidator

import (
	"freshet/cache"
	"freshet/events"
)

// matcher knows the active shapes, by table.
type matcher struct {
	shapes  map[string]cache.Shape // by name
	byTable map[[2]string][]cache.Shape
}

func newMatcher(shapes []cache.Shape) *matcher {
	m := &matcher{shapes: map[string]cache.Shape{}, byTable: map[[2]string][]cache.Shape{}}
	for _, s := range shapes {
		if _, there := m.shapes[s.String()]; !there {
			m.shapes[s.String()] = s
			table := [2]string{s.Schema, s.Table}
			m.byTable[table] = append(m.byTable[table], s)
		}
	}
	return m
}

// clearing is what a batch of messages clears: single buckets, and whole shapes.
type clearing struct {
	tags   map[string]cache.Tag
	shapes map[string]cache.Shape
	// sweep are the tables of which nothing is left.
	sweep map[[2]string]bool
}

func newClearing() *clearing {
	return &clearing{tags: map[string]cache.Tag{}, shapes: map[string]cache.Shape{}, sweep: map[[2]string]bool{}}
}

// match adds what a message clears: the tags of each change's old row and of its new row.
func (m *matcher) match(msg *events.Changes, c *clearing) {
	table := [2]string{msg.Schema, msg.Table}
	for _, shape := range m.byTable[table] {
		for i := range msg.Changes {
			change := &msg.Changes[i]
			switch change.Op {
			case events.Truncate:
				c.shapes[shape.String()] = shape
				c.sweep[table] = true
			case events.Insert:
				c.row(shape, change.New)
			case events.Delete:
				c.row(shape, change.Old)
			case events.Update:
				c.row(shape, change.Old)
				c.row(shape, change.New)
			}
		}
	}
}

// interrupt clears the shapes of a table that a change of the registry's table says were not ready for a while, in which the
// table's changes may not have been published. They may be ready again by now, so that reading the list alone does not tell.
func (m *matcher) interrupt(msg *events.Changes, c *clearing) {
	for i := range msg.Changes {
		change := &msg.Changes[i]
		row := change.Old
		switch change.Op {
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

// covers tells whether every shape that is active in the state is known here.
func (m *matcher) covers(s cache.State) bool {
	for name := range s.Generations {
		if _, there := m.shapes[name]; !there {
			return false
		}
	}
	return true
}

// row adds the tag of one row. A row that does not tell what the shape needs (no REPLICA IDENTITY FULL, a value that was not
// sent) clears the whole shape: coarser, never wrong. A NULL has no tag, as no equality matches it.
func (c *clearing) row(shape cache.Shape, row events.Row) {
	values := make([]string, len(shape.Columns))
	null := false
	for i, column := range shape.Columns {
		f, ok := row.Get(column)
		if !ok {
			c.shapes[shape.String()] = shape
			return
		}
		values[i] = f.Value
		null = null || f.Null
	}
	if !null {
		tag := shape.Tag(values...)
		c.tags[tag.Name] = tag
	}
}
