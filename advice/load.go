package advice

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// busyPool finds a pool that is nearly used up.
func busyPool(e *Evidence) []Finding {
	p := e.Pool
	if p == nil || p.Max == 0 || float64(p.InUse) < BusyPool*float64(p.Max) {
		return nil
	}
	use := float64(p.InUse) / float64(p.Max)
	f := Finding{
		ID: "pool.busy", Subject: "pool", Severity: Warning, Weight: 1,
		Title: fmt.Sprintf("The pool of connections to Postgres is used to %s", percent(use)),
		Evidence: []Fact{
			ratio("use", use), count("connections in use", int64(p.InUse)), count("connections at most", int64(p.Max)),
			count("requests that waited for one", p.Waits),
		},
	}
	if p.Waits > 0 {
		f.Evidence = append(f.Evidence, duration("mean wait", p.Waited/time.Duration(p.Waits)))
	}
	if p.InUse >= p.Max && p.Waits > 0 {
		f.Severity = Critical
	}
	larger := int(math.Ceil(float64(p.InUse) / CalmPool))
	f.Remedy = Remedy{"Make the queries that miss most faster, or hit more often (see the other findings); or let the pool grow.",
		fmt.Sprintf("DB_MAX_CONNECTIONS=%d", larger)}
	if pg := e.Postgres; pg != nil && pg.MaxConnections > 0 {
		f.Evidence = append(f.Evidence, count("connections of the server", int64(pg.Connections)), count("max_connections", int64(pg.MaxConnections)))
		if pg.Connections+larger-p.InUse > pg.MaxConnections {
			f.Remedy.Text += " The server admits no more: raise its limit first, and restart it."
			f.Remedy.Code = fmt.Sprintf("ALTER SYSTEM SET max_connections = %d;\n%s", pg.MaxConnections+larger, f.Remedy.Code)
		}
	}
	return []Finding{f}
}

// slowQueries finds queries that take Postgres long, or make their users wait.
func slowQueries(e *Evidence) (found []Finding) {
	for i := range e.Queries {
		q := &e.Queries[i]
		if q.Requests < MinRequests || q.MeanFill < SlowFill && q.P99 < SlowP99 {
			continue
		}
		f := Finding{
			ID: "query.slow", Subject: q.Name, Severity: Warning, Weight: e.weight(q),
			Title: fmt.Sprintf("%s takes Postgres %s on average, and one request in a hundred %s or more", q.Name, short(q.MeanFill), short(q.P99)),
			Evidence: []Fact{
				duration("mean time in Postgres", q.MeanFill), duration("p99 of its requests", q.P99), count("requests", q.Requests), count("misses", q.Misses),
			},
			Remedy: Remedy{Text: "See where the time goes, and whether an index is missing (another finding says so)."},
		}
		if q.MeanFill < SlowFill {
			f.Title = fmt.Sprintf("%s: one request in a hundred takes %s or more, though Postgres needs %s", q.Name, short(q.P99), short(q.MeanFill))
			f.Remedy.Text = "The time goes into waiting for a connection, for a lock or for Redis: see the pool, and pg_stat_activity while it is slow."
			f.Remedy.Code = "SELECT wait_event_type, wait_event, count(*) FROM pg_stat_activity WHERE state = 'active' GROUP BY 1, 2 ORDER BY 3 DESC;"
		}
		e.addPlan(&f, q)
		found = append(found, f)
	}
	return found
}

// addPlan says what Postgres does for a slow query.
func (e *Evidence) addPlan(f *Finding, q *Query) {
	if e.Postgres == nil {
		return
	}
	for _, s := range e.Postgres.Statements {
		if s.Query == q.Name {
			f.Evidence = append(f.Evidence, count("runs, by pg_stat_statements", s.Calls), duration("mean, by pg_stat_statements", s.Mean),
				count("blocks read from disk", s.Read))
		}
	}
	for _, p := range e.Postgres.Plans[q.Name] {
		if p.Costliest != "" {
			f.Evidence = append(f.Evidence, Fact{
				Name: "share of the costliest step of the " + p.kind(), Value: p.Share, Unit: "ratio", Text: percent(p.Share) + ": " + p.Costliest,
			})
		}
		f.Remedy.Code = cmp.Or(f.Remedy.Code, p.Explain)
	}
}

// kind names a plan.
func (p *Plan) kind() string {
	if p.Sample == "" {
		return "generic plan"
	}
	return "plan for " + p.Sample
}

// slowStatements finds statements of others that keep the server busy: what Freshet's queries wait for too.
func slowStatements(e *Evidence) (found []Finding) {
	if e.Postgres == nil {
		return nil
	}
	for _, s := range e.Postgres.Statements {
		if s.Query != "" || s.Calls < MinCalls || s.Mean < SlowP99 {
			continue
		}
		found = append(found, Finding{
			ID: "statement.slow", Subject: shortened(s.Text, 60), Severity: Info,
			Title: fmt.Sprintf("A statement that is no query of Freshet's takes Postgres %s each time", short(s.Mean)),
			Evidence: []Fact{
				count("runs", s.Calls), duration("mean time", s.Mean), duration("time in all", s.Total), count("rows", s.Rows), count("blocks read from disk", s.Read),
				text("statement", shortened(s.Text, 1000)),
			},
			Remedy: Remedy{"It shares the server with the queries. If it is a read, a query file makes it a cached one; or see how Postgres runs it.",
				e.Postgres.explain(s.Text)},
		})
	}
	return found
}

// explain asks for the plan of a statement of pg_stat_statements, which has $1 for each constant. It does not run it: it may write.
func (p *Postgres) explain(statement string) string {
	if p.Version >= 160000 {
		return "EXPLAIN (GENERIC_PLAN) " + statement
	}
	if strings.Contains(statement, "$1") {
		return "-- with values for $1, $2, ...\nEXPLAIN " + statement
	}
	return "EXPLAIN " + statement
}

// shortened is the beginning of a text, in one line.
func shortened(s string, runes int) string {
	out := make([]rune, 0, runes)
	space := false
	for _, r := range s {
		if r == ' ' || r == '\n' || r == '\t' || r == '\r' {
			space = len(out) > 0
			continue
		}
		if space {
			out, space = append(out, ' '), false
		}
		if len(out) >= runes {
			return string(out[:runes]) + "..."
		}
		out = append(out, r)
	}
	return string(out)
}
