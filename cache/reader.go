// Package cache owns the freshness protocol on the side of the reader, and the form in which a cache is stored: buckets,
// tokens, entries and the watermark.
//
// It must never serve an entry whose tokens it has not just compared (rule 2), and it must never store one whose tokens were
// not read before its snapshot was taken. It knows nothing of SQL: a fill is a function.
package cache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Request asks for one query result.
type Request struct {
	// Field names the entry: the query (with a version of its text) and its parameters. Two requests with the same Field
	// have the same result.
	Field string
	// Name is kept with the entry where Field is a hash, so that whoever finds it can tell what it answers (Redis.EntryName); else "".
	Name string
	// Tags are what the result depends on. The entry is stored in the bucket of the first. A request without any is not cached.
	Tags []Tag
	// Catalog is the generation of CatalogShape that was read before the analysis that the tags come from. The cache is not used
	// if it is another one by now: then a definition has changed since, and the tags may be wrong. "" for tags that come from
	// elsewhere.
	Catalog string
	// Bypass, if not empty, is a reason not to use the cache.
	Bypass string
	// TTL is how long the entry may be served.
	TTL time.Duration
	// MaxStaleness bounds how far behind the database an answer from the cache may be.
	MaxStaleness time.Duration
	// AtLeast, if not zero, is a mark that the answer must reflect: the one of a write, or of an answer seen before.
	AtLeast Mark
	// Linearizable asks for an answer that reflects every transaction that was acknowledged before Get was called.
	Linearizable bool
	// OnlyIfCached asks for ErrNotCached instead of a fill.
	OnlyIfCached bool
	// StaleIfError is by how much more than MaxStaleness an answer may be behind while Postgres is unavailable.
	StaleIfError time.Duration
}

// strict tells whether the answer must reflect more than age says.
func (req *Request) strict() bool { return req.Linearizable || req.AtLeast.Position != 0 }

// ErrFormerPrimary says that Postgres was asked at a server which is not the primary any more: the log is of a later timeline.
var ErrFormerPrimary = errors.New("the server that was asked is on an earlier timeline than the log: it is not the primary any more")

// ErrNotCached says that a request that wanted nothing but the cache cannot be answered from it.
var ErrNotCached = errors.New("the cache has no answer")

// Fill runs the query. Its snapshot must be taken after it is called, on the primary.
type Fill func(ctx context.Context) (Result, error)

// Status says where an answer came from. The words are those of RFC 9211 (Cache-Status).
type Status string

// The ways in which a request is answered.
const (
	Hit    Status = "hit"    // from the cache
	Miss   Status = "miss"   // from Postgres: the cache had no valid entry
	Bypass Status = "bypass" // from Postgres: the cache could not be used
)

// The reasons for a bypass.
const (
	ReasonUntagged    = "untagged"          // the request has no tags
	ReasonUnavailable = "redis-unavailable" // no answer from Redis
	ReasonForeign     = "foreign-cache"     // the cache is that of another source
	ReasonNoWatermark = "no-watermark"      // the invalidator has not begun a chain yet
	ReasonInactive    = "shape-inactive"    // a shape is not registered yet
	ReasonSchema      = "schema-changed"    // a definition has changed since the query was analyzed
	ReasonStale       = "watermark-stale"   // the watermark is older than MaxStaleness
	ReasonBehind      = "watermark-behind"  // the watermark has not reached the mark that was asked for in time
	ReasonNoMark      = "no-position"       // the primary did not say where its WAL ends
)

// Answer is a result, and what is known about it.
type Answer struct {
	Result
	Status Status
	// Reason says why the cache was bypassed.
	Reason string
	// Stored tells whether a miss was put into the cache.
	Stored bool
	// Stale is true of an answer that is older than it should be, given because Postgres is unavailable.
	Stale bool
	// Age is how far behind the database the answer may be: the time since the watermark that vouches for it. TTL is the time that
	// the entry may still be served.
	Age, TTL time.Duration
	// Mark is one that nothing in the answer is later than. A request that asks for at least it sees no less than this answer.
	Mark Mark
}

