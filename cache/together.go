package cache

import (
	"context"
	"slices"
	"time"
)

// Together is what GetAll answers: several results as they were at one moment.
type Together struct {
	Answers []*Answer
	// Mark is one that nothing in the answers is later than.
	Mark Mark
	// Status is Hit if all of them come from the cache, else Miss or Bypass.
	Status Status
	// Reason says why the cache was bypassed.
	Reason string
	// Stale is true of answers that are older than they should be, given because Postgres is unavailable.
	Stale bool
}

// FillAll runs the queries of all requests in one snapshot, taken after it is called, on the primary.
type FillAll func(ctx context.Context) ([]Result, error)

// GetAll answers several requests as of one moment. Entries that are valid each by itself may be of different moments: one that was
// filled after a transaction, whose changes are not applied yet, beside one that it will clear. So they are read in one step, and
// each must be older than the watermark: then it is what the query says as of exactly that watermark. Otherwise all the queries are
// run, in one snapshot.
//
// The freshness that is asked for is that of the first request. All must have tags.
func (r *Reader) GetAll(ctx context.Context, reqs []Request, fill FillAll) (*Together, error) {
	all := &getAll{get: &get{Reader: r, req: reqs[0], arrived: time.Now()}, reqs: reqs, fillAll: fill}
	for i := range reqs {
		if reqs[i].Bypass != "" || len(reqs[i].Tags) == 0 {
			return all.bypass(ctx, nil, nonEmpty(reqs[i].Bypass, ReasonUntagged))
		}
	}
	if all.req.Linearizable {
		all.end = r.ends.join(ctx)
	}
	return all.answer(ctx)
}

func nonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type getAll struct {
	*get
	reqs    []Request
	fillAll FillAll
	seen    Mark // of the watermark, when it was last looked at
}

func (g *getAll) answer(ctx context.Context) (*Together, error) {
	for waited := false; ; waited = true {
		looks, err := g.lookups(ctx, false)
		if err != nil {
			return g.bypass(ctx, nil, ReasonUnavailable)
		}
		if reason := g.unusableTogether(looks); reason != "" {
			return g.bypass(ctx, looks, reason)
		}
		answers, goal := g.hits(looks)
		if answers == nil {
			return g.miss(ctx)
		}
		if g.req.strict() {
			strict, err := g.goal(ctx, looks[0].mark)
			if err != nil {
				return g.bypass(ctx, nil, ReasonNoMark)
			}
			goal = goal.Max(strict)
		}
		if looks[0].mark.Reached(goal) {
			return &Together{Answers: answers, Mark: looks[0].mark, Status: Hit}, nil
		}
		if waited || !g.watch.until(ctx, goal, g.cfg.Patience) {
			return g.miss(ctx)
		}
	}
}

// unusableTogether is a reason why nothing may be answered from the cache; that the watermark is too old only if there is no other.
func (g *getAll) unusableTogether(looks []*look) (reason string) {
	for i, l := range looks {
		switch r := g.unusable(l, g.reqs[i]); r {
		case "":
		case ReasonStale:
			reason = r
		default:
			return r
		}
	}
	return reason
}

// staleTogether is what the cache has behind a watermark that is too old, if Postgres is down and the policy of each query for which it
// is too old allows for that. It is of one moment, as any answer.
func (g *getAll) staleTogether(looks []*look, reason string, err error) *Together {
	if reason != ReasonStale || g.req.strict() {
		return nil
	}
	answers, goal := g.hits(looks)
	if answers == nil || !looks[0].mark.Reached(goal) {
		return nil
	}
	for i, l := range looks {
		switch {
		case g.unusable(l, g.reqs[i]) == "": // within its own bound
		case g.forgives(l, &g.reqs[i], err):
			answers[i].Stale = true
		default:
			return nil
		}
	}
	return &Together{Answers: answers, Mark: looks[0].mark, Status: Hit, Stale: true}
}

// hits returns the answers if all are in the cache, and the mark at which they are all of one moment.
func (g *getAll) hits(looks []*look) (answers []*Answer, together Mark) {
	for _, l := range looks {
		answer := g.hit(l)
		if answer == nil {
			return nil, Mark{}
		}
		if answer.Seen.Position == 0 { // nobody knows of what moment it is
			return nil, Mark{}
		}
		together = together.Max(answer.Seen)
		answers = append(answers, answer)
	}
	return answers, together
}

func (g *getAll) lookups(ctx context.Context, open bool) (looks []*look, err error) {
	_, err = g.ask(ctx, func(ctx context.Context) (*look, error) {
		looks, err = g.cfg.Store.lookupAll(ctx, g.reqs, open, g.cfg.MaxTTL)
		return nil, err
	})
	if err == nil {
		g.seen = looks[0].mark
	}
	return looks, err
}

// miss runs all the queries in one snapshot, and stores their results.
func (g *getAll) miss(ctx context.Context) (*Together, error) {
	if g.req.OnlyIfCached {
		return nil, ErrNotCached
	}
	// Rule 2: the tokens are read before the snapshot is taken.
	looks, err := g.lookups(ctx, true)
	if err != nil {
		return g.bypass(ctx, nil, ReasonUnavailable)
	}
	if reason := g.unusableTogether(looks); reason != "" {
		return g.bypass(ctx, looks, reason)
	}
	filled := time.Now()
	t, results, err := g.fillTogether(ctx)
	if err != nil {
		return nil, err
	}
	t.Status = Miss
	for i, result := range results {
		e := &Entry{Bound: looks[i].bound, Filled: filled, Expires: filled.Add(g.reqs[i].TTL), Name: g.reqs[i].Name, Result: result}
		t.Answers[i].Status, t.Answers[i].TTL = Miss, g.reqs[i].TTL
		if result.Seen.alongside(looks[i].mark) && !slices.Contains(e.Bound, "") {
			t.Answers[i].Stored = g.store(ctx, &g.reqs[i], e)
		}
	}
	return t, nil
}

// bypass runs the queries without the cache. looks are nil if there is nothing in it that could answer instead.
func (g *getAll) bypass(ctx context.Context, looks []*look, reason string) (*Together, error) {
	if g.req.OnlyIfCached {
		return nil, ErrNotCached
	}
	t, _, err := g.fillTogether(ctx)
	if err != nil {
		if stale := g.staleTogether(looks, reason, err); stale != nil {
			return stale, nil
		}
		return nil, err
	}
	t.Status, t.Reason = Bypass, reason
	for _, a := range t.Answers {
		a.Status, a.Reason = Bypass, reason
	}
	return t, nil
}

func (g *getAll) fillTogether(ctx context.Context) (*Together, []Result, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.FillTimeout)
	defer cancel()
	results, err := g.fillAll(ctx)
	if err != nil {
		return nil, nil, err
	}
	t := &Together{}
	for _, result := range results {
		if result.Seen.before(g.seen) {
			return nil, nil, ErrFormerPrimary
		}
		t.Mark = t.Mark.Max(result.Seen)
		t.Answers = append(t.Answers, &Answer{Result: result, Mark: result.Seen})
	}
	return t, results, nil
}
