package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/cache"
	"freshet/query"
	"freshet/query/analysis"
	"freshet/query/plan"
)

// plans say what each query depends on, as in the api.
type plans struct {
	*plan.Set

	byName map[string]*planned
	made   time.Time
}

// planned is one query.
type planned struct {
	*plan.Plan

	// sql is the query, and where the WAL ended once its snapshot had been taken.
	sql string
}

// makePlans analyzes the queries as the definitions are now. It registers nothing: what is not registered is not cached.
func (a *Auditor) makePlans(ctx context.Context) (*plans, error) {
	generation := plan.Generation(ctx, a.cfg.Store)
	p := &plans{byName: map[string]*planned{}, made: time.Now()}
	err := a.cfg.Pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
		if err != nil {
			return err
		}
		p.Set = plan.New(generation, catalog, a.cfg.Queries)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions: %w", err)
	}
	for q, one := range p.Of {
		p.byName[q.Name] = &planned{one, plan.WithEnd(q, a.cfg.Source)}
	}
	return p, nil
}

// replanPause is the shortest time between two analyses.
const replanPause = 200 * time.Millisecond

// outOfDate makes the plans anew, because a definition has changed.
func (a *Auditor) outOfDate(ctx context.Context) {
	if !a.replan.TryLock() {
		return // somebody is at it
	}
	defer a.replan.Unlock()
	if time.Since(a.plans.Load().made) < replanPause {
		return
	}
	p, err := a.makePlans(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.failed("the definitions could not be read again", err)
		}
		return
	}
	a.plans.Store(p)
}

// subject is an entry that can be judged: the question that it answers.
type subject struct {
	*planned

	args query.Args
	req  cache.Request
}

// The reasons why an entry is not judged: it is none that an api with these queries would ever look at, or its name does not say what
// it answers.
const (
	foreignName      = "not named like an entry"
	foreignQuery     = "of a query that is not here"
	foreignVersion   = "of another version of its query's file, or of another search_path"
	foreignParameter = "of parameters that its query does not admit"
	foreignRefused   = "of a query that cannot be cached now"
	foreignElsewhere = "in a bucket where nobody looks for it"
	// unreadable entries have names that were too long, and are hashed, and nothing is kept with them that has this hash.
	unreadable = "named by a hash: its parameters are not known"
)

// find finds the query that an entry is of; reason says why there is none.
func (p *plans) find(field string) (one *planned, reason string) {
	name, rest, ok := strings.Cut(field, "@")
	if !ok || !strings.Contains(rest, "?") {
		return nil, foreignName
	}
	one = p.byName[name]
	switch {
	case one == nil:
		return nil, foreignQuery
	case !strings.HasPrefix(field, one.Prefix):
		return nil, foreignVersion
	case one.Refused != nil:
		return nil, foreignRefused
	}
	return one, ""
}

// identify finds out which question an entry answers; reason says why it cannot be judged. An error is one of Redis.
func (a *Auditor) identify(ctx context.Context, p *plans, place cache.Place) (s *subject, reason string, err error) {
	one, reason := p.find(place.Field)
	if reason != "" {
		return nil, reason, nil
	}
	whole := place.Field
	if one.Hashed(place.Field) {
		if whole, err = a.cfg.Store.EntryName(ctx, place); err != nil {
			return nil, "", err
		}
		if whole == "" {
			return nil, unreadable, nil
		}
	}
	args, ok := one.Args(whole)
	if !ok {
		return nil, foreignParameter, nil
	}
	s = &subject{planned: one, args: args, req: a.request(p, one, args)}
	switch {
	case s.req.Field != place.Field: // kept with an entry that it is not the name of
		return nil, unreadable, nil
	case len(s.req.Tags) == 0 || s.req.Tags[0].Name != place.Tag:
		return nil, foreignElsewhere, nil
	}
	return s, "", nil
}

// request is the question for the cache, as the api puts it, for nothing but the cache.
func (a *Auditor) request(p *plans, one *planned, args query.Args) cache.Request {
	req := p.Request(one.Plan, args, a.cfg.MaxStaleness)
	req.OnlyIfCached = true
	return req
}
