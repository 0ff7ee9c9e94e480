package audit

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/cache"
	"freshet/internal/postgres"
	"freshet/query"
	"freshet/query/analysis"
)

// plans say what each query depends on, as in the api: bound to the generation of the catalog that was read from the cache before
// the catalog was read from Postgres.
type plans struct {
	generation string
	of         map[string]*plan // by the query's name
	made       time.Time
}

// plan is one query.
type plan struct {
	query *query.Query
	// prefix is that of the names of its entries: those of another version of its file, or of another search_path, have another one.
	prefix string
	needs  []need
	// sql is the query, and where the WAL ended once its snapshot had been taken.
	sql     string
	timed   bool
	refused error
}

type need struct {
	query.Need
	shape cache.Shape
}

// unbound is a generation that no cache has.
const unbound = "?"

// makePlans analyzes the queries as the definitions are now. It registers nothing: what is not registered is not cached.
func (a *Auditor) makePlans(ctx context.Context) (*plans, error) {
	// The generation before the catalog (cache/model: generationFirst).
	generation, err := a.cfg.Store.Catalog(ctx)
	if err != nil || generation == "" {
		generation = unbound
	}
	var catalog *analysis.Catalog
	err = a.cfg.Pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		catalog, err = analysis.ReadCatalog(ctx, conn.Conn())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions: %w", err)
	}
	p := &plans{generation: generation, of: map[string]*plan{}, made: time.Now()}
	var shapes []cache.Shape
	path := crc32.ChecksumIEEE([]byte(strings.Join(catalog.SearchPath, "\x00")))
	for _, q := range a.cfg.Queries {
		if !q.Cached() {
			continue
		}
		one := &plan{
			query: q, prefix: fmt.Sprintf("%s@%s.%08x?", q.Name, q.Fingerprint(), path),
			sql: "SELECT freshet_answer.body, " + postgres.EndColumns(a.cfg.Source) + " FROM (\n" + q.Text + "\n) AS freshet_answer(body)",
		}
		p.of[q.Name] = one
		derived, err := q.Plan(catalog)
		if err != nil {
			one.refused = err
			continue
		}
		one.timed = derived.Timed()
		for _, n := range derived.Needs {
			shape := cache.NewShape(n.Schema, n.Table, n.Columns...).Reading(n.Reads)
			one.needs = append(one.needs, need{n, shape})
			shapes = append(shapes, shape)
		}
	}
	p.widen(cache.Union(shapes))
	return p, nil
}

// widen lets every need have the columns that an api registers for its shape: the union of what its queries read.
func (p *plans) widen(shapes []cache.Shape) {
	byName := make(map[string]cache.Shape, len(shapes))
	for _, s := range shapes {
		byName[s.String()] = s
	}
	for _, one := range p.of {
		for i := range one.needs {
			one.needs[i].shape = byName[one.needs[i].shape.String()]
		}
	}
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
	*plan
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
	// unreadable entries have names that were too long, and are hashed.
	unreadable = "named by a hash: its parameters are not known"
)

// identify finds out which question an entry answers; reason says why it cannot be judged.
func (a *Auditor) identify(p *plans, place cache.Place) (s *subject, reason string) {
	name, rest, ok := strings.Cut(place.Field, "@")
	_, key, marked := strings.Cut(rest, "?")
	if !ok || !marked {
		return nil, foreignName
	}
	one := p.of[name]
	switch {
	case one == nil:
		return nil, foreignQuery
	case !strings.HasPrefix(place.Field, one.prefix):
		return nil, foreignVersion
	case one.refused != nil:
		return nil, foreignRefused
	case strings.HasPrefix(key, "~"): // no parameter's name begins so
		return nil, unreadable
	}
	args, err := one.query.ParseKey(key)
	if err != nil {
		return nil, foreignParameter
	}
	s = &subject{plan: one, args: args, req: a.request(p, one, args)}
	if len(s.req.Tags) == 0 || s.req.Tags[0].Name != place.Tag {
		return nil, foreignElsewhere
	}
	return s, ""
}

// request is the question for the cache, as the api puts it.
func (a *Auditor) request(p *plans, one *plan, args query.Args) cache.Request {
	return cache.Request{
		Field: one.prefix + args.Key(), TTL: one.query.TTL, Tags: one.tags(args), Catalog: p.generation,
		MaxStaleness: cmp.Or(one.query.MaxStaleness, a.cfg.MaxStaleness), OnlyIfCached: true,
	}
}

// tags are the tags of a request; none if it names too many values.
func (p *plan) tags(args query.Args) (all []cache.Tag) {
	for _, n := range p.needs {
		combinations, ok := n.Values(args)
		if !ok {
			return nil
		}
		for _, values := range combinations {
			tag := n.shape.Tag(values...)
			if !slices.ContainsFunc(all, func(t cache.Tag) bool { return t.Name == tag.Name }) {
				all = append(all, tag)
			}
		}
	}
	return all
}