// aged is the answer as it is for somebody who has joined a statement that had run for a while.
func (a *Answer) aged(older time.Duration) *Answer {
	if a == nil || older <= 0 || a.Status == Hit { // a hit has its age from the watermark
		return a
	}
	joined := *a
	joined.Age += older
	return &joined
}

// ReaderConfig configures a Reader.
type ReaderConfig struct {
	Store *Redis
	// Source names the log that the cache is to be of; "" takes any.
	Source string
	// Now is the time by the clock of the Postgres server, not earlier than it really is.
	Now func() time.Time
	// MaxTTL is the largest TTL of any request: a bucket lives as long after it was last used for a fill.
	MaxTTL time.Duration
	// FillTimeout bounds a fill. A fill goes on when the request that began it has gone away: others may wait for it.
	FillTimeout time.Duration
	// End asks the primary where its WAL ends: whatever was acknowledged before has ended at or below.
	End func(ctx context.Context) (Mark, error)
	// Patience is how long a request waits for the watermark to reach a mark before it goes to Postgres.
	Patience time.Duration
	// Unavailable tells whether an error of a fill is an outage of Postgres.
	Unavailable func(error) bool
	Log         *slog.Logger
}

// DefaultPatience is that of the processes: many times what a change takes to be applied, and less than a person notices.
const DefaultPatience = 250 * time.Millisecond

// Reader answers requests from the cache, or from Postgres, through the cache (rule 2).
type Reader struct {
	cfg      ReaderConfig
	flights  flights
	breaker  breaker
	ends     ends
	watch    watch
	standing standing
}

// NewReader returns a Reader. Close it after the last Get has returned.
func NewReader(cfg ReaderConfig) *Reader {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Reader{cfg: cfg}
	r.flights.timeout = cfg.FillTimeout
	r.ends.ask = cfg.End
	r.watch.mark = cfg.Store.mark
	return r
}

// Close waits for the fills that are under way. Whoever still asks afterwards gets an error.
func (r *Reader) Close() {
	r.flights.close()
	r.ends.all.Wait()
	r.watch.all.Wait()
}

// Get answers a request. An error is that of the fill: a cache that fails is bypassed.
func (r *Reader) Get(ctx context.Context, req Request, fill Fill) (*Answer, error) {
	g := &get{Reader: r, req: req, fill: fill, arrived: time.Now()}
	if req.Bypass != "" || len(req.Tags) == 0 {
		return g.bypass(ctx, nil, cmp.Or(req.Bypass, ReasonUntagged))
	}
	if req.Linearizable {
		// Under way while Redis is asked: both are questions about now (cache/model: positionAfterRequest, positionAwaited).
		g.end = r.ends.join(ctx)
	}
	l, err := g.lookup(ctx)
	if err != nil {
		return g.bypass(ctx, nil, ReasonUnavailable)
	}
	return g.answer(ctx, l)
}

// get is one request on its way.
type get struct {
	*Reader
	req     Request
	fill    Fill
	arrived time.Time
	end     *endRound
}

func (g *get) lookup(ctx context.Context) (*look, error) {
	return g.ask(ctx, func(ctx context.Context) (*look, error) { return g.cfg.Store.lookup(ctx, g.req.Tags, g.req.Field) })
}

func (g *get) answer(ctx context.Context, l *look) (*Answer, error) {
	if reason := g.unusable(l, g.req); reason != "" {
		return g.bypass(ctx, l, reason)
	}
	answer := g.hit(l)
	if answer == nil {
		return g.miss(ctx)
	}
	if !g.req.strict() {
		return answer, nil
	}
	goal, err := g.goal(ctx, l.mark)
	if err != nil {
		return g.bypass(ctx, l, ReasonNoMark)
	}
	if l.mark.Reached(goal) {
		return answer, nil
	}
	if !g.watch.until(ctx, goal, g.cfg.Patience) {
		return g.bypass(ctx, l, ReasonBehind)
	}
	if l, err = g.lookup(ctx); err != nil {
		return g.bypass(ctx, nil, ReasonUnavailable)
	}
	if reason := g.unusable(l, g.req); reason != "" {
		return g.bypass(ctx, l, reason)
	}
	if answer = g.hit(l); answer == nil {
		return g.miss(ctx)
	}
	if !l.mark.Reached(goal) { // another chain, or another server
		return g.bypass(ctx, l, ReasonBehind)
	}
	return answer, nil
}

