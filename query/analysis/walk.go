package analysis

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// visit calls do for each message of a parse tree, from the root on; below one for which it returns false it does not go.
func visit(m proto.Message, do func(m any) bool) {
	if m == nil || !m.ProtoReflect().IsValid() || !do(m) {
		return
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				visit(v.List().Get(i).Message().Interface(), do)
			}
		default:
			visit(v.Message().Interface(), do)
		}
		return true
	})
}

// mentions counts how often a name without a schema is read in a statement.
func mentions(s *pg.SelectStmt, name string) (n int) {
	visit(s, func(m any) bool {
		if v, ok := m.(*pg.RangeVar); ok && v.GetRelname() == name && v.GetSchemaname() == "" {
			n++
		}
		return true
	})
	return n
}

// walker reads expressions of a level: which columns and functions they use, and the queries within them.
type walker struct {
	level      *level
	candidates []*source // where names are looked up first
	outputs    bool      // a bare name may be that of an output column
}

func (w *walker) nodes(list []*pg.Node) {
	for _, n := range list {
		w.node(n)
	}
}

func (w *walker) node(n *pg.Node) {
	if n == nil {
		return
	}
	visit(n, func(m any) bool {
		switch m := m.(type) {
		case *pg.ColumnRef:
			w.column(m)
			return false
		case *pg.SelectStmt:
			w.level.inner = append(w.level.inner, w.level.a.selectLevel(m, w.level))
			return false
		case *pg.FuncCall:
			w.level.a.function(m)
		case *pg.SQLValueFunction:
			w.level.a.valueFunction(m)
		case *pg.ParamRef, *pg.A_Const:
			return false
		}
		return true
	})
}

// column marks what a column reference reads.
func (w *walker) column(c *pg.ColumnRef) {
	fields := c.GetFields()
	names := make([]string, 0, len(fields))
	star := false
	for _, f := range fields {
		if f.GetAStar() != nil {
			star = true
			continue
		}
		names = append(names, f.GetString_().GetSval())
	}
	if star {
		w.star(names)
		return
	}
	if slices.Contains(systemColumns, names[len(names)-1]) && w.system(names) {
		w.level.a.refuse("the system column %s changes with every update", names[len(names)-1])
		return
	}
	if len(names) == 1 {
		w.bare(names[0])
		return
	}
	w.qualified(names[len(names)-2], names[len(names)-1])
}

// systemColumns are those of every table (src/backend/catalog/heap.c).
var systemColumns = []string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

// system tells whether a name is not that of a column that somebody defined.
func (w *walker) system(names []string) bool {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		for _, s := range candidates {
			if slices.Contains(s.columns, names[len(names)-1]) && (len(names) == 1 || names[len(names)-2] == s.alias) {
				return false
			}
		}
	}
	return true
}

func (l *level) outerSources() []*source {
	if l.outer == nil {
		return nil
	}
	return l.outer.sources
}

func (w *walker) star(names []string) {
	if len(names) == 0 {
		for _, s := range w.candidates {
			s.readAll()
		}
		return
	}
	w.whole(names[len(names)-1])
}

// whole reads whole rows of the sources of that name, here or outwards. It returns false if there is none.
func (w *walker) whole(alias string) bool {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		found := false
		for _, s := range candidates {
			if s.alias == alias {
				s.readAll()
				found = true
			}
		}
		if found {
			return true
		}
	}
	return false
}

// bare is a name alone: a column of a source here, an output column, a column further out, or a whole row.
func (w *walker) bare(name string) {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		found := false
		for _, s := range candidates {
			if slices.Contains(s.columns, name) {
				s.read(name)
				found = true
			}
		}
		if found {
			return
		}
		if l == w.level && w.outputs && slices.ContainsFunc(l.outputs, func(o output) bool { return o.name == name }) {
			return
		}
	}
	if !w.whole(name) {
		w.lost()
	}
}

// qualified is alias.column. What is no column may be a function of the row.
func (w *walker) qualified(alias, name string) {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		for _, s := range candidates {
			if s.alias != alias {
				continue
			}
			if slices.Contains(s.columns, name) {
				s.read(name)
				return
			}
			s.readAll()
			w.level.a.named(name)
			return
		}
	}
	w.lost()
}

// lost is a name that was not found. It is a column of a source whose columns are not known; if there is no such source, it might be
// anything.
func (w *walker) lost() {
	for l := w.level; l != nil; l = l.outer {
		if l.unknown(l.sources) {
			return
		}
	}
	for l := w.level; l != nil; l = l.outer {
		for _, s := range l.sources {
			s.readAll()
		}
	}
}

// plain is the column of this level that an expression is, if it is nothing else.
func (l *level) plain(n *pg.Node, candidates []*source) ref {
	fields := n.GetColumnRef().GetFields()
	if len(fields) == 0 || fields[len(fields)-1].GetAStar() != nil {
		return ref{}
	}
	name := fields[len(fields)-1].GetString_().GetSval()
	var found []*source
	for _, s := range candidates {
		if slices.Contains(s.columns, name) && (len(fields) == 1 || fields[len(fields)-2].GetString_().GetSval() == s.alias) {
			found = append(found, s)
		}
	}
	// A name that several sources have is one that USING has merged.
	if len(found) != 1 || l.unknown(candidates) && len(fields) == 1 {
		return ref{}
	}
	return ref{found[0], name}
}

// unknown tells whether any source has columns that are not known: a bare name could be one of them.
func (l *level) unknown(candidates []*source) bool {
	return slices.ContainsFunc(candidates, func(s *source) bool { return s.columns == nil })
}

// function judges a function that is called.
func (a *analyzer) function(f *pg.FuncCall) {
	names := f.GetFuncname()
	a.named(names[len(names)-1].GetString_().GetSval())
}

// clocks are the STABLE functions that return the time.
var clocks = []string{"now", "transaction_timestamp", "statement_timestamp"}

func (a *analyzer) named(name string) {
	f, ok := a.catalog.functions[name]
	switch {
	case !ok: // syntax that looks like a function; or Postgres will say that there is none
	case f.system && f.volatility == 'v' && !slices.Contains(harmless, name):
		a.refuse("%s() returns something else each time, or does more than read", name)
	case slices.Contains(clocks, name):
		a.warn("the result depends on the time through %s(): in that respect only its ttl makes it new", name)
	case f.system && f.volatility == 's' && readsServer(name):
		a.refuse("%s() reads what is not in the log", name)
	case !f.system && f.volatility == 'v':
		a.refuse("%s() is VOLATILE: it may return something else each time; declare it STABLE or IMMUTABLE if it does not", name)
	case !f.system && f.volatility == 's':
		a.opaque = append(a.opaque, name)
	}
}

// harmless are names of which only another overload is volatile.
var harmless = []string{}

// readsServer tells whether a STABLE function of Postgres reads the session, the catalogs or tables by name.
func readsServer(name string) bool {
	return name != "pg_typeof" && (strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "txid_") || strings.HasPrefix(name, "has_") ||
		strings.HasSuffix(name, "_to_xml") || strings.Contains(name, "_to_xml") || name == "current_setting" || name == "currval" || name == "lastval")
}

// valueFunction is CURRENT_DATE and the like.
func (a *analyzer) valueFunction(f *pg.SQLValueFunction) {
	name := strings.ToLower(strings.TrimPrefix(f.GetOp().String(), "SVFOP_"))
	if strings.Contains(name, "time") || strings.Contains(name, "date") {
		a.warn("the result depends on the time through %s: in that respect only its ttl makes it new", strings.TrimSuffix(name, "_n"))
	}
}
