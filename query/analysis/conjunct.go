package analysis

import (
	"slices"
	"strconv"
	"time"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// atom is a conjunct of the form column = column, or column = one of some values. It is never true of a NULL.
type atom struct {
	left, right ref
	values      []Value
	// class is the class of the values; for untyped literals the one of the column that they are compared with.
	class string
}

// conjuncts takes a condition apart at its ANDs and keeps what is an equality. Everything else restricts rows too, but pins nothing.
func (l *level) conjuncts(n *pg.Node, candidates []*source) []atom {
	switch {
	case n == nil:
		return nil
	case n.GetBoolExpr() != nil:
		b := n.GetBoolExpr()
		op := b.GetBoolop()
		if op == pg.BoolExprType_NOT_EXPR && l.a.keeps(negation) {
			return l.boolean(b.GetArgs()[0], "f", candidates)
		}
		if op == pg.BoolExprType_OR_EXPR && l.a.keeps(either) {
			return nil
		}
		var all []atom
		for _, arg := range b.GetArgs() {
			all = append(all, l.conjuncts(arg, candidates)...)
		}
		return all
	case n.GetAExpr() != nil:
		return l.equality(n.GetAExpr(), candidates)
	case n.GetColumnRef() != nil:
		return l.boolean(n, "t", candidates)
	}
	return nil
}

// boolean is a column of type bool that stands alone, or behind NOT.
func (l *level) boolean(n *pg.Node, value string, candidates []*source) []atom {
	if r := l.plain(n, candidates); r.class() == "bool" {
		return []atom{{left: r, values: []Value{{Const: value}}, class: "bool"}}
	}
	return nil
}

// equality is a = b, a IN (b, c) or a = ANY (b).
func (l *level) equality(e *pg.A_Expr, candidates []*source) []atom {
	if !isEquals(e.GetName()) && l.a.keeps(equalsOnly) {
		return nil
	}
	left := l.plain(e.GetLexpr(), candidates)
	switch e.GetKind() {
	case pg.A_Expr_Kind_AEXPR_OP:
		right := l.plain(e.GetRexpr(), candidates)
		switch {
		case left.source != nil && right.source != nil:
			return []atom{{left: left, right: right}}
		case left.source != nil:
			return l.single(left, e.GetRexpr())
		case right.source != nil:
			return l.single(right, e.GetLexpr())
		}
	case pg.A_Expr_Kind_AEXPR_IN:
		if left.source != nil {
			return l.several(left, e.GetRexpr().GetList().GetItems())
		}
	case pg.A_Expr_Kind_AEXPR_OP_ANY:
		if left.source != nil {
			return l.anyOf(left, e.GetRexpr())
		}
	}
	return nil
}

// isEquals tells whether an operator is the built-in =. One of that name in another schema may be written OPERATOR(s.=).
func isEquals(name []*pg.Node) bool {
	last := len(name) - 1
	if last < 0 || name[last].GetString_().GetSval() != "=" {
		return false
	}
	return last == 0 || last == 1 && name[0].GetString_().GetSval() == "pg_catalog"
}

func (l *level) single(r ref, n *pg.Node) []atom {
	if v, ok := l.value(n, r); ok {
		return []atom{{left: r, values: []Value{v}, class: r.class()}}
	}
	return nil
}

func (l *level) several(r ref, items []*pg.Node) []atom {
	a := atom{left: r, class: r.class()}
	for _, item := range items {
		v, ok := l.value(item, r)
		if !ok {
			return nil
		}
		if !slices.Contains(a.values, v) {
			a.values = append(a.values, v)
		}
	}
	if len(a.values) == 0 {
		return nil
	}
	if !l.a.keeps(everyValue) {
		a.values = a.values[:1]
	}
	return []atom{a}
}

// anyOf is an array parameter, or an array of values.
func (l *level) anyOf(r ref, n *pg.Node) []atom {
	if cast := n.GetTypeCast(); cast != nil {
		name, array := typeOf(cast.GetTypeName())
		if p := cast.GetArg().GetParamRef(); p != nil && array && name == "text" && r.class() == "text" && isTextType(r.typeName()) {
			return []atom{{left: r, values: []Value{{Param: int(p.GetNumber()), List: true}}, class: "text"}}
		}
		return nil
	}
	return l.several(r, n.GetAArrayExpr().GetElements())
}

func isTextType(name string) bool { return name == "text" || name == "character varying" }

// value reads a parameter with its cast, or a constant, that a column is compared with. ok is false if its text does not compare
// as the column's values do.
func (l *level) value(n *pg.Node, r ref) (v Value, ok bool) {
	class := r.class()
	if class == "" {
		return Value{}, false
	}
	if c := n.GetAConst(); c != nil {
		return l.constant(c, class, "")
	}
	cast := n.GetTypeCast()
	if cast == nil || len(cast.GetTypeName().GetTypmods()) > 0 {
		return Value{}, false
	}
	name, array := typeOf(cast.GetTypeName())
	if array {
		return Value{}, false
	}
	arg := cast.GetArg()
	if inner := arg.GetTypeCast(); inner != nil && name == r.typeName() {
		// $1::text::status: a label of an enum.
		if of, array := typeOf(inner.GetTypeName()); of != "text" || array || class != "text" || len(inner.GetTypeName().GetTypmods()) > 0 {
			return Value{}, false
		}
		arg, name = inner.GetArg(), "text"
	}
	if classes[name] != class && !(name == r.typeName() && class == "text") && l.a.keeps(sameType) {
		return Value{}, false
	}
	switch {
	case arg.GetParamRef() != nil:
		return Value{Param: int(arg.GetParamRef().GetNumber())}, true
	case arg.GetAConst() != nil:
		return l.constant(arg.GetAConst(), class, name)
	}
	return Value{}, false
}

// constant is a literal as Postgres prints a value of the class. cast is the type that it is cast to, "" for none.
func (l *level) constant(c *pg.A_Const, class, cast string) (Value, bool) {
	switch v := c.GetVal().(type) {
	case *pg.A_Const_Ival:
		if class == "bigint" {
			return Value{Const: strconv.FormatInt(int64(v.Ival.GetIval()), 10)}, true
		}
	case *pg.A_Const_Fval: // an integer that is too large for int
		if n, err := strconv.ParseInt(v.Fval.GetFval(), 10, 64); err == nil && class == "bigint" && cast == "" {
			return Value{Const: strconv.FormatInt(n, 10)}, true
		}
	case *pg.A_Const_Boolval:
		if class == "bool" {
			return Value{Const: map[bool]string{true: "t", false: "f"}[v.Boolval.GetBoolval()]}, true
		}
	case *pg.A_Const_Sval:
		return l.literal(v.Sval.GetSval(), class)
	}
	return Value{}, false
}

// literal is a quoted constant. Only the usual way of writing is taken; any other is no pin.
func (l *level) literal(s, class string) (Value, bool) {
	ok := false
	switch class {
	case "text":
		ok = true
	case "bigint":
		n, err := strconv.ParseInt(s, 10, 64)
		ok = err == nil && strconv.FormatInt(n, 10) == s
	case "bool":
		ok = s == "t" || s == "f"
		if s == "true" || s == "false" {
			s, ok = s[:1], true
		}
	case "date":
		d, err := time.Parse(time.DateOnly, s)
		ok = err == nil && d.Year() >= 1
	case "uuid":
		ok = isUUID(s)
	}
	return Value{Const: s}, ok || !l.a.keeps(canonical)
}

// isUUID tells whether s is a UUID as Postgres prints it.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// typeOf names a type as format_type does, as far as classes are concerned.
func typeOf(t *pg.TypeName) (name string, array bool) {
	for i, n := range t.GetNames() {
		part := n.GetString_().GetSval()
		if i == 0 && part == "pg_catalog" {
			continue
		}
		if name != "" {
			name += "."
		}
		name += part
	}
	internal := map[string]string{
		"int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean", "varchar": "character varying",
	}
	if long, ok := internal[name]; ok {
		name = long
	}
	return name, len(t.GetArrayBounds()) > 0
}

// pin is what a column was found to be pinned to.
type pin struct {
	values []Value
	class  string
}

// pinned finds the columns of a source that the atoms pin, also through other columns that they equal. Every atom holds of any
// combination of rows in which a row of this source matters.
func pinned(s *source, atoms []atom) map[string]pin {
	known := map[ref]pin{}
	set := func(r ref, p pin) bool {
		if there, ok := known[r]; r.class() != p.class || p.class == "" || ok && len(there.values) <= len(p.values) {
			return false
		}
		known[r] = p
		return true
	}
	for _, a := range atoms {
		if a.right.source == nil {
			set(a.left, pin{a.values, a.class})
		}
	}
	for changed := true; changed; {
		changed = false
		for _, a := range atoms {
			if a.right.source == nil || !carries(a) {
				continue
			}
			if p, ok := known[a.left]; ok && set(a.right, p) {
				changed = true
			}
			if p, ok := known[a.right]; ok && set(a.left, p) {
				changed = true
			}
		}
	}
	out := map[string]pin{}
	for r, p := range known {
		if r.source == s {
			out[r.column] = p
		}
	}
	return out
}

// carries tells whether an equality of two columns carries a pin from one to the other.
func carries(a atom) bool { return a.left.class() != "" && a.left.class() == a.right.class() }