// goal is the mark that the watermark, which is at mark, must have reached.
func (g *get) goal(ctx context.Context, mark Mark) (Mark, error) {
	goal := g.req.AtLeast
	if g.end != nil {
		end, err := g.end.wait(ctx)
		if err != nil {
			return Mark{}, err
		}
		if end.before(mark) {
			return Mark{}, ErrFormerPrimary
		}
		goal = goal.Max(end)
	}
	return goal, nil
}

// Reached waits until the cache has applied everything up to a mark; false if that takes longer than patience. It looks at least
// once: without any patience it tells what is true now.
func (r *Reader) Reached(ctx context.Context, goal Mark, patience time.Duration) (bool, error) {
	if mark, err := r.watch.look(ctx); err == nil && mark.Position != 0 && mark.Reached(goal) {
		return true, nil
	}
	if r.watch.until(ctx, goal, patience) {
		return true, nil
	}
	return false, ctx.Err()
}

// unusable tells why nothing may be answered from the cache now; "" if it may (cache/model: activeOnly, analysisCompared).
func (r *Reader) unusable(l *look, req Request) string {
	switch {
	case !l.found:
		return ReasonNoWatermark
	case r.cfg.Source != "" && l.source != "" && l.source != r.cfg.Source:
		return ReasonForeign
	case req.Catalog != "" && l.catalog != req.Catalog:
		return ReasonSchema
	case !l.active(len(req.Tags)):
		return ReasonInactive
	}
	if age, ok := r.age(l); !ok || age > req.MaxStaleness {
		return ReasonStale
	}
	return ""
}

// hit returns the entry if it is valid. Rule 2: an entry is served only if every one of its buckets still has the token that
// it was filled under (cache/model: everyTokenCompared).
func (r *Reader) hit(l *look) *Answer {
	if l.entry == nil {
		return nil
	}
	e, err := decodeEntry(l.entry)
	if err != nil || !same(e.Bound, l.bound) {
		return nil
	}
	now := time.Now()
	if !now.Before(e.Expires) {
		return nil
	}
	age, _ := r.age(l)
	return &Answer{
		Result: e.Result, Status: Hit, Age: age, TTL: e.Expires.Sub(now),
		Mark: e.Seen.Max(l.mark),
	}
}

func same(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] || a[i] == "" {
			return false
		}
	}
	return true
}

// miss runs the fill and stores its result. Concurrent misses share a fill if they read the same tokens: its statement then
// began after the tokens were made, and they were still alive when the request looked, so that it is as fresh as a hit. Strict
// requests share only one that began after they arrived: its snapshot has all that they may ask for.
func (g *get) miss(ctx context.Context) (*Answer, error) {
	if g.req.OnlyIfCached {
		return nil, ErrNotCached
	}
	landed := g.flights.landed.Load()
	// Rule 2: the tokens are read before the snapshot is taken (cache/model: tokensBeforeSnapshot, sameTokensShared).
	l, err := g.ask(ctx, func(ctx context.Context) (*look, error) {
		return g.cfg.Store.open(ctx, g.req.Tags, g.req.Field, g.cfg.MaxTTL)
	})
	if err != nil {
		return g.bypass(ctx, nil, ReasonUnavailable)
	}
	if reason := g.unusable(l, g.req); reason != "" {
		return g.bypass(ctx, l, reason)
	}
	if g.req.strict() {
		return g.flights.do(ctx, "strict "+flightKey(g.req.Field, l.bound), g.arrived, func(ctx context.Context) (*Answer, error) {
			return g.run(ctx, l)
		})
	}
	if answer := g.hit(l); answer != nil {
		return answer, nil
	}
	var oldest time.Time
	if slices.Contains(l.bound, "") { // a bucket that was cleared while it was being opened: nothing vouches for another's fill
		oldest = time.Now().Add(-g.req.MaxStaleness)
	}
	return g.flights.do(ctx, flightKey(g.req.Field, l.bound), oldest, func(ctx context.Context) (*Answer, error) {
		if g.flights.landed.Load() != landed {
			// The entry may have been stored just after it was looked for.
			if again, err := g.cfg.Store.lookup(ctx, g.req.Tags, g.req.Field); err == nil && g.unusable(again, g.req) == "" && same(again.bound, l.bound) {
				if answer := g.hit(again); answer != nil {
					return answer, nil
				}
			}
		}
		return g.run(ctx, l)
	})
}

