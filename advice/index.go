package advice

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// missingIndex finds tables that a query reads whole although it pins one of their columns, and no index begins with that.
func missingIndex(e *Evidence) (found []Finding) {
	if e.Postgres == nil {
		return nil
	}
	seen := map[string]int{} // index in found, by what is to be run: several queries may want one index
	for i := range e.Queries {
		q := &e.Queries[i]
		for _, plan := range e.Postgres.Plans[q.Name] {
			for _, scan := range plan.SeqScans {
				f := e.indexFor(q, plan, scan)
				if f == nil {
					continue
				}
				if at, there := seen[f.Remedy.Code]; !there {
					seen[f.Remedy.Code] = len(found)
					found = append(found, *f)
				} else if found[at].Subject != q.Name {
					found[at].Weight = min(found[at].Weight+f.Weight, 1)
					found[at].Evidence = append(found[at].Evidence, text("also reads all of it", q.Name))
				}
			}
		}
	}
	return found
}

// indexFor is the finding for one scan of a table; nil if an index would not help, or there is one already that the planner does not
// care for.
func (e *Evidence) indexFor(q *Query, plan Plan, scan SeqScan) *Finding {
	t := e.Postgres.table(scan.Table)
	if t == nil || t.Rows < ManyRows || scan.Rows > Selective*float64(t.Rows) {
		return nil
	}
	columns := filtered(q, t, scan)
	if len(columns) == 0 || e.Postgres.indexed(t.Name, columns[0]) {
		return nil
	}
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = identifier(c)
	}
	kind := "generic plan"
	if plan.Sample != "" {
		kind = "plan for " + plan.Sample
	}
	return &Finding{
		ID: "index.missing", Subject: q.Name, Severity: Warning, Weight: e.weight(q),
		Title: fmt.Sprintf("%s reads all of %s to find the rows of one %s", q.Name, t.Name, columns[0]),
		Evidence: []Fact{
			count("rows of the table", t.Rows), {Name: "rows that pass", Value: scan.Rows, Unit: "count", Text: grouped(int64(scan.Rows))},
			text("filter", scan.Filter), text("seen in", kind),
			count("times that the table was read whole", t.SeqScans), count("rows read so", t.SeqRows), duration("mean time in Postgres", q.MeanFill),
		},
		Remedy: Remedy{
			"Create the index. CONCURRENTLY blocks no writes; it cannot stand in a transaction, and if it fails it leaves an invalid index to be dropped.",
			fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s (%s);", qualified(t.Name), strings.Join(quoted, ", ")),
		},
	}
}

// filtered are the columns of the table that the query pins and the scan filters by, those with most values first: an index finds
// fewest rows by them.
func filtered(q *Query, t *Table, scan SeqScan) (columns []string) {
	for _, s := range q.Analysis.Shapes {
		if s.Table != t.Name {
			continue
		}
		for _, c := range s.Columns {
			if mentions(scan.Filter, c) && !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	slices.SortStableFunc(columns, func(a, b string) int { return cmp.Compare(t.DistinctOfColumn[b], t.DistinctOfColumn[a]) })
	// A column with a few values, behind one with many, makes an index larger and a search hardly shorter.
	return slices.DeleteFunc(columns, func(c string) bool {
		n, known := t.DistinctOfColumn[c]
		return c != columns[0] && known && n < 10
	})
}

// mentions tells whether an expression that Postgres prints names a column.
func mentions(expression, column string) bool {
	return regexp.MustCompile(`(^|[^\w$])` + regexp.QuoteMeta(identifier(column)) + `($|[^\w$])`).MatchString(expression)
}

// indexed tells whether some index finds rows by a value of the column.
func (p *Postgres) indexed(table, column string) bool {
	return slices.ContainsFunc(p.Indexes, func(i Index) bool {
		// An invalid one is another finding's; a partial one serves only some rows.
		return i.Table == table && !i.Partial && (i.Method == "btree" || i.Method == "hash") && len(i.Columns) > 0 && i.Columns[0] == column
	})
}

// invalidIndex finds indexes whose building has failed.
func invalidIndex(e *Evidence) (found []Finding) {
	if e.Postgres == nil {
		return nil
	}
	for _, i := range e.Postgres.Indexes {
		if !i.Valid {
			found = append(found, Finding{
				ID: "index.invalid", Subject: i.Name, Severity: Warning, Weight: e.weightOf(i.Table),
				Title:    fmt.Sprintf("The index %s is invalid: every write of %s maintains it, and no query can use it", i.Name, i.Table),
				Evidence: []Fact{size("size", i.Size), count("scans", i.Scans)},
				Remedy:   Remedy{"Building it has failed, or is still under way. If nobody is at it, build it again.", "REINDEX INDEX CONCURRENTLY " + qualified(i.Name) + ";"},
			})
		}
	}
	return found
}

// unusedIndex finds large indexes that no statement has used for long, and that nothing else needs.
func unusedIndex(e *Evidence) (found []Finding) {
	if e.Postgres == nil || e.Postgres.StatsAge < LongEnough {
		return nil
	}
	for _, i := range e.Postgres.Indexes {
		if i.Scans > 0 || i.Size < LargeIndex || i.Needed != "" || !i.Valid {
			continue
		}
		f := Finding{
			ID: "index.unused", Subject: i.Name, Severity: Info, Weight: e.weightOf(i.Table),
			Title:    fmt.Sprintf("No statement has used the index %s for %s", i.Name, days(e.Postgres.StatsAge)),
			Evidence: []Fact{size("size", i.Size), count("scans", i.Scans), duration("statistics count for", e.Postgres.StatsAge)},
			Remedy: Remedy{"Every write of " + i.Table + " maintains it. If nothing that runs only once in a while needs it, drop it.",
				"DROP INDEX CONCURRENTLY " + qualified(i.Name) + ";"},
		}
		if n := e.Postgres.Standbys; n > 0 {
			f.Evidence = append(f.Evidence, count("standbys, whose scans are not counted here", int64(n)))
			f.Remedy.Text += " Look at pg_stat_user_indexes on the standbys first."
		}
		found = append(found, f)
	}
	return found
}

// oldStatistics finds tables of our queries of which the planner has a wrong idea.
func oldStatistics(e *Evidence) (found []Finding) {
	if e.Postgres == nil {
		return nil
	}
	for _, t := range e.Postgres.Tables {
		weight := e.weightOf(t.Name)
		if t.Rows < ManyRows || weight == 0 || !t.NeverAnalyzed && per(t.ChangedSince, t.Rows) < OldStatistics {
			continue
		}
		f := Finding{
			ID: "statistics.old", Subject: t.Name, Severity: Warning, Weight: weight,
			Title:    fmt.Sprintf("The planner's statistics of %s are out of date: it may choose wrong plans", t.Name),
			Evidence: []Fact{count("rows", t.Rows), count("rows changed since it was analyzed", t.ChangedSince)},
			Remedy:   Remedy{"Have them made anew, and see that autovacuum is on and keeps up.", "ANALYZE " + qualified(t.Name) + ";"},
		}
		if t.NeverAnalyzed {
			f.Title = fmt.Sprintf("%s has never been analyzed: the planner guesses", t.Name)
		}
		found = append(found, f)
	}
	return found
}
