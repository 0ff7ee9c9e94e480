package soundness

import (
	"fmt"
	"slices"
	"strings"
)

// table is a generated table, or a view.
type table struct {
	schema, name string
	columns      []column
	view         bool
	key          []string // the primary key
	identityFull bool     // REPLICA IDENTITY FULL; else it is the key
	parts        *partitioning
}

// full is schema.name.
func (t *table) full() string { return t.schema + "." + t.name }

// schema is what one round works on. Everything lives in the schemas app and other, of which app comes first in the search_path;
// the log of changes lives in freshet_log, where no query looks.
type schema struct {
	tables []*table
	views  []*table
	parts  []*table // partitions, that can be read by themselves
	ddl    []string
}

// names are few, so that tables share them: names that are hidden, merged and ambiguous are what an analysis gets wrong.
var names = []string{"k", "s", "v", "x", `"Mix"`}

// newSchema makes three tables, two of which have the same name.
func newSchema(d *draw) *schema {
	s := &schema{ddl: []string{
		"DROP SCHEMA IF EXISTS app, other, freshet_log CASCADE", "CREATE SCHEMA app", "CREATE SCHEMA other", "CREATE SCHEMA freshet_log",
		strings.Trim(types, "\n;"),
		changesSQL,
	}}
	for _, name := range [][2]string{{"app", "t0"}, {"app", "t1"}, {"other", "t0"}} {
		s.addTable(d, name[0], name[1])
	}
	return s
}

// addTable adds a table with a key, two to four other columns and six rows.
func (s *schema) addTable(d *draw, schema, name string) {
	t := &table{
		schema: schema, name: name, key: []string{"id"},
		columns: []column{{name: "id", kind: pick(d, []*kind{integer, bigint}), notNull: true}},
	}
	free := slices.Clone(names)
	for range 2 + d.n(3) {
		i := d.n(len(free))
		c := column{name: free[i], notNull: d.chance(20)}
		free = slices.Delete(free, i, i+1)
		switch {
		case d.chance(12):
			c = column{name: c.name, kind: integer, generated: true}
		case d.chance(35):
			c.kind = pick(d, fuzzyKinds)
		default:
			c.kind = pick(d, plainKinds)
		}
		t.columns = append(t.columns, c)
	}
	if d.chance(35) {
		t.partition(d)
	}
	definitions, base := make([]string, len(t.columns)), "id"
	for _, c := range t.columns {
		if c.kind == integer && !c.generated {
			base = c.name
		}
	}
	for i, c := range t.columns {
		definitions[i] = c.name + " " + c.kind.sql
		if c.notNull {
			definitions[i] += " NOT NULL"
		}
		if c.generated {
			definitions[i] += " GENERATED ALWAYS AS (" + base + " % 3 + 1) STORED"
		}
	}
	if t.parts != nil {
		s.addPartitioned(d, t, definitions)
	} else {
		t.identityFull = d.chance(65)
		s.ddl = append(s.ddl, fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (id))", t.full(), strings.Join(definitions, ", ")),
			"ALTER TABLE "+t.full()+" REPLICA IDENTITY "+map[bool]string{true: "FULL", false: "DEFAULT"}[t.identityFull])
	}
	for id := range 6 {
		s.ddl = append(s.ddl, insert(d, t, id+1, ""))
	}
	s.ddl = append(s.ddl, triggers(t)...)
	s.tables = append(s.tables, t)
}

// changesSQL makes the log. leaf is the partition, or the table itself, that a row is in.
const changesSQL = "CREATE TABLE freshet_log.changes (seq bigserial, relation text, leaf text, op text, old text[], new text[])"

// triggers log every row as the replication log would print it, with what format() prints: text as the types' output functions
// make it, where a cast to text would say true for t and trim a char(3). Generated columns are left out there too.
// The triggers of a partitioned table are those of its partitions; a row that moves is deleted and inserted, as in the log.
func triggers(t *table) []string {
	function := "freshet_log." + t.schema + "_" + t.name
	row := func(record string) string {
		var fields []string
		for _, c := range t.logged() {
			field := record + "." + c.name
			fields = append(fields, fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN format('%%s', %s) END", field, field))
		}
		return "ARRAY[" + strings.Join(fields, ", ") + "]::text[]"
	}
	return []string{
		fmt.Sprintf(`CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO freshet_log.changes (relation, leaf, op, old, new) VALUES ('%s', TG_TABLE_NAME, TG_OP,
				CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN %s END, CASE WHEN TG_OP IN ('UPDATE', 'INSERT') THEN %s END);
			RETURN NULL; END $$`, function, t.full(), row("OLD"), row("NEW")),
		fmt.Sprintf("CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s()", t.full(), function),
		fmt.Sprintf("CREATE TRIGGER log_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()", t.full(), function),
	}
}

// logged are the columns that the log has.
func (t *table) logged() []column {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c column) bool { return c.generated })
}

// addView makes a view of a generated query. Whoever calls this runs the statement, and keeps the view if Postgres accepts it.
func (s *schema) newView(d *draw, name string) (*table, string) {
	g := &generator{d: d, schema: s, constants: true, fuel: 3}
	sql, columns := g.query(nil, nil, 1, false)
	v := &table{schema: "app", name: name, view: true}
	free := slices.Concat([]string{"id"}, names, []string{"y", "z", "u", "w"})
	list := make([]string, 0, len(columns))
	for _, c := range columns {
		if len(list) == len(free) {
			return nil, ""
		}
		c.name = free[len(list)]
		list = append(list, c.name)
		v.columns = append(v.columns, column{name: c.name, kind: c.kind})
	}
	return v, fmt.Sprintf("CREATE VIEW %s (%s) AS %s", v.full(), strings.Join(list, ", "), sql)
}
