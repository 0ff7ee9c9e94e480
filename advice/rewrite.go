package advice

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"freshet/query"
	"freshet/query/analysis"
)

// rewrite is a condition of a statement, written in another way that pins a column.
type rewrite struct {
	sql    string // the whole statement with it
	why    string // it pins nothing as it is
	remedy Remedy
}

// rewrites proposes other ways to write a query's conditions. Whether one makes a shape finer, the analysis has to say.
func (a *Analyzer) rewrites(q *query.Query) (all []rewrite) {
	tree, err := pg.Parse(q.SQL)
	if err != nil {
		return nil
	}
	names := tables(a.actual, tree)
	visit(tree, func(m any) {
		node, ok := m.(*pg.Node)
		if !ok {
			return
		}
		for _, propose := range []func(*query.Query, *pg.Node, *scope) (proposal, bool){optional, coalesced, miscast} {
			p, ok := propose(q, node, names)
			if !ok {
				continue
			}
			before := node.Node
			was := expression(q, node)
			node.Node = p.instead.Node
			sql, err := pg.Deparse(tree)
			is := expression(q, node)
			node.Node = before
			if err == nil {
				all = append(all, p.rewrite(q, sql, was, is))
			}
		}
	})
	// The order in which a message's fields are visited is not defined.
	slices.SortFunc(all, func(x, y rewrite) int { return strings.Compare(x.sql, y.sql) })
	return all
}

// proposal is a condition to be written instead of another one, with a declaration that goes with it.
type proposal struct {
	instead *pg.Node
	why     string // "%s" is the condition as it is
	text    string
	declare string
}

func (p proposal) rewrite(q *query.Query, sql, was, is string) rewrite {
	code := "-- instead of: " + was + "\n" + is
	if p.declare != "" {
		code = p.declare + "\n" + code
	}
	where := q.File
	if where == "" {
		where = "the query " + q.Name
	}
	return rewrite{sql: sql, why: fmt.Sprintf(p.why, was), remedy: Remedy{fmt.Sprintf(p.text, where), code}}
}

// optional is ":p IS NULL OR column = :p", a condition that can be switched off.
func optional(q *query.Query, n *pg.Node, _ *scope) (p proposal, ok bool) {
	b := n.GetBoolExpr()
	if b.GetBoolop() != pg.BoolExprType_OR_EXPR || len(b.GetArgs()) != 2 {
		return p, false
	}
	for i, arg := range b.GetArgs() {
		test := arg.GetNullTest()
		number := param(test.GetArg())
		other := b.GetArgs()[1-i]
		if number == 0 || test.GetNulltesttype() != pg.NullTestType_IS_NULL || !equals(other) {
			continue
		}
		if e := other.GetAExpr(); param(e.GetLexpr()) == number || param(e.GetRexpr()) == number {
			return switchedOff(q, other, number), true
		}
	}
	return p, false
}

// coalesced is "column = coalesce(:p, column)", another way to write the same.
func coalesced(q *query.Query, n *pg.Node, _ *scope) (p proposal, ok bool) {
	if !equals(n) {
		return p, false
	}
	e := n.GetAExpr()
	for _, side := range [][2]*pg.Node{{e.GetLexpr(), e.GetRexpr()}, {e.GetRexpr(), e.GetLexpr()}} {
		args := side[1].GetCoalesceExpr().GetArgs()
		if side[0].GetColumnRef() == nil || len(args) != 2 || param(args[0]) == 0 || args[1].GetColumnRef() == nil {
			continue
		}
		return switchedOff(q, pg.MakeAExprNode(pg.A_Expr_Kind_AEXPR_OP, e.GetName(), side[0], args[0], -1), param(args[0])), true
	}
	return p, false
}

func switchedOff(q *query.Query, instead *pg.Node, number int) proposal {
	p := proposal{
		instead: instead,
		why:     "%s pins nothing, as it holds of any row when the parameter is absent",
		text:    "Make two query files of %s: one with this condition, whose parameter is required, and one without the condition, on a route of its own.",
	}
	if of := paramAt(q, number); of != nil {
		p.declare = "-- param: " + of.Name + " " + string(of.Type)
	}
	return p
}

// miscast is "column = :p" where the parameter is declared with a type whose values compare in another way.
func miscast(q *query.Query, n *pg.Node, names *scope) (p proposal, ok bool) {
	if !equals(n) {
		return p, false
	}
	e := proto.Clone(n).(*pg.Node).GetAExpr()
	for _, side := range [][2]*pg.Node{{e.GetLexpr(), e.GetRexpr()}, {e.GetRexpr(), e.GetLexpr()}} {
		_, column := names.column(side[0])
		of := paramAt(q, param(side[1]))
		declared := declaredAs[column.typeName()]
		if of == nil || declared == "" || string(of.Type) == declared || side[1].GetTypeCast() == nil {
			continue
		}
		cast, err := pg.Parse("SELECT NULL::" + declared)
		if err != nil {
			continue
		}
		target := cast.GetStmts()[0].GetStmt().GetSelectStmt().GetTargetList()[0].GetResTarget().GetVal().GetTypeCast()
		side[1].GetTypeCast().TypeName = target.GetTypeName()
		return proposal{
			instead: &pg.Node{Node: &pg.Node_AExpr{AExpr: e}},
			why:     "%s pins nothing, as a " + string(of.Type) + " is compared with a column of type " + column.Type,
			text:    "Declare the parameter in %s with the type of the column.",
			declare: "-- param: " + of.Name + " " + declared,
		}, true
	}
	return p, false
}