// run fills, and stores the result under the tokens that were read before.
func (g *get) run(ctx context.Context, l *look) (*Answer, error) {
	filled := time.Now()
	result, err := g.fill(ctx)
	if err != nil {
		return nil, err
	}
	if result.Seen.before(l.mark) {
		return nil, ErrFormerPrimary
	}
	answer := &Answer{Result: result, Status: Miss, TTL: g.req.TTL, Mark: result.Seen.Max(l.mark)}
	// What a server shows that the log does not follow is not what the log will clear.
	answer.Stored = result.Seen.alongside(l.mark) && g.store(ctx, &g.req, &Entry{
		Bound: l.bound, Filled: filled, Expires: filled.Add(g.req.TTL), Name: g.req.Name, Result: result,
	})
	return answer, nil
}

func (r *Reader) store(ctx context.Context, req *Request, e *Entry) bool {
	if err := r.cfg.Store.put(ctx, req.Tags[0], req.Field, e, r.cfg.MaxTTL); err != nil {
		r.failed(ctx, "an answer could not be stored in the cache", err)
		return false
	}
	return true
}

// bypass answers from Postgres without the cache. Requests share a statement that is younger than what they tolerate.
func (g *get) bypass(ctx context.Context, l *look, reason string) (*Answer, error) {
	if g.req.OnlyIfCached {
		return nil, ErrNotCached
	}
	if ctx.Err() != nil { // nobody waits for a statement that would begin now
		return nil, context.Cause(ctx)
	}
	oldest := time.Now().Add(-g.req.MaxStaleness)
	if g.req.strict() {
		oldest = g.arrived
	}
	answer, err := g.flights.do(ctx, "bypass "+reason+" "+g.req.Field, oldest, func(ctx context.Context) (*Answer, error) {
		result, err := g.fill(ctx)
		if err != nil {
			return nil, err
		}
		if l != nil && result.Seen.before(l.mark) {
			return nil, ErrFormerPrimary
		}
		return &Answer{Result: result, Status: Bypass, Reason: reason, Mark: result.Seen}, nil
	})
	if err != nil && reason == ReasonStale {
		if stale := g.staleIfError(l, err); stale != nil {
			return stale, nil
		}
	}
	return answer, err
}

// staleIfError is a valid entry behind a watermark that is too old, if Postgres is down and the query's policy allows for it.
func (g *get) staleIfError(l *look, err error) *Answer {
	if !g.forgives(l, &g.req, err) {
		return nil
	}
	answer := g.hit(l)
	if answer != nil {
		answer.Stale = true
	}
	return answer
}

// forgives tells whether the policy of a request allows for a watermark that is too old, because of an error of Postgres.
func (r *Reader) forgives(l *look, req *Request, err error) bool {
	if req.strict() || req.StaleIfError <= 0 || r.cfg.Unavailable == nil || !r.cfg.Unavailable(err) {
		return false
	}
	age, ok := r.age(l)
	return ok && age <= req.MaxStaleness+req.StaleIfError
}

// ask asks Redis, unless it has just failed.
func (r *Reader) ask(ctx context.Context, do func(context.Context) (*look, error)) (*look, error) {
	if r.breaker.open() {
		return nil, errBreaker
	}
	l, err := do(ctx)
	if err != nil && ctx.Err() == nil {
		r.failed(ctx, "Redis cannot be used; reads go to Postgres", err)
	}
	return l, err
}

// failed opens the breaker, unless the server has answered: an error of its own (full, read-only, a key of a foreign type) is
// as quick as an answer, and other requests may well be served.
func (r *Reader) failed(ctx context.Context, what string, err error) {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		r.breaker.trip()
	}
	if r.breaker.mayLog() {
		r.cfg.Log.WarnContext(ctx, what, "error", err)
	}
}
