package analysis

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// function judges a function that is called.
func (a *analyzer) function(f *pg.FuncCall) {
	names := f.GetFuncname()
	name := names[len(names)-1].GetString_().GetSval()
	if name == "age" && len(f.GetArgs()) == 1 { // the time since then
		a.ages("age()")
	}
	a.named(name)
}

// clocks are the STABLE functions that return the time.
var clocks = []string{"now", "transaction_timestamp", "statement_timestamp"}

// ages notes that the result depends on the time, through what is shown.
func (a *analyzer) ages(shown string) {
	a.timed = true
	a.warn("the result depends on the time through %s: in that respect only its ttl makes it new", shown)
}

// named judges a function by its name.
func (a *analyzer) named(name string) {
	f, ok := a.catalog.functions[name]
	switch {
	case !ok: // syntax that looks like a function; or Postgres will say that there is none
	case !f.system:
		a.judge(name, name+"()", f)
	case f.volatility == 'v' && !slices.Contains(harmless, name):
		a.refuse("%s() returns something else each time, or does more than read", name)
	case slices.Contains(clocks, name):
		a.ages(name + "()")
	case f.volatility == 's' && readsServer(name):
		a.refuse("%s() reads what is not in the log", name)
	}
}

// judge judges a function or an operator that somebody defined; shown is what messages call it.
func (a *analyzer) judge(name, shown string, f function) {
	switch f.volatility {
	case 'v':
		a.refuse("%s is VOLATILE: it may return something else each time; declare it STABLE or IMMUTABLE if it does not", shown)
	case 's':
		a.opaque = append(a.opaque, name)
	}
}

// operator judges an operator, which may be a function that somebody wrote.
func (a *analyzer) operator(name []*pg.Node) {
	if names := fieldNames(name); len(names) > 0 {
		last := names[len(names)-1]
		a.judge(last, "the operator "+last, a.catalog.operators[last])
	}
}

// cast warns of 'today'::date and the like.
func (a *analyzer) cast(c *pg.TypeCast) {
	name, _ := typeOf(c.GetTypeName())
	a.moment(name, c.GetArg())
	a.rowType(c.GetTypeName())
}

// rowType refuses a cast to the row type of a relation: its columns are those of a table that the query does not read.
func (a *analyzer) rowType(t *pg.TypeName) {
	var names []string
	for _, n := range t.GetNames() {
		names = append(names, n.GetString_().GetSval())
	}
	if len(names) == 0 || len(names) > 2 {
		return
	}
	schema := ""
	if len(names) == 2 {
		schema = names[0]
	}
	if r := a.catalog.Find(schema, names[len(names)-1]); r != nil && !isPostgres(r.Schema) {
		a.refuse("it casts to the row type of %s: a change of that table's columns would change the result unseen", r)
	}
}

// compared warns of a column of a date that is compared with 'today' and the like.
func (w *walker) compared(column, with *pg.Node) {
	name := w.level.plain(column, w.candidates).typeName()
	for _, n := range append(with.GetList().GetItems(), with) {
		w.level.a.moment(name, n)
	}
}

// moment warns of a constant of a type that means the time (src/backend/utils/adt/datetime.c).
func (a *analyzer) moment(typeName string, n *pg.Node) {
	word := strings.ToLower(strings.TrimSpace(n.GetAConst().GetSval().GetSval()))
	if (strings.HasPrefix(typeName, "time") || typeName == "date") && slices.Contains([]string{"now", "today", "yesterday", "tomorrow"}, word) {
		a.ages("'" + word + "'")
	}
}

// harmless are names of which only another overload is volatile.
var harmless = []string{}

// serverFunctions are STABLE functions of Postgres that read the session or the catalogs, beside those that their names tell.
var serverFunctions = []string{
	"current_setting", "current_schemas", "row_security_active", "col_description", "obj_description", "shobj_description",
	"inet_client_addr", "inet_client_port", "inet_server_addr", "inet_server_port", "mxid_age", "getpgusername",
}

// readsServer tells whether a STABLE function of Postgres reads the session, the catalogs or tables by name.
func readsServer(name string) bool {
	if name == "pg_typeof" {
		return false
	}
	for _, prefix := range []string{"pg_", "txid_", "has_", "to_reg"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.Contains(name, "_to_xml") || slices.Contains(serverFunctions, name)
}

// valueFunction is CURRENT_DATE and the like.
func (a *analyzer) valueFunction(f *pg.SQLValueFunction) {
	name := strings.ToLower(strings.TrimPrefix(f.GetOp().String(), "SVFOP_"))
	if strings.Contains(name, "time") || strings.Contains(name, "date") {
		a.ages(strings.TrimSuffix(name, "_n"))
	}
}
