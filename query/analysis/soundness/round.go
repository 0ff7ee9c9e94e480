package soundness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"freshet/query/analysis"
)

// round is one schema with its queries and writes.
type round struct {
	conn    *pgx.Conn
	o       Options
	report  *Report
	rng     *rand.Rand
	number  uint64
	schema  *schema
	catalog *analysis.Catalog
	queries []*candidate
}

// candidate is a query that Postgres accepts, with what the analysis says of it.
type candidate struct {
	query
	choices  []int
	name     string // of the prepared statement
	deps     []analysis.Dependency
	suspects map[string]*analysis.Result // what the suspects say, each asked when first needed
	result   string
}

func (r *round) run(ctx context.Context) error {
	if err := r.conn.DeallocateAll(ctx); err != nil {
		return fmt.Errorf("forget the statements: %w", err)
	}
	if err := r.makeSchema(ctx); err != nil {
		return err
	}
	if err := r.makeQueries(ctx); err != nil {
		return err
	}
	r.report.Schemas++
	for range r.o.Writes {
		if r.report.Pairs >= r.o.Pairs || r.o.Done != nil && r.o.Done(r.report) {
			return nil
		}
		if err := r.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) makeSchema(ctx context.Context) error {
	r.schema = newSchema(newDraw(r.rng))
	if _, err := r.conn.Exec(ctx, strings.Join(r.schema.ddl, ";\n")); err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	for i := range 3 {
		v, sql := r.schema.newView(newDraw(r.rng), fmt.Sprintf("v%d", i))
		if sql == "" {
			continue
		}
		if _, err := r.conn.Exec(ctx, sql); err == nil {
			r.schema.views = append(r.schema.views, v)
			r.schema.ddl = append(r.schema.ddl, sql)
		} else if !isPostgres(err) {
			return fmt.Errorf("make a view: %w", err)
		}
	}
	var err error
	r.catalog, err = analysis.ReadCatalog(ctx, r.conn)
	return err
}

// isPostgres tells whether it is the server that complains.
func isPostgres(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e)
}

// makeQueries makes queries until there are enough that Postgres accepts and answers soon.
func (r *round) makeQueries(ctx context.Context) error {
	if _, err := r.conn.Exec(ctx, "SET statement_timeout = '200ms'"); err != nil {
		return err
	}
	for tries := 0; len(r.queries) < r.o.Queries && tries < 10*r.o.Queries; tries++ {
		d := newDraw(r.rng)
		c := &candidate{query: newQuery(d, r.schema), choices: d.taken, name: fmt.Sprintf("q%d_%d", r.number, tries)}
		_, err := r.conn.Prepare(ctx, c.name, c.wrapped())
		if err == nil {
			err = r.conn.QueryRow(ctx, c.name, c.params...).Scan(&c.result)
		}
		if isPostgres(err) {
			r.report.Discarded++
			continue
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", c.sql, err)
		}
		if c.result == "" && r.rng.IntN(4) > 0 {
			continue // most queries without a row are too narrow for any write to matter
		}
		if err := r.analyze(c); err != nil {
			return err
		}
		r.queries = append(r.queries, c)
		r.report.Queries++
	}
	_, err := r.conn.Exec(ctx, "SET statement_timeout = '10s'")
	return err
}

// wrapped makes the result one text: the rows in their order if that counts, else sorted.
func (q *query) wrapped() string {
	order := ` ORDER BY q::text COLLATE "C"`
	if q.ordered {
		order = ""
	}
	return "SELECT coalesce(string_agg(q::text, E'\\n'" + order + "), '') FROM (" + q.sql + ") q"
}

func (r *round) analyze(c *candidate) error {
	result, err := r.o.Analyze(r.catalog, c.sql)
	if err != nil {
		return fmt.Errorf("the analysis refuses %s: %w", c.sql, err)
	}
	c.deps = result.Dependencies
	for _, d := range c.deps {
		r.report.Dependencies++
		if len(d.Pins) > 0 {
			r.report.Pinned++
		}
	}
	return nil
}

// write makes one transaction and judges every query by it.
func (r *round) write(ctx context.Context) error {
	d := newDraw(r.rng)
	stale, err := r.apply(ctx, newWrite(d, r.schema))
	if stale == nil || err != nil {
		return err
	}
	return r.shrink(ctx, stale.choices, d.taken)
}

