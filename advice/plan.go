package advice

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/query"
)

// plans asks for the plan that serves any values, and for that of a sample. Nothing is run.
func (g *gatherer) plans(ctx context.Context, tx pgx.Tx, t *Target) error {
	q := t.Query
	body := cmp.Or(t.Text, q.Text)
	generic, id, err := explainGeneric(ctx, tx, body, highestParam(q.SQL))
	if err != nil {
		return err
	}
	g.out.Plans[q.Name] = append(g.out.Plans[q.Name], generic)
	if id != 0 {
		g.queryID[id] = q.Name
	}
	args := t.Args
	if args == nil {
		if args = exampleOf(q); args == nil {
			return nil
		}
	}
	sample, err := explainSample(ctx, tx, body, *args)
	if err != nil {
		return err
	}
	sample.Sample = cmp.Or(args.Key(), "no parameters")
	sample.Explain = "EXPLAIN (ANALYZE, BUFFERS)\n" + withValues(q.SQL, args.Values()) + ";"
	g.out.Plans[q.Name] = append(g.out.Plans[q.Name], sample)
	return nil
}

// explainGeneric is EXPLAIN EXECUTE of a statement whose plan must be generic: NULLs stand for whatever may come.
func explainGeneric(ctx context.Context, tx pgx.Tx, body string, params int) (Plan, int64, error) {
	args := ""
	if params > 0 {
		args = "(" + strings.Repeat("NULL, ", params-1) + "NULL)"
	}
	// The simple protocol: a statement that the driver had prepared would be another one. DEALLOCATE, as PREPARE outlives the transaction.
	conn := tx.Conn().PgConn()
	if _, err := conn.Exec(ctx, "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE freshet_advice AS "+body).ReadAll(); err != nil {
		return Plan{}, 0, fmt.Errorf("prepare: %w", err)
	}
	results, err := conn.Exec(ctx, "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE freshet_advice"+args).ReadAll()
	if err != nil {
		// After an error nothing runs in this transaction any more; the statement has to go all the same.
		_, rollback := conn.Exec(ctx, "ROLLBACK; DEALLOCATE freshet_advice; BEGIN").ReadAll()
		return Plan{}, 0, errors.Join(fmt.Errorf("explain: %w", err), rollback)
	}
	if _, err := conn.Exec(ctx, "DEALLOCATE freshet_advice").ReadAll(); err != nil {
		return Plan{}, 0, fmt.Errorf("deallocate: %w", err)
	}
	return readPlan(results[0].Rows[0][0])
}

func explainSample(ctx context.Context, tx pgx.Tx, body string, args query.Args) (Plan, error) {
	var text []byte
	// Not prepared by name: the driver would keep it for ever.
	values := append([]any{pgx.QueryExecModeDescribeExec}, args.Values()...)
	if err := tx.QueryRow(ctx, "EXPLAIN (VERBOSE, FORMAT JSON) "+body, values...).Scan(&text); err != nil {
		return Plan{}, fmt.Errorf("explain with a sample: %w", err)
	}
	plan, _, err := readPlan(text)
	return plan, err
}

