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
	part       rule      // why a name of the clause that is read counts
}

// clause reads the expressions of a clause.
func (w *walker) clause(part rule, list ...*pg.Node) {
	w.part = part
	w.nodes(list)
}

// keys reads the items of GROUP BY, ORDER BY or DISTINCT ON.
func (w *walker) keys(part rule, list []*pg.Node) {
	w.part = part
	for _, n := range list {
		w.key(n)
	}
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
		case *pg.A_Indirection: // (row).name is name(row) if the row has no such column
			for _, name := range fieldNames(m.GetIndirection()) {
				if name != "" {
					w.level.a.named(name)
				}
			}
		case *pg.A_Expr:
			w.level.a.operator(m.GetName())
			if strings.Contains(m.GetKind().String(), "BETWEEN") {
				w.level.a.operator([]*pg.Node{pg.MakeStrNode(">=")})
				w.level.a.operator([]*pg.Node{pg.MakeStrNode("<=")})
			}
			w.compared(m.GetLexpr(), m.GetRexpr())
			w.compared(m.GetRexpr(), m.GetLexpr())
		case *pg.SubLink:
			w.level.a.operator(m.GetOperName())
		case *pg.SortBy:
			w.level.a.operator(m.GetUseOp())
		case *pg.TypeCast:
			w.level.a.cast(m)
		case *pg.ParamRef, *pg.A_Const:
			return false
		}
		return true
	})
}

// key is an item of GROUP BY, ORDER BY or DISTINCT ON. If it is nothing but a name, that may be the one of an output column; within
// an expression it may not (findTargetlistEntrySQL92 in src/backend/parser/parse_clause.c).
func (w *walker) key(n *pg.Node) {
	e := n
	if s := n.GetSortBy(); s != nil {
		e = s.GetNode()
	}
	if names := fieldNames(e.GetColumnRef().GetFields()); len(names) == 1 && !w.has(names[0]) &&
		slices.ContainsFunc(w.level.outputs, func(o output) bool { return o.name == names[0] }) {
		return
	}
	w.node(n)
}

// has tells whether a source of the level has a column of the name.
func (w *walker) has(name string) bool {
	return slices.ContainsFunc(w.candidates, func(s *source) bool { return slices.Contains(s.columns, name) })
}

// fieldNames are the parts of a name, without a star at its end.
func fieldNames(fields []*pg.Node) []string {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		if f.GetAStar() == nil {
			names = append(names, f.GetString_().GetSval())
		}
	}
	return names
}

// is tells whether [schema.]alias means the source.
func (s *source) is(names []string) bool {
	last := len(names) - 1
	return last >= 0 && names[last] == s.alias && (last == 0 || names[last-1] == s.schema)
}

// column marks what a column reference reads.
func (w *walker) column(c *pg.ColumnRef) {
	fields := c.GetFields()
	names := fieldNames(fields)
	if !w.level.a.keeps(w.part) {
		return
	}
	if len(names) < len(fields) {
		w.star(names)
		return
	}
	if slices.Contains(systemColumns, names[len(names)-1]) && w.system(names) {
		if names[len(names)-1] == "tableoid" {
			w.tableoid(names[:len(names)-1])
			return
		}
		w.level.a.refuse("the system column %s changes with every update", names[len(names)-1])
		return
	}
	if len(names) == 1 {
		w.bare(names[0])
		return
	}
	w.qualified(names[:len(names)-1], names[len(names)-1])
}

// systemColumns are those of every table (src/backend/catalog/heap.c).
var systemColumns = []string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

// system tells whether a name is not that of a column that somebody defined.
func (w *walker) system(names []string) bool {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		for _, s := range candidates {
			if slices.Contains(s.columns, names[len(names)-1]) && (len(names) == 1 || s.is(names[:len(names)-1])) {
				return false
			}
		}
	}
	return true
}

// tableoid tells which table a row is in. For a row of a partitioned table that is a partition, and an update may move the row to
// another one, so there every column counts. Of any other table it never changes. It is not looked up which table is meant: at worst
// more is read than need be.
func (w *walker) tableoid(of []string) {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		for _, s := range candidates {
			if s.table != nil && s.table.relation.Kind == 'p' && (len(of) == 0 || s.is(of)) {
				s.readAll()
			}
		}
	}
}

func (l *level) outerSources() []*source {
	if l.outer == nil {
		return nil
	}
	return l.outer.sources
}

func (w *walker) star(names []string) {
	if !w.level.a.keeps(readRows) {
		return
	}
	if len(names) == 0 {
		for _, s := range w.candidates {
			s.readAll()
		}
		return
	}
	if !w.whole(names) {
		w.lost()
	}
}

// whole reads whole rows of the sources of that name, here or outwards. It returns false if there is none.
func (w *walker) whole(names []string) bool {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		found := false
		for _, s := range candidates {
			if s.is(names) {
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

// bare is a name alone: a column of a source here, or further out, or a whole row.
func (w *walker) bare(name string) {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		found := false
		for _, s := range candidates {
			if slices.Contains(s.columns, name) {
				s.read(name)
				found = true
			}
		}
		if found || !l.a.keeps(readOutwards) {
			return
		}
	}
	if !w.whole([]string{name}) {
		w.lost()
	}
}

// qualified is [schema.]alias.column. What is no column may be a function of the row.
func (w *walker) qualified(of []string, name string) {
	for l, candidates := w.level, w.candidates; l != nil; l, candidates = l.outer, l.outerSources() {
		for _, s := range candidates {
			if !s.is(of) {
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
		if !l.a.keeps(readOutwards) {
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
	names := fieldNames(fields)
	name := names[len(names)-1]
	var found []*source
	for _, s := range candidates {
		if slices.Contains(s.columns, name) && (len(names) == 1 || s.is(names[:len(names)-1])) {
			found = append(found, s)
		}
	}
	// A name that several sources have is one that USING has merged. That a source whose columns are not known has it too is possible
	// only then: otherwise Postgres calls the name ambiguous.
	if len(found) != 1 || l.merged && l.unknown(candidates) && len(names) == 1 {
		return ref{}
	}
	return ref{found[0], name}
}

// unknown tells whether any source has columns that are not known: a bare name could be one of them.
func (l *level) unknown(candidates []*source) bool {
	return slices.ContainsFunc(candidates, func(s *source) bool { return s.columns == nil })
}
