package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"freshet/query/analysis"
)

// Report is what can be said of a query file without running it.
type Report struct {
	Name   string `json:"name"`
	File   string `json:"file,omitempty"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Refused says why the query cannot be served; empty if it can.
	Refused string       `json:"refused,omitempty"`
	Depends []NeedReport `json:"depends,omitempty"`
	// Warnings are sentences for people, each with what would help.
	Warnings []string `json:"warnings,omitempty"`
	Plan     *Explain `json:"plan,omitempty"`
}

// NeedReport is one dependency of a query.
type NeedReport struct {
	Table string `json:"table"` // schema.table
	// Shape is the table with its pinned columns, blogs(id); Bucket the key of its buckets, with the parameters' names for values.
	Shape  string   `json:"shape"`
	Bucket string   `json:"bucket"`
	Reads  []string `json:"reads"`
	// Coarse is true if any change of the table's columns that are read clears the result.
	Coarse bool `json:"coarse"`
}

// Explain is Postgres's generic plan of the statement.
type Explain struct {
	Cost float64 `json:"cost"` // in the planner's units
	// Indexes and SeqScans name the indexes that are used and the tables that are read whole.
	Indexes  []string `json:"indexes,omitempty"`
	SeqScans []string `json:"seq_scans,omitempty"`
}

// Check reports on a query. An error is one of the connection; what is wrong with the query is in the report.
func (q *Query) Check(ctx context.Context, conn *pgx.Conn, c *analysis.Catalog) (Report, error) {
	r := Report{Name: q.Name, File: q.File, Method: q.Method, Path: q.Path}
	err := q.Prepare(ctx, conn)
	if err == nil && q.Cached() {
		err = q.reportPlan(c, &r)
	}
	if _, bad := errors.AsType[*Error](err); bad {
		r.Refused = err.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Plan, err = explain(ctx, conn, q.SQL, q.numberedParams())
	return r, err
}

func (q *Query) reportPlan(c *analysis.Catalog, r *Report) error {
	plan, err := q.Plan(c)
	if err != nil {
		return err
	}
	r.Warnings = plan.Warnings
	for _, n := range plan.Needs {
		r.Depends = append(r.Depends, q.describe(n))
	}
	return nil
}

func (q *Query) numberedParams() (n int) {
	for _, p := range q.Params {
		n = max(n, p.n)
	}
	return n
}

func (q *Query) describe(n Need) NeedReport {
	r := NeedReport{
		Table: n.Schema + "." + n.Table, Reads: n.Reads, Coarse: len(n.Columns) == 0,
		Shape: n.Table + "(" + strings.Join(n.Columns, ", ") + ")",
	}
	pins := make([]string, len(n.Columns))
	for i, column := range n.Columns {
		var values []string
		for _, v := range n.values[i] {
			if v.param < 0 {
				values = append(values, v.text)
			} else {
				values = append(values, "<"+q.Params[v.param].Name+">")
			}
		}
		pins[i] = column + "=" + strings.Join(values, "|")
	}
	r.Bucket = "freshet:" + r.Table + ":" + strings.Join(pins, "&")
	return r
}

// explain asks for the plan that serves any values: EXPLAIN EXECUTE of a statement whose plan must be generic.
func explain(ctx context.Context, conn *pgx.Conn, sql string, params int) (*Explain, error) {
	var out *Explain
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		args := ""
		if params > 0 {
			args = "(" + strings.Repeat("NULL, ", params-1) + "NULL)"
		}
		script := "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE freshet_check AS " + sql
		if _, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll(); err != nil {
			return err
		}
		results, err := tx.Conn().PgConn().Exec(ctx, "EXPLAIN (FORMAT JSON) EXECUTE freshet_check"+args+"; DEALLOCATE freshet_check").ReadAll()
		if err != nil {
			return err
		}
		out, err = readPlan(results[0].Rows[0][0])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	return out, nil
}

// planNode is a node of EXPLAIN (FORMAT JSON).
type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Cost     float64    `json:"Total Cost"`
	Plans    []planNode `json:"Plans"`
}

func readPlan(text []byte) (*Explain, error) {
	var plans []struct {
		Plan planNode `json:"Plan"`
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	e := &Explain{Cost: plans[0].Plan.Cost}
	e.add(plans[0].Plan)
	slices.Sort(e.Indexes)
	slices.Sort(e.SeqScans)
	e.Indexes, e.SeqScans = slices.Compact(e.Indexes), slices.Compact(e.SeqScans)
	return e, nil
}

func (e *Explain) add(n planNode) {
	if n.Index != "" {
		e.Indexes = append(e.Indexes, n.Index)
	}
	if n.Type == "Seq Scan" {
		e.SeqScans = append(e.SeqScans, n.Relation)
	}
	for _, below := range n.Plans {
		e.add(below)
	}
}
