package soundness

import (
	"fmt"
	"strings"
)

// newWrite makes the statements of one transaction, without BEGIN and COMMIT: mostly one small statement, sometimes several, in
// several tables, with savepoints that are rolled back. None of them fails.
func newWrite(d *draw, s *schema) []string {
	var out []string
	for range 1 + d.weighted(75, 15, 10) {
		statement := newStatement(d, pick(d, s.tables))
		switch {
		case d.chance(8):
			out = append(out, "SAVEPOINT s", statement, "ROLLBACK TO s", newStatement(d, pick(d, s.tables)))
		case d.chance(4):
			out = append(out, "SAVEPOINT s", statement, "RELEASE s")
		default:
			out = append(out, statement)
		}
	}
	return out
}

func newStatement(d *draw, t *table) string {
	switch d.weighted(50, 20, 14, 6, 6, 3) {
	case 1:
		conflict := " ON CONFLICT DO NOTHING"
		if set := assignment(d, t); d.chance(20) && set != "" {
			conflict = " ON CONFLICT (id) DO UPDATE SET " + set
		}
		return insert(d, t, 1+d.n(9), conflict)
	case 2:
		from := t.full()
		if t.parts != nil && d.chance(30) {
			from += "_" + pick(d, []string{"1", "2"})
		}
		return fmt.Sprintf("DELETE FROM %s WHERE %s", from, someRows(d, t))
	case 3:
		return fmt.Sprintf("UPDATE %s SET id = %d WHERE id = %d AND NOT EXISTS (SELECT FROM %[1]s WHERE id = %[2]d)",
			t.full(), 1+d.n(9), 1+d.n(9))
	case 4:
		if set := assignment(d, t); set != "" {
			return "UPDATE " + t.full() + " SET " + set // every row
		}
	case 5:
		if d.chance(40) {
			return "TRUNCATE " + t.full()
		}
		return "DELETE FROM " + t.full()
	}
	set := assignment(d, t)
	if set == "" {
		return "DELETE FROM " + t.full() + " WHERE id = 1"
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.full(), set, someRows(d, t))
}

// insert makes an INSERT of one row or a few.
func insert(d *draw, t *table, id int, conflict string) string {
	var columns, values []string
	for _, c := range t.logged() {
		columns = append(columns, c.name)
	}
	rows := 1
	if conflict == " ON CONFLICT DO NOTHING" && d.chance(30) {
		rows = 3
	}
	for i := range rows {
		row := []string{fmt.Sprint((id+i-1)%9 + 1)}
		for _, c := range t.logged()[1:] {
			row = append(row, newValue(d, c))
		}
		if t.parts != nil {
			values = append(values, insertNew(t, row))
			continue
		}
		values = append(values, "("+strings.Join(row, ", ")+")")
	}
	if t.parts != nil {
		return strings.Join(values, "; ")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES %s%s", t.full(), strings.Join(columns, ", "), strings.Join(values, ", "), conflict)
}

// newValue is a constant, or NULL.
func newValue(d *draw, c column) string {
	if !c.notNull && d.chance(12) {
		return "NULL"
	}
	return quote(c.kind.value(d))
}

// assignment sets one column or two; "" if there is none to set.
func assignment(d *draw, t *table) string {
	columns := t.logged()[1:]
	if len(columns) == 0 {
		return ""
	}
	i := d.n(len(columns))
	set := columns[i].name + " = " + newValue(d, columns[i])
	if j := d.n(len(columns)); j != i && d.chance(15) {
		set += ", " + columns[j].name + " = " + newValue(d, columns[j])
	}
	return set
}

// someRows is mostly one row, by its key.
func someRows(d *draw, t *table) string {
	switch d.weighted(70, 20, 10) {
	case 1:
		if c := pick(d, t.logged()); c.kind != tags {
			return c.name + " = " + quote(c.kind.value(d))
		}
	case 2:
		return fmt.Sprintf("id %% 2 = %d", d.n(2))
	}
	return fmt.Sprintf("id = %d", 1+d.weighted(20, 20, 16, 12, 12, 8, 4, 4, 4))
}
