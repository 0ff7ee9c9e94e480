package advice

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"freshet/query"
	"freshet/query/analysis"
)

// reasonOf says why nothing pins a table where no rewrite was found that would: what its columns are compared with, and how. The remedy is
// for people: only they know what the query is for.
func reasonOf(q *query.Query, c *analysis.Catalog, r *analysis.Relation) (string, Remedy) {
	s := readConditions(q, c, r)
	if len(s.conditions) > 0 {
		return s.conditions[0].explain(q, r)
	}
	if s.joined || s.tables > 1 {
		return fmt.Sprintf("%s is joined, and no column of it equals a parameter or a constant", r), Remedy{Text: fmt.Sprintf(
			"If a request knows the row of %s, pass its key as a parameter and compare it, in %s; or let %s be a query of its own, and join the two answers in "+
				"the application. What changes rarely can stay as it is.", r, fileOf(q), r)}
	}
	return fmt.Sprintf("no condition of the statement says which rows of %s count", r), Remedy{Text: fmt.Sprintf(
		"A list of everything changes with everything. If a part of it is enough, add a condition with = to %s; if the table changes rarely, it can stay as it is.", fileOf(q))}
}

// unpinned says why no parameter pins a table that one is compared with; "" if none is.
func unpinned(q *query.Query, c *analysis.Catalog, r *analysis.Relation) (string, Remedy) {
	for _, cond := range readConditions(q, c, r).conditions {
		if cond.param {
			return cond.explain(q, r)
		}
	}
	return "", Remedy{}
}

// conditions are what a statement says about a table.
type conditions struct {
	conditions []condition // in the order of their texts
	joined     bool        // a column of it equals one of another table
	tables     int         // of the statement
}

func readConditions(q *query.Query, c *analysis.Catalog, r *analysis.Relation) (s conditions) {
	tree, err := pg.Parse(q.SQL)
	if err != nil {
		return s
	}
	names := tables(c, tree)
	s.tables = len(names.byAlias)
	visit(tree, func(m any) {
		node, ok := m.(*pg.Node)
		if !ok || node.GetAExpr() == nil {
			return
		}
		e := node.GetAExpr()
		left, _ := names.column(e.GetLexpr())
		right, _ := names.column(e.GetRexpr())
		s.joined = s.joined || left != nil && right != nil && left != right && (left == r || right == r)
		if column, param := columnWithin(names, e, r); column != "" && isComparison(e) {
			s.conditions = append(s.conditions, condition{column, param, e, expression(q, node)})
		}
	})
	slices.SortFunc(s.conditions, func(x, y condition) int { return strings.Compare(x.text, y.text) })
	return s
}

// isComparison leaves out what computes a value: a + 1 is no condition.
func isComparison(e *pg.A_Expr) bool {
	switch e.GetKind() {
	case pg.A_Expr_Kind_AEXPR_OP:
		return strings.ContainsAny(operator(e), "=<>@&~?") && !strings.HasPrefix(operator(e), "-")
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		return false
	}
	return true
}

func operator(e *pg.A_Expr) string {
	names := e.GetName()
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1].GetString_().GetSval()
}

// condition compares a column of the table with something, and pins nothing.
type condition struct {
	column string
	param  bool // it is compared with a parameter
	e      *pg.A_Expr
	text   string
}

// explain says why it pins nothing.
func (c condition) explain(q *query.Query, r *analysis.Relation) (string, Remedy) {
	operator := operator(c.e)
	column := r.Column(c.column)
	wrapped := c.e.GetLexpr().GetColumnRef() == nil && c.e.GetRexpr().GetColumnRef() == nil
	switch {
	case operator == "@>" || operator == "&&" || operator == "<@" || strings.HasSuffix(column.Type, "[]"):
		return fmt.Sprintf("%s compares a column that holds several values, and only = pins one", c.text), Remedy{
			fmt.Sprintf("Keep the values of %s in a table of their own, a row each, and let %s read that with =. Its rows then say which results a change is about; "+
				"join %s in a query of its own, by its key.", c.column, fileOf(q), r), valuesTable(r, column),
		}
	case operator != "=":
		return fmt.Sprintf("%s is no equality, and only = pins a column", c.text), Remedy{Text: fmt.Sprintf(
			"Any row may come into such a range. If the rows of one owner, status or day are meant, compare that column with =, too, in %s.", fileOf(q))}
	case wrapped:
		return fmt.Sprintf("%s compares what is computed from %s, which the log does not have", c.text, c.column), Remedy{
			fmt.Sprintf("Store what is compared in a plain column, which a trigger keeps (a generated column is not in the log), and compare that in %s.", fileOf(q)),
			fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s text;", qualified(r.String()), identifier(c.column+"_key")),
		}
	case column.Class == "":
		return fmt.Sprintf("%s pins nothing: values of the type %s can be equal and written differently", c.text, column.Type), Remedy{Text: fmt.Sprintf(
			"Compare a column of type text, bigint, uuid, date or boolean instead, in %s.", fileOf(q))}
	}
	return fmt.Sprintf("%s pins nothing where it stands: below OR or NOT, or on the side of an outer join that is kept", c.text), Remedy{Text: fmt.Sprintf(
		"Let it stand in WHERE, joined by AND, in %s; what is behind OR can be a query of its own.", fileOf(q))}
}

// columnWithin is the column of the table that one side of a comparison names, if there is a parameter or a constant in it too; "" if
// there is none.
func columnWithin(names *scope, e *pg.A_Expr, r *analysis.Relation) (found string, param bool) {
	value := false
	for _, side := range []*pg.Node{e.GetLexpr(), e.GetRexpr()} {
		if side == nil {
			continue
		}
		visit(side, func(m any) {
			n, ok := m.(*pg.Node)
			if !ok {
				return
			}
			if of, c := names.column(n); of == r && c.Column != nil {
				found = c.Name
			}
			param = param || n.GetParamRef() != nil
			value = value || n.GetParamRef() != nil || n.GetAConst() != nil
		})
	}
	if !value {
		return "", false
	}
	return found, param
}

func fileOf(q *query.Query) string {
	if q.File != "" {
		return q.File
	}
	return "the query " + q.Name
}

// valuesTable makes a table of the values that a column holds, for rows that are known by their id; "" for others.
func valuesTable(r *analysis.Relation, column *analysis.Column) string {
	id, element := r.Column("id"), strings.TrimSuffix(column.Type, "[]")
	if id == nil || element == column.Type {
		return ""
	}
	table := identifier(r.Schema) + "." + identifier(r.Name+"_"+column.Name)
	// blogs, blog_id.
	key := identifier(strings.TrimSuffix(r.Name, "s") + "_id")
	return fmt.Sprintf("CREATE TABLE %s (%s %s NOT NULL REFERENCES %s (id) ON DELETE CASCADE, value %s NOT NULL, PRIMARY KEY (value, %s));\n"+
		"ALTER TABLE %s REPLICA IDENTITY FULL;", table, key, id.Type, qualified(r.String()), element, key, table)
}
