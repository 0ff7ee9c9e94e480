// Package plan turns cached queries and their arguments into questions for the cache: what an entry is called, which tags it depends
// on, and which generation of the catalog both were derived from.
//
// Whoever reads the cache, to serve it or to audit it, asks with these: two opinions of what an entry is called, or of what it depends
// on, would be two caches. It makes no decision about freshness, and it registers nothing.
package plan

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"freshet/cache"
	"freshet/internal/postgres"
	"freshet/query"
	"freshet/query/analysis"
)

// Set says what each cached query depends on. It is bound to the catalog's generation: one that was read from the cache before the
// catalog was read from Postgres. A change of a definition renews the generation in order with the data, and a reader compares it
// with every lookup: plans that do not know of the change are not used.
type Set struct {
	Generation string
	// Fingerprint is that of the catalog that they were made of.
	Fingerprint string
	// Of has a plan for each query that is cached.
	Of map[*query.Query]*Plan
	// Shapes are all that the queries need, each once, with the columns that any of them reads.
	Shapes []cache.Shape
}

// Plan is what one query depends on, or why it is not cached.
type Plan struct {
	Query *query.Query
	// Prefix is that of the names of its entries. Those of another version of its file, or of another search_path, have another one.
	Prefix   string
	Needs    []Need
	Warnings []string
	// Timed is that of query.Plan.
	Timed   bool
	Refused error
}

// Need is a shape that a query depends on; its values come from a request's parameters.
type Need struct {
	query.Need

	Shape cache.Shape
}

// Unbound is a generation that no cache has.
const Unbound = "?"

// Generation reads the catalog's generation from the cache, for New; Unbound if there is no cache, or nobody who keeps it. It is read
// before the catalog is: a change in between makes the plans fail the comparison, not pass it (cache/model: generationFirst).
func Generation(ctx context.Context, store *cache.Redis) string {
	generation, err := store.Catalog(ctx)
	if err != nil || generation == "" {
		return Unbound
	}
	return generation
}

// New makes plans of the catalog, which was read after the generation.
func New(generation string, catalog *analysis.Catalog, queries []*query.Query) *Set {
	s := &Set{Generation: generation, Fingerprint: catalog.Fingerprint(), Of: make(map[*query.Query]*Plan, len(queries))}
	// Names mean what the search_path says: a process with another one has entries of its own.
	path := crc32.ChecksumIEEE([]byte(strings.Join(catalog.SearchPath, "\x00")))
	for _, q := range queries {
		if !q.Cached() {
			continue
		}
		one := &Plan{Query: q, Prefix: fmt.Sprintf("%s@%s.%08x?", q.Name, q.Fingerprint(), path)}
		s.Of[q] = one
		derived, err := q.Plan(catalog)
		if err != nil {
			one.Refused = err
			continue
		}
		one.Warnings, one.Timed = derived.Warnings, derived.Timed
		for _, n := range derived.Needs {
			shape := cache.NewShape(n.Schema, n.Table, n.Columns...).Reading(n.Reads)
			one.Needs = append(one.Needs, Need{n, shape})
			s.Shapes = append(s.Shapes, shape)
		}
	}
	s.Shapes = cache.Union(s.Shapes)
	s.widen()
	return s
}

// widen lets every need have the columns that are registered for its shape: the union of what the queries read.
func (s *Set) widen() {
	byName := make(map[string]cache.Shape, len(s.Shapes))
	for _, shape := range s.Shapes {
		byName[shape.String()] = shape
	}
	for _, one := range s.Of {
		for i := range one.Needs {
			one.Needs[i].Shape = byName[one.Needs[i].Shape.String()]
		}
	}
}

// Request is the question for the cache that a read of the query with these arguments puts, if nothing is said about freshness.
// maxStaleness is the bound of queries that do not have their own.
func (s *Set) Request(p *Plan, args query.Args, maxStaleness time.Duration) cache.Request {
	q := p.Query
	field, name := entryName(p.Prefix + args.Key())
	return cache.Request{
		Field: field, Name: name, Tags: p.tags(args), Catalog: s.Generation, TTL: q.TTL,
		MaxStaleness: cmp.Or(q.MaxStaleness, maxStaleness), StaleIfError: q.StaleIfError,
	}
}

// tags are the tags of a request. There are none if the request names too many values: it is then not cached.
func (p *Plan) tags(args query.Args) []cache.Tag {
	all := make([]cache.Tag, 0, len(p.Needs))
	for _, n := range p.Needs {
		combinations, ok := n.Values(args)
		if !ok {
			return nil
		}
		for _, values := range combinations {
			tag := n.Shape.Tag(values...)
			if !slices.ContainsFunc(all, func(t cache.Tag) bool { return t.Name == tag.Name }) {
				all = append(all, tag)
			}
		}
	}
	return all
}

// WithEnd is the text of a query with where the WAL ends once its snapshot was taken: nothing that it sees can be later. It has the
// columns of postgres.EndColumns after its own.
func WithEnd(q *query.Query, source string) string {
	return "SELECT freshet_answer.body, " + postgres.EndColumns(source) + " FROM (\n" + q.Text + "\n) AS freshet_answer(body)"
}
