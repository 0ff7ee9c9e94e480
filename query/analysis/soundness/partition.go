package soundness

import (
	"fmt"
	"slices"
	"strings"
)

// partitioning is how a table is partitioned. Its replica identity is that of the partition that a row is in.
type partitioning struct {
	by     column
	leaves map[string]bool // by name without the schema: whether its replica identity is FULL
}

// partition decides by which column a table is partitioned: its key, or another one, which then belongs to the key.
func (t *table) partition(d *draw) {
	t.parts = &partitioning{by: t.columns[0], leaves: map[string]bool{}}
	fits := func(c column) bool { return !c.generated && slices.Contains(plainKinds, c.kind) }
	if i := d.n(len(t.columns)); i > 0 && fits(t.columns[i]) {
		t.columns[i].notNull = true
		t.parts.by = t.columns[i]
		t.key = append(t.key, t.columns[i].name)
	}
}

// addPartitioned makes a partitioned table: by list, range or hash into two parts, of which the first may have been made by itself and
// attached, with its columns in another order, and the second may have parts of its own.
func (s *schema) addPartitioned(d *draw, t *table, definitions []string) {
	by := t.parts.by
	method := pick(d, []string{"LIST", "RANGE", "HASH"})
	values := by.kind.values
	bounds := map[string][]string{
		"LIST":  {"FOR VALUES IN (" + quote(values[0]) + ")", "DEFAULT"},
		"RANGE": {"FOR VALUES FROM (MINVALUE) TO (" + quote(values[1]) + ")", "FOR VALUES FROM (" + quote(values[1]) + ") TO (MAXVALUE)"},
		"HASH":  {"FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"},
	}[method]
	s.ddl = append(s.ddl, fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s)) PARTITION BY %s (%s)", t.full(),
		strings.Join(definitions, ", "), strings.Join(t.key, ", "), method, by.name))
	first, second := t.full()+"_1", t.full()+"_2"
	if d.chance(50) {
		definitions = slices.Clone(definitions)
		slices.Reverse(definitions)
		s.ddl = append(s.ddl, fmt.Sprintf("CREATE TABLE %s (gone int, %s)", first, strings.Join(definitions, ", ")),
			"ALTER TABLE "+first+" DROP COLUMN gone", fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s %s", t.full(), first, bounds[0]))
		s.addLeaf(d, t, first, true)
	} else {
		s.ddl = append(s.ddl, fmt.Sprintf("CREATE TABLE %s PARTITION OF %s %s", first, t.full(), bounds[0]))
		s.addLeaf(d, t, first, false)
	}
	sql := fmt.Sprintf("CREATE TABLE %s PARTITION OF %s %s", second, t.full(), bounds[1])
	if d.chance(70) {
		s.ddl = append(s.ddl, sql)
		s.addLeaf(d, t, second, false)
		return
	}
	s.ddl = append(s.ddl, sql+" PARTITION BY HASH (id)")
	s.parts = append(s.parts, t.part(second, false))
	for i := range 2 {
		name := fmt.Sprintf("%s_%d", second, i+1)
		s.ddl = append(s.ddl, fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)", name, second, i))
		s.addLeaf(d, t, name, false)
	}
}

// addLeaf notes a partition that holds rows, and gives it a replica identity.
func (s *schema) addLeaf(d *draw, t *table, name string, reversed bool) {
	full := d.chance(65)
	if full {
		s.ddl = append(s.ddl, "ALTER TABLE "+name+" REPLICA IDENTITY FULL")
	}
	part := t.part(name, reversed)
	t.parts.leaves[part.name] = full
	s.parts = append(s.parts, part)
}

// part is a partition as a query sees it.
func (t *table) part(name string, reversed bool) *table {
	_, name, _ = strings.Cut(name, ".")
	columns := slices.Clone(t.columns)
	if reversed {
		slices.Reverse(columns)
	}
	return &table{schema: t.schema, name: name, columns: columns}
}

// insertNew makes an INSERT that does nothing for a key that is there. Of a table whose key is more than the id, two rows might
// otherwise have one id, and an update of the rest of the key would fail.
func insertNew(t *table, row []string) string {
	columns := make([]string, len(row))
	for i, c := range t.logged() {
		columns[i] = c.name
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s WHERE NOT EXISTS (SELECT FROM %[1]s WHERE id = %[4]s)",
		t.full(), strings.Join(columns, ", "), strings.Join(row, ", "), row[0])
}

// known is what the log has of the old row of an update or a delete: the replica identity. With a partitioned table, of which the log
// does not say where the row was, a NULL may be a value that was left out, and nothing is known of an update that leaves the key as it
// was, unless the partition has all of the row.
func (t *table) known(leaf string, c change) row {
	if c.old == nil {
		return nil
	}
	full, out := t.identityFull, row{}
	if t.parts != nil {
		full = t.parts.leaves[leaf]
	}
	for name, value := range c.old {
		switch {
		case t.parts != nil && value == nil:
		case full || slices.ContainsFunc(t.key, func(k string) bool { return bare(k) == name }):
			out[name] = value
		}
	}
	if t.parts != nil && !full && c.op == "UPDATE" && !changed(sortedKeys(out), change{old: out, new: c.new}) {
		return row{}
	}
	return out
}

// bare is a name without its quotes.
func bare(name string) string { return strings.Trim(name, `"`) }

func sortedKeys(r row) []string {
	keys := make([]string, 0, len(r))
	for name := range r {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}
