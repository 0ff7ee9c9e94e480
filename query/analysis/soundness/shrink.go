package soundness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"freshet/query/analysis"
)

// StaleError is a stale answer: a result that a write changed, with dependencies that do not clear it.
type StaleError struct {
	Schema  []string // the statements that make it; rows come apart
	Rows    map[string][]string
	Query   string
	Params  []any
	Write   []string
	Before  string
	After   string
	Depends []analysis.Dependency
}

// Error shows the case.
func (f *StaleError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "a stale answer\n-- schema\n%s\n-- rows\n", strings.Join(f.Schema, ";\n"))
	for table, rows := range f.Rows {
		fmt.Fprintf(&b, "%s: %s\n", table, strings.Join(rows, " "))
	}
	fmt.Fprintf(&b, "-- query, params %q\n%s\n-- depends on\n", f.Params, f.Query)
	for _, d := range f.Depends {
		fmt.Fprintf(&b, "%s reading %v\n", d.Key(), d.Reads)
	}
	fmt.Fprintf(&b, "-- write\n%s\n-- before\n%s\n-- after\n%s\n", strings.Join(f.Write, ";\n"), f.Before, f.After)
	return b.String()
}

// shrinkTries bounds how many smaller queries and writes are tried.
const shrinkTries = 2000

// shrink makes a failing case smaller and returns it as a [*StaleError]: it takes out of the choices that made the query and the write
// what is not needed to fail, then rows of the tables.
func (r *round) shrink(ctx context.Context, choices, writes []int) error {
	s := &shrinker{round: r, tries: shrinkTries}
	if f, err := s.try(ctx, choices, newWrite(replay(writes), r.schema)); err != nil {
		return err
	} else if f == nil {
		return fmt.Errorf("a stale answer that does not come back: the generator is not deterministic: %s", newQuery(replay(choices), r.schema).sql)
	}
	for size := 0; size != len(choices)+len(writes)+sum(choices)+sum(writes); {
		size = len(choices) + len(writes) + sum(choices) + sum(writes)
		choices = s.smaller(ctx, choices, func(c []int) bool { return s.fails(ctx, c, writes) })
		writes = s.smaller(ctx, writes, func(w []int) bool { return s.fails(ctx, choices, w) })
	}
	statements := newWrite(replay(writes), r.schema)
	for i := range slices.Backward(statements) {
		if fewer := slices.Delete(slices.Clone(statements), i, i+1); s.failsWith(ctx, choices, fewer) {
			statements = fewer
		}
	}
	for _, t := range r.schema.tables {
		for id := 1; id <= 9; id++ {
			s.without = append(s.without, fmt.Sprintf("DELETE FROM %s WHERE id = %d", t.full(), id))
			if !s.failsWith(ctx, choices, statements) {
				s.without = s.without[:len(s.without)-1]
			}
		}
	}
	f, err := s.try(ctx, choices, statements)
	if err != nil {
		return err
	}
	f.Schema = r.schema.neededFor(f)
	return f
}

type shrinker struct {
	*round
	tries   int
	without []string // statements that take rows away first
}

func (s *shrinker) fails(ctx context.Context, choices, writes []int) bool {
	s.tries--
	return s.tries >= 0 && s.failsWith(ctx, choices, newWrite(replay(writes), s.schema))
}

func (s *shrinker) failsWith(ctx context.Context, choices []int, statements []string) bool {
	f, err := s.try(ctx, choices, statements)
	return err == nil && f != nil
}

// smaller takes out chunks of a sequence, then makes its numbers smaller, as long as the case fails.
func (s *shrinker) smaller(_ context.Context, seq []int, fails func([]int) bool) []int {
	for chunk := len(seq) / 2; chunk > 0; chunk /= 2 {
		for at := 0; at+chunk <= len(seq); {
			if shorter := slices.Delete(slices.Clone(seq), at, at+chunk); fails(shorter) {
				seq = shorter
				continue
			}
			at += chunk
		}
	}
	for i := range seq {
		for _, v := range []int{0, seq[i] / 2, seq[i] - 1} {
			if v < 0 || v >= seq[i] {
				continue
			}
			lower := slices.Clone(seq)
			lower[i] = v
			if fails(lower) {
				seq = lower
				break
			}
		}
	}
	return seq
}

func sum(seq []int) (n int) {
	for _, v := range seq {
		n += v
	}
	return n
}

// try runs the case of the choices in a transaction that is rolled back. It returns nil if the case is sound, or none at all.
func (s *shrinker) try(ctx context.Context, choices []int, statements []string) (*StaleError, error) {
	q := newQuery(replay(choices), s.schema)
	result, err := s.o.Analyze(s.catalog, q.sql)
	if err != nil {
		return nil, nil
	}
	f := &StaleError{Rows: map[string][]string{}, Query: q.sql, Params: q.params, Write: statements, Depends: result.Dependencies}
	if _, err := s.conn.Exec(ctx, strings.Join(append([]string{"BEGIN"}, s.without...), "; ")); err != nil {
		return nil, err
	}
	defer func() { _, _ = s.conn.Exec(ctx, "ROLLBACK") }()
	changes, err := s.run(ctx, q, f)
	if isPostgres(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if cleared, _ := clearedBy(f.Depends, f.Params, changes); cleared || f.Before == f.After {
		return nil, nil
	}
	return f, nil
}

// run fills in the results before and after, and the rows before.
func (s *shrinker) run(ctx context.Context, q query, f *StaleError) ([]change, error) {
	if _, err := s.conn.Exec(ctx, "DELETE FROM freshet_log.changes"); err != nil {
		return nil, err
	}
	for _, t := range s.schema.tables {
		var rows []string
		if err := s.conn.QueryRow(ctx, "SELECT array_agg(t::text) FROM "+t.full()+" t").Scan(&rows); err != nil {
			return nil, err
		}
		if rows != nil {
			f.Rows[t.full()] = rows
		}
	}
	// Not prepared: the statement is used twice, and its parameters are untyped texts.
	if err := s.conn.QueryRow(ctx, q.wrapped(), q.params...).Scan(&f.Before); err != nil {
		return nil, err
	}
	if _, err := s.conn.Exec(ctx, strings.Join(f.Write, "; ")); err != nil {
		return nil, err
	}
	rows, err := s.conn.Query(ctx, readChanges)
	if err != nil {
		return nil, err
	}
	changes, err := s.changes(rows)
	if err != nil {
		return nil, err
	}
	return changes, s.conn.QueryRow(ctx, q.wrapped(), q.params...).Scan(&f.After)
}

// neededFor lists the statements that make what a failure mentions: without rows, triggers and log.
func (s *schema) neededFor(f *StaleError) []string {
	text := f.Query + strings.Join(f.Write, " ")
	var out []string
	for _, sql := range slices.Backward(s.ddl) { // what a view reads was made before it
		name := ""
		switch words := strings.Fields(sql); {
		case strings.Contains(sql, "freshet_log") || words[0] == "INSERT":
			continue
		case words[1] == "VIEW" || words[1] == "TABLE":
			// A partition, t0_1, is needed for the table that it belongs to.
			name, _, _ = strings.Cut(words[2][strings.Index(words[2], ".")+1:], "_")
		}
		if strings.Contains(text, name) {
			out = append(out, sql)
			if strings.HasPrefix(sql, "CREATE VIEW") {
				text += sql
			}
		}
	}
	slices.Reverse(out)
	return out
}