// declaredAs is the type of a parameter that pins a column of a type.
var declaredAs = map[string]string{
	"text": "text", "character varying": "text", "smallint": "int", "integer": "int", "bigint": "bigint", "boolean": "bool", "uuid": "uuid", "date": "date",
}

// column of a table; the zero value is none.
type columnOf struct{ *analysis.Column }

func (c columnOf) typeName() string {
	if c.Column == nil {
		return ""
	}
	return c.Type
}

// scope is what the names of tables in a statement mean, at whatever level they are. It is for explaining only.
type scope struct {
	byAlias map[string]*analysis.Relation
}

func tables(c *analysis.Catalog, tree *pg.ParseResult) *scope {
	s := &scope{map[string]*analysis.Relation{}}
	visit(tree, func(m any) {
		v, ok := m.(*pg.RangeVar)
		if !ok {
			return
		}
		if r := c.Find(v.GetSchemaname(), v.GetRelname()); r != nil {
			name := v.GetRelname()
			if alias := v.GetAlias().GetAliasname(); alias != "" {
				name = alias
			}
			s.byAlias[name] = r
		}
	})
	return s
}

// column finds what a reference means; nil if it is none, or if several tables have a column of that name.
func (s *scope) column(n *pg.Node) (*analysis.Relation, columnOf) {
	fields := n.GetColumnRef().GetFields()
	if len(fields) == 0 {
		return nil, columnOf{}
	}
	name := fields[len(fields)-1].GetString_().GetSval()
	if len(fields) > 1 {
		r := s.byAlias[fields[len(fields)-2].GetString_().GetSval()]
		if r == nil {
			return nil, columnOf{}
		}
		return r, columnOf{r.Column(name)}
	}
	var relation *analysis.Relation
	for _, r := range s.byAlias {
		if r.Column(name) == nil || r == relation {
			continue
		}
		if relation != nil {
			return nil, columnOf{}
		}
		relation = r
	}
	if relation == nil {
		return nil, columnOf{}
	}
	return relation, columnOf{relation.Column(name)}
}

// equals tells whether a node is a = b.
func equals(n *pg.Node) bool {
	e := n.GetAExpr()
	return e.GetKind() == pg.A_Expr_Kind_AEXPR_OP && len(e.GetName()) == 1 && e.GetName()[0].GetString_().GetSval() == "=" && e.GetLexpr() != nil
}

// param is n of $n, or of $n::type; 0 for anything else.
func param(n *pg.Node) int {
	if cast := n.GetTypeCast(); cast != nil {
		n = cast.GetArg()
	}
	return int(n.GetParamRef().GetNumber())
}

// paramAt is the parameter that is $n in the statement: those that it uses are numbered in the order of their declaration.
func paramAt(q *query.Query, n int) *query.Param {
	used := q.Params
	if highest := highestParam(q.SQL); highest != len(used) {
		// The others only pin a dependency that is declared.
		used = slices.DeleteFunc(slices.Clone(used), func(p query.Param) bool {
			return slices.ContainsFunc(q.Depends, func(d query.Dependency) bool {
				return slices.ContainsFunc(d.Columns, func(pin query.Pin) bool { return pin.Param == p.Name })
			})
		})
	}
	if n < 1 || n > len(used) {
		return nil
	}
	return &used[n-1]
}

var numbered = regexp.MustCompile(`\$(\d+)`)

func highestParam(sql string) (highest int) {
	for _, m := range numbered.FindAllStringSubmatch(sql, -1) {
		n, _ := strconv.Atoi(m[1])
		highest = max(highest, n)
	}
	return highest
}

var castParam = regexp.MustCompile(`\$(\d+)::[a-z]+(\[\])?`)

// expression prints a condition as a query file has it, with :name for $n.
func expression(q *query.Query, n *pg.Node) string {
	frame, err := pg.Parse("SELECT 1")
	if err != nil {
		return "the condition"
	}
	frame.GetStmts()[0].GetStmt().GetSelectStmt().GetTargetList()[0].GetResTarget().Val = n
	sql, err := pg.Deparse(frame)
	if err != nil {
		return "the condition"
	}
	return castParam.ReplaceAllStringFunc(strings.TrimPrefix(sql, "SELECT "), func(s string) string {
		number, _ := strconv.Atoi(numbered.FindStringSubmatch(s)[1])
		if p := paramAt(q, number); p != nil {
			return ":" + p.Name
		}
		return s
	})
}

// visit calls do for each message of a parse tree.
func visit(m proto.Message, do func(m any)) {
	if m == nil || !m.ProtoReflect().IsValid() {
		return
	}
	do(m)
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
