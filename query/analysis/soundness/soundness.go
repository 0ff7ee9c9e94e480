// Package soundness looks by machine for a stale answer that package analysis would let through: it makes random schemas, random
// SELECTs and random writes, runs every SELECT before and after every write on a real Postgres, and compares. If a result has
// changed, the dependencies that the analysis derived must have cleared it; if they would not have, the case is made as small as
// possible and shown.
//
// It owns the generator and the judge. It must never share code with the analysis: a mistake made twice would be invisible.
package soundness

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"freshet/query/analysis"
)

// Analyze is the analysis under test: [analysis.Analyze], or one that is broken on purpose.
type Analyze func(*analysis.Catalog, string) (*analysis.Result, error)

// Options say how much is tried. The same seed makes the same cases.
type Options struct {
	Seed  uint64
	Pairs int // of a query and a write
	// Queries and Writes are how many of each one schema sees; 50 and 10 if zero.
	Queries, Writes int
	// Analyze is the analysis that has to be sound; [analysis.Analyze] if nil.
	Analyze Analyze
	// Suspects are analyses by name of which it is only noted when they are first caught.
	Suspects map[string]Analyze
	// Done, if set, ends the run early: it is asked after every write.
	Done func(*Report) bool
}

// Report counts what was tried.
type Report struct {
	Schemas, Queries, Writes, Pairs int
	// Discarded are generated queries that Postgres did not accept.
	Discarded int
	// Pinned are the dependencies with at least one pin, of all.
	Pinned, Dependencies int
	// Changed are pairs whose result was another one after the write, Cleared those that the dependencies clear, and TableCleared
	// those that one bucket a table would clear.
	Changed, Cleared, TableCleared int
	// Caught tells, for each suspect, after how many pairs it let a changed result stand.
	Caught map[string]int
}

// String is the report in three lines.
func (r *Report) String() string {
	share := func(a, b int) float64 { return 100 * float64(a) / float64(max(b, 1)) }
	return fmt.Sprintf("%d pairs of %d queries and %d writes in %d schemas; %d results changed; %d queries discarded\n"+
		"precision: of %d results cleared %.1f %% had changed; with one bucket a table, of %d results %.1f %%\n"+
		"%d of %d dependencies are pinned", r.Pairs, r.Queries, r.Writes, r.Schemas, r.Changed, r.Discarded,
		r.Cleared, share(r.Changed, r.Cleared), r.TableCleared, share(r.Changed, r.TableCleared), r.Pinned, r.Dependencies)
}

// Run tries Options.Pairs pairs. The connection's database is its own: the schemas app, other and freshet_log are dropped and made
// again. A [*StaleError] among the errors is a stale answer; any other is one of the connection or the generator.
func Run(ctx context.Context, conn *pgx.Conn, o Options) (*Report, error) {
	if o.Analyze == nil {
		o.Analyze = analysis.Analyze
	}
	if o.Queries == 0 || o.Writes == 0 {
		o.Queries, o.Writes = 50, 10
	}
	const settings = "SET search_path = app, other; SET plan_cache_mode = force_generic_plan; SET jit = off; SET timezone = 'UTC'; " +
		"SET client_min_messages = error; SET max_parallel_workers_per_gather = 0"
	if _, err := conn.Exec(ctx, settings); err != nil {
		return nil, fmt.Errorf("set the session up: %w", err)
	}
	r := &Report{Caught: map[string]int{}}
	for n := uint64(0); r.Pairs < o.Pairs && !(o.Done != nil && o.Done(r)); n++ {
		rd := &round{conn: conn, o: o, report: r, rng: rand.New(rand.NewPCG(o.Seed, n)), number: n}
		if err := rd.run(ctx); err != nil {
			return r, fmt.Errorf("seed %d, schema %d: %w", o.Seed, n, err)
		}
	}
	return r, nil
}
