package advice

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"freshet/query"
	"freshet/query/analysis"
)

// Analyzer finds out how well queries can be cached. It holds the catalog as it is, and as it would be if the log told all old values.
type Analyzer struct {
	actual, full *analysis.Catalog
}

// NewAnalyzer reads the catalog.
func NewAnalyzer(ctx context.Context, conn *pgx.Conn) (*Analyzer, error) {
	actual, err := analysis.ReadCatalog(ctx, conn)
	if err != nil {
		return nil, err
	}
	full, err := analysis.ReadCatalog(ctx, conn) // another copy: it is changed below
	if err != nil {
		return nil, err
	}
	return &Analyzer{actual, full}, nil
}

// Analyze says what a read depends on, and what would make that finer. The error is that of [query.Query.Plan]: the query cannot be
// cached at all.
func (a *Analyzer) Analyze(q *query.Query) (Analysis, error) {
	plan, err := q.Plan(a.actual)
	if err != nil {
		return Analysis{}, err
	}
	for _, n := range plan.Needs {
		logAll(a.full.Find(n.Schema, n.Table))
	}
	out := Analysis{Timed: plan.Timed, Params: paramsOf(q)}
	var rewrites []rewrite // found once, if anything is coarse
	for _, n := range plan.Needs {
		s := Shape{
			Table: n.Schema + "." + n.Table, Name: n.Table + "(" + list(n.Columns) + ")", Columns: n.Columns, Reads: n.Reads,
		}
		relation := a.actual.Find(n.Schema, n.Table)
		switch caution := relation.Caution(); {
		case caution != "":
			s.Flaw, s.Reason, s.Remedy, s.Certain = UnknownOldValues, caution, everyPartition(relation), true
		case len(n.Columns) == 0:
			if rewrites == nil {
				rewrites = a.rewrites(q)
			}
			s.Flaw = Coarse
			a.explainCoarse(q, &s, relation, rewrites)
		case a.constant(q, relation):
			if why, remedy := unpinned(q, a.actual, relation); why != "" {
				s.Flaw, s.Reason, s.Remedy = Constant, why, remedy
			}
		}
		out.Shapes = append(out.Shapes, s)
	}
	return out, nil
}

// logAll lets a relation of the catalog that may be changed have all its old values in the log, as REPLICA IDENTITY FULL does.
func logAll(r *analysis.Relation) {
	for i := range r.Columns {
		r.Columns[i].Logged = !r.Columns[i].Generated
	}
}

// everyPartition gives all partitions REPLICA IDENTITY FULL; psql's \gexec runs what the statement returns.
func everyPartition(r *analysis.Relation) Remedy {
	return Remedy{
		"Let every partition tell its old values, new ones too. It makes the WAL of updates and deletes larger.",
		fmt.Sprintf("SELECT format('ALTER TABLE %%s REPLICA IDENTITY FULL', relid::regclass) FROM pg_partition_tree('%s') WHERE isleaf \\gexec",
			strings.ReplaceAll(qualified(r.String()), "'", "''")),
	}
}

// explainCoarse says why nothing of a table is pinned: the log lacks the old values, or the statement does not say it in a way that can be
// used. What it proposes has been tried with the analysis.
func (a *Analyzer) explainCoarse(q *query.Query, s *Shape, r *analysis.Relation, rewrites []rewrite) {
	if columns := a.pins(a.full, q.SQL, r); len(columns) > 0 && r.Kind == 'r' {
		s.Reason = fmt.Sprintf("%s is pinned, but the old row of a change does not have it: the log has only the replica identity", list(columns))
		s.Remedy = Remedy{
			"Let the log have the whole old row. It makes the WAL of updates and deletes larger; the statement waits for transactions that use the table.",
			"ALTER TABLE " + qualified(r.String()) + " REPLICA IDENTITY FULL;",
		}
		s.Certain = true
		return
	}
	for _, w := range rewrites {
		columns := a.pins(a.full, w.sql, r)
		if len(columns) == 0 {
			continue
		}
		s.Reason = w.why
		s.Remedy = w.remedy
		if len(a.pins(a.actual, w.sql, r)) == 0 {
			s.Remedy.Text += " The log must have the old row, too."
			s.Remedy.Code += "\nALTER TABLE " + qualified(r.String()) + " REPLICA IDENTITY FULL;"
		}
		s.Certain = true
		return
	}
	s.Reason, s.Remedy = reasonOf(q, a.actual, r)
}

// pins are the columns by which every occurrence of a table in the statement is pinned; none if one of them is not.
func (a *Analyzer) pins(c *analysis.Catalog, sql string, r *analysis.Relation) (columns []string) {
	result, err := analysis.Analyze(c, sql)
	if err != nil {
		return nil
	}
	for _, d := range result.Dependencies {
		if d.Relation.String() != r.String() {
			continue
		}
		if len(d.Pins) == 0 {
			return nil
		}
		for _, p := range d.Pins {
			columns = append(columns, p.Column)
		}
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}

// constant tells whether a table is pinned by constants only.
func (a *Analyzer) constant(q *query.Query, r *analysis.Relation) bool {
	result, err := analysis.Analyze(a.actual, q.SQL)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(result.Dependencies, func(d analysis.Dependency) bool {
		return d.Relation == r && slices.ContainsFunc(d.Pins, func(p analysis.Pin) bool {
			return slices.ContainsFunc(p.Values, func(v analysis.Value) bool { return v.Param > 0 })
		})
	})
}

// paramsOf lists what makes requests of a query different, that with most values first.
func paramsOf(q *query.Query) []Param {
	var out []Param
	for i := range q.Params {
		p := &q.Params[i]
		one := Param{Name: p.Name, Type: string(p.Type)}
		switch {
		case p.OneOf != nil:
			one.Values = int64(len(p.OneOf))
		case p.Type == query.TypeBool:
			one.Values = 2
		case p.Type != query.TypeTextArray && p.Min != nil && p.Max != nil:
			one.Values = *p.Max - *p.Min + 1
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(x, y Param) int {
		if (x.Values == 0) != (y.Values == 0) {
			return cmp.Compare(x.Values, y.Values) // no bound is the widest
		}
		return cmp.Compare(y.Values, x.Values)
	})
	return out
}