// apply runs the statements of a transaction, judges every query, and commits. If a stale answer is found, it rolls back instead and
// returns the query.
func (r *round) apply(ctx context.Context, statements []string) (*candidate, error) {
	if _, err := r.conn.Exec(ctx, "BEGIN; "+strings.Join(statements, "; ")); err != nil {
		return nil, fmt.Errorf("write %s: %w", strings.Join(statements, "; "), err)
	}
	changes, results, err := r.observe(ctx)
	if isPostgres(err) && len(results) < len(r.queries) {
		// A query that fails over these rows only (which collation to compare with is found out late): it goes, and the write too.
		r.report.Discarded++
		r.queries = slices.Delete(r.queries, len(results), len(results)+1)
		_, err := r.conn.Exec(ctx, "ROLLBACK")
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	r.report.Writes++
	for i, c := range r.queries {
		r.report.Pairs++
		if results[i] != c.result {
			r.suspect(c, changes)
		}
		if c.judge(changes, results[i], r.report) {
			continue
		}
		_, err := r.conn.Exec(ctx, "ROLLBACK")
		return c, err
	}
	_, err = r.conn.Exec(ctx, "DELETE FROM freshet_log.changes; COMMIT")
	return nil, err
}

// judge returns false if the result is another one and would not have been cleared.
func (c *candidate) judge(changes []change, result string, report *Report) bool {
	cleared, table := clearedBy(c.deps, c.params, changes)
	if cleared {
		report.Cleared++
	}
	if table {
		report.TableCleared++
	}
	if result == c.result {
		return true
	}
	c.result = result
	report.Changed++
	return cleared
}

// suspect notes which of the suspects would have let the query's result stand.
func (r *round) suspect(c *candidate, changes []change) {
	if c.suspects == nil {
		c.suspects = map[string]*analysis.Result{}
	}
	for name, suspect := range r.o.Suspects {
		if _, caught := r.report.Caught[name]; caught {
			continue
		}
		if _, known := c.suspects[name]; !known {
			result, err := suspect(r.catalog, c.sql)
			if err != nil {
				result = nil // it refuses the query, which is sound
			}
			c.suspects[name] = result
		}
		if s := c.suspects[name]; s != nil {
			if cleared, _ := clearedBy(s.Dependencies, c.params, changes); !cleared {
				r.report.Caught[name] = r.report.Pairs
			}
		}
	}
}

// clearedBy tells whether the changes clear a result, and whether one bucket a table would.
func clearedBy(deps []analysis.Dependency, params []any, changes []change) (cleared, table bool) {
	for _, c := range changes {
		cleared = cleared || clears(deps, params, c)
		for _, d := range deps {
			table = table || d.Relation.String() == c.relation
		}
	}
	return cleared, table
}

// observe reads the changes of the transaction, and the results of all queries, in one round trip. If one of the queries fails, it
// returns the results of those before it.
func (r *round) observe(ctx context.Context) ([]change, []string, error) {
	batch := &pgx.Batch{}
	batch.Queue(readChanges)
	for _, c := range r.queries {
		batch.Queue(c.name, c.params...)
	}
	answers := r.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }()
	rows, err := answers.Query()
	if err != nil {
		return nil, nil, fmt.Errorf("read the changes: %w", err)
	}
	changes, err := r.changes(rows)
	if err != nil {
		return nil, nil, fmt.Errorf("read the changes: %w", err)
	}
	results := make([]string, 0, len(r.queries))
	for _, c := range r.queries {
		var result string
		if err := answers.QueryRow().Scan(&result); err != nil {
			return nil, results, fmt.Errorf("run %s: %w", c.sql, err)
		}
		results = append(results, result)
	}
	return changes, results, nil
}

const readChanges = "SELECT relation, leaf, op, old, new FROM freshet_log.changes ORDER BY seq"

// changes reads rows of the log.
func (r *round) changes(rows pgx.Rows) ([]change, error) {
	var c change
	var leaf string
	var before, after []*string
	var out []change
	_, err := pgx.ForEachRow(rows, []any{&c.relation, &leaf, &c.op, &before, &after}, func() error {
		at := slices.IndexFunc(r.schema.tables, func(t *table) bool { return t.full() == c.relation })
		t := r.schema.tables[at]
		c.old, c.new = t.row(before), t.row(after)
		c.old = t.known(leaf, c)
		out = append(out, c)
		return nil
	})
	return out, err
}

func (t *table) row(values []*string) row {
	if values == nil {
		return nil
	}
	out := row{}
	for i, c := range t.logged() {
		out[bare(c.name)] = values[i]
	}
	return out
}