// node is one of EXPLAIN (VERBOSE, FORMAT JSON).
type node struct {
	Type     string  `json:"Node Type"`
	Schema   string  `json:"Schema"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Filter   string  `json:"Filter"`
	Cost     float64 `json:"Total Cost"`
	Rows     float64 `json:"Plan Rows"`
	Plans    []node  `json:"Plans"`
}

// readPlan reads a plan, and the id that pg_stat_statements gives its statement; 0 if compute_query_id is off.
func readPlan(text []byte) (Plan, int64, error) {
	var plans []struct {
		Plan node  `json:"Plan"`
		ID   int64 `json:"Query Identifier"`
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		return Plan{}, 0, fmt.Errorf("read the plan: %w", err)
	}
	if len(plans) != 1 {
		return Plan{}, 0, fmt.Errorf("read the plan: %d instead of one", len(plans))
	}
	p := Plan{Cost: plans[0].Plan.Cost}
	costliest := -1.0
	plans[0].Plan.walk(func(n *node) {
		if n.Type == "Seq Scan" && n.Schema != "" {
			p.SeqScans = append(p.SeqScans, SeqScan{Table: n.Schema + "." + n.Relation, Filter: n.Filter, Rows: n.Rows})
		}
		if own := n.own(); own > costliest {
			costliest, p.Costliest = own, n.String()
		}
	})
	if p.Cost > 0 {
		p.Share = min(costliest/p.Cost, 1)
	}
	return p, plans[0].ID, nil
}

func (n *node) walk(do func(*node)) {
	do(n)
	for i := range n.Plans {
		n.Plans[i].walk(do)
	}
}

// own is what the node costs without what is below it.
func (n *node) own() float64 {
	cost := n.Cost
	for i := range n.Plans {
		cost -= n.Plans[i].Cost
	}
	return max(cost, 0)
}

// String is Seq Scan on public.blogs, or Index Scan using blogs_pkey on public.blogs.
func (n *node) String() string {
	s := n.Type
	if n.Index != "" {
		s += " using " + n.Index
	}
	if n.Relation != "" {
		s += " on " + n.Schema + "." + n.Relation
	}
	return s
}

// exampleOf are the parameters of the path that the query's file gives as its example; nil if there is none, or it does not fit.
func exampleOf(q *query.Query) *query.Args {
	u, err := url.Parse(q.Example)
	if err != nil || q.Example == "" {
		return nil
	}
	pattern, path := strings.Split(q.Path, "/"), strings.Split(u.EscapedPath(), "/")
	if len(pattern) != len(path) {
		return nil
	}
	values := query.Values{Path: map[string]string{}, Query: u.Query()}
	for i, part := range pattern {
		name, is := strings.CutPrefix(part, ":")
		if !is {
			continue
		}
		if values.Path[name], err = url.PathUnescape(path[i]); err != nil {
			return nil
		}
	}
	args, err := q.Bind(values)
	if err != nil {
		return nil
	}
	return &args
}

// withValues puts values in the places of $1, $2, ...: a statement that a person can run.
func withValues(sql string, values []any) string {
	return numbered.ReplaceAllStringFunc(sql, func(s string) string {
		n, err := strconv.Atoi(s[1:])
		if err != nil || n < 1 || n > len(values) {
			return s
		}
		switch v := values[n-1].(type) {
		case string:
			return literal(v)
		case []string:
			quoted := make([]string, len(v))
			for i, e := range v {
				quoted[i] = literal(e)
			}
			return "ARRAY[" + strings.Join(quoted, ", ") + "]"
		}
		return "NULL"
	})
}

// literal is a constant, in standard SQL; a backslash is an ordinary character (standard_conforming_strings).
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// statementsSQL leaves out what is no query: such statements are kept as they were sent, passwords included. A query of ours may
// have the text of the PREPARE that asked for its plan: the extension keeps the one that it sees first. It may be in any schema.
const statementsSQL = `
SELECT s.queryid, min(s.query), sum(s.calls)::bigint, sum(s.total_exec_time)::float8, sum(s.rows)::bigint, sum(s.shared_blks_read)::bigint
FROM %s.pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.queryid IS NOT NULL
  AND (s.queryid = ANY ($1) OR s.query ~* '^\s*(/\*[^*]*\*/\s*)?\(*\s*(select|with|insert|update|delete|merge|values)\M')
GROUP BY s.queryid
ORDER BY s.queryid = ANY ($1) DESC, sum(s.total_exec_time) DESC
LIMIT $2`

// maxStatements is how many statements of others are looked at: those that took most time.
const maxStatements = 20

// statements reads pg_stat_statements, if it is installed here and loaded by the server.
func (g *gatherer) statements(ctx context.Context, tx pgx.Tx) error {
	var schema string
	// The setting is there if the library is loaded; whether it is in shared_preload_libraries, not every role may see.
	err := tx.QueryRow(ctx, `SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
		WHERE e.extname = 'pg_stat_statements' AND current_setting('pg_stat_statements.max', true) IS NOT NULL`).Scan(&schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	ids := make([]int64, 0, len(g.queryID))
	for id := range g.queryID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	rows, err := tx.Query(ctx, fmt.Sprintf(statementsSQL, identifier(schema)), ids, maxStatements+len(ids))
	if err != nil {
		return err
	}
	g.out.Statements, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Statement, err error) {
		var id int64
		var total float64 // milliseconds
		err = row.Scan(&id, &s.Text, &s.Calls, &total, &s.Rows, &s.Read)
		s.Query = g.queryID[id]
		s.Total = time.Duration(total * float64(time.Millisecond))
		s.Mean = s.Total / time.Duration(max(s.Calls, 1))
		return s, err
	})
	return err
}
