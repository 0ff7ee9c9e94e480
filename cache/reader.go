// Package cache owns the freshness protocol on the side of the reader, and the form in which a cache is stored: buckets,
// tokens, entries and the watermark.
//
// It must never serve an entry whose tokens it has not just compared (rule 2), and it must never store one whose tokens were
// not read before its snapshot was taken. It knows nothing of SQL: a fill is a function.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/events"
)

// Request asks for one query result.
type Request struct {
	// Field names the entry: the query (with a version of its text) and its parameters. Two requests with the same Field
	// have the same result.
	Field string
	// Tags are what the result depends on. The entry is stored in the bucket of the first. A request without any is not cached.
	Tags []Tag
	// TTL is how long the entry may be served.
	TTL time.Duration
	// MaxStaleness bounds how far behind the database an answer from the cache may be.
	MaxStaleness time.Duration
}

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
	ReasonStale       = "watermark-stale"   // the watermark is older than MaxStaleness
)

// Answer is a result, and what is known about it.
type Answer struct {
	Result
	Status Status
	// Reason says why the cache was bypassed.
	Reason string
	// Stored tells whether a miss was put into the cache.
	Stored bool
	// Age is the time since the fill, TTL the time that the entry may still be served.
	Age, TTL time.Duration
	// Position is one that the answer reflects at least; 0 if none is known.
	Position events.Position
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
	Log         *slog.Logger
}

// Reader answers requests from the cache, or from Postgres, through the cache (rule 2).
type Reader struct {
	cfg     ReaderConfig
	flights flights
	breaker breaker
}

// NewReader returns a Reader. Close it after the last Get has returned.
func NewReader(cfg ReaderConfig) *Reader {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Reader{cfg: cfg}
	r.flights.timeout = cfg.FillTimeout
	return r
}

// Close waits for the fills that are under way. Whoever still asks afterwards gets an error.
func (r *Reader) Close() { r.flights.close() }

// Get answers a request. An error is that of the fill: a cache that fails is bypassed.
func (r *Reader) Get(ctx context.Context, req Request, fill Fill) (*Answer, error) {
	if len(req.Tags) == 0 {
		return r.bypass(ctx, req, nil, ReasonUntagged, fill)
	}
	l, err := r.ask(ctx, func(ctx context.Context) (*look, error) { return r.cfg.Store.lookup(ctx, req.Tags, req.Field) })
	if err != nil {
		return r.bypass(ctx, req, nil, ReasonUnavailable, fill)
	}
	if reason := r.unusable(l, req); reason != "" {
		return r.bypass(ctx, req, l, reason, fill)
	}
	if answer := r.hit(l); answer != nil {
		return answer, nil
	}
	return r.miss(ctx, req, fill)
}

// unusable tells why nothing may be answered from the cache now; "" if it may.
func (r *Reader) unusable(l *look, req Request) string {
	switch {
	case !l.found:
		return ReasonNoWatermark
	case r.cfg.Source != "" && l.source != "" && l.source != r.cfg.Source:
		return ReasonForeign
	case !l.active(len(req.Tags)):
		return ReasonInactive
	}
	// A time ahead of the server's clock tells nothing: the clock was set back since. Now is never early, so there is no doubt.
	if age := r.cfg.Now().Sub(l.at); age > req.MaxStaleness || age < -maxLead {
		return ReasonStale
	}
	return ""
}

// maxLead is how far ahead of the clock a watermark may seem: the clock is read again only now and then, and drifts.
const maxLead = time.Second

// hit returns the entry if it is valid. Rule 2: an entry is served only if every one of its buckets still has the token that
// it was filled under.
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
	return &Answer{
		Result: e.Result, Status: Hit, Age: max(0, now.Sub(e.Filled)), TTL: e.Expires.Sub(now),
		Position: max(e.Position, l.position),
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
// began after the tokens were made, and they were still alive when the request looked, so that it is as fresh as a hit.
func (r *Reader) miss(ctx context.Context, req Request, fill Fill) (*Answer, error) {
	landed := r.flights.landed.Load()
	// Rule 2: the tokens are read before the snapshot is taken.
	l, err := r.ask(ctx, func(ctx context.Context) (*look, error) {
		return r.cfg.Store.open(ctx, req.Tags, req.Field, r.cfg.MaxTTL)
	})
	if err != nil {
		return r.bypass(ctx, req, nil, ReasonUnavailable, fill)
	}
	if reason := r.unusable(l, req); reason != "" {
		return r.bypass(ctx, req, l, reason, fill)
	}
	if answer := r.hit(l); answer != nil {
		return answer, nil
	}
	age := anyAge
	if slices.Contains(l.bound, "") { // a bucket that was cleared while it was being opened: nothing vouches for another's fill
		age = req.MaxStaleness
	}
	return r.flights.do(ctx, flightKey(req.Field, l.bound), age, func(ctx context.Context) (*Answer, error) {
		if r.flights.landed.Load() != landed {
			// The entry may have been stored just after it was looked for.
			if again, err := r.cfg.Store.lookup(ctx, req.Tags, req.Field); err == nil && same(again.bound, l.bound) {
				if answer := r.hit(again); answer != nil {
					return answer, nil
				}
			}
		}
		filled := time.Now()
		result, err := fill(ctx)
		if err != nil {
			return nil, err
		}
		answer := &Answer{Result: result, Status: Miss, TTL: req.TTL, Position: l.position}
		e := &Entry{Bound: l.bound, Filled: filled, Expires: filled.Add(req.TTL), Position: l.position, Result: result}
		if err := r.cfg.Store.put(ctx, req.Tags[0], req.Field, e, r.cfg.MaxTTL); err != nil {
			r.failed("an answer could not be stored in the cache", err)
			return answer, nil
		}
		answer.Stored = true
		return answer, nil
	})
}

// bypass answers from Postgres without the cache. Requests share a statement that is younger than what they tolerate.
func (r *Reader) bypass(ctx context.Context, req Request, l *look, reason string, fill Fill) (*Answer, error) {
	if ctx.Err() != nil { // nobody waits for a statement that would begin now
		return nil, context.Cause(ctx)
	}
	return r.flights.do(ctx, "bypass "+reason+" "+req.Field, req.MaxStaleness, func(ctx context.Context) (*Answer, error) {
		result, err := fill(ctx)
		if err != nil {
			return nil, err
		}
		answer := &Answer{Result: result, Status: Bypass, Reason: reason}
		if l != nil {
			answer.Position = l.position
		}
		return answer, nil
	})
}

// ask asks Redis, unless it has just failed.
func (r *Reader) ask(ctx context.Context, do func(context.Context) (*look, error)) (*look, error) {
	if r.breaker.open() {
		return nil, errBreaker
	}
	l, err := do(ctx)
	if err != nil && ctx.Err() == nil {
		r.failed("Redis cannot be used; reads go to Postgres", err)
	}
	return l, err
}

// failed opens the breaker, unless the server has answered: an error of its own (full, read-only, a key of a foreign type) is
// as quick as an answer, and other requests may well be served.
func (r *Reader) failed(what string, err error) {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		r.breaker.trip()
	}
	if r.breaker.mayLog() {
		r.cfg.Log.Warn(what, "error", err)
	}
}

var errBreaker = errors.New("Redis has just failed")

// breaker keeps requests from waiting for a Redis that has just failed: for breakerPause they go to Postgres at once.
type breaker struct {
	until  atomic.Int64 // Unix nanoseconds
	logged atomic.Int64
}

const (
	breakerPause = 200 * time.Millisecond
	breakerLog   = int64(5 * time.Second)
)

func (b *breaker) open() bool { return time.Now().UnixNano() < b.until.Load() }

func (b *breaker) trip() { b.until.Store(time.Now().UnixNano() + int64(breakerPause)) }

// mayLog is true once in breakerLog.
func (b *breaker) mayLog() bool {
	now := time.Now().UnixNano()
	last := b.logged.Load()
	return now-last > breakerLog && b.logged.CompareAndSwap(last, now)
}

// flights runs one fill for all that want the same at the same time.
type flights struct {
	timeout time.Duration

	mu      sync.Mutex
	running map[string]*flight
	closed  bool
	landed  atomic.Uint64 // counts the flights that have ended
	all     sync.WaitGroup
}

type flight struct {
	began  time.Time
	joined int // requests beside the one that began it; guarded by flights.mu
	done   chan struct{}
	answer *Answer
	err    error
}

func flightKey(field string, bound []string) string {
	size := len(field)
	for _, b := range bound {
		size += 1 + len(b)
	}
	key := append(make([]byte, 0, size), field...)
	for _, b := range bound {
		key = append(key, ' ')
		key = append(key, b...)
	}
	return string(key)
}

// anyAge is for requests that may join a flight whenever it began.
const anyAge = time.Duration(math.MaxInt64)

// do joins a flight of that key that is younger than youngerThan, or begins one. With 0 it always begins one.
func (f *flights) do(ctx context.Context, key string, youngerThan time.Duration, run func(context.Context) (*Answer, error)) (*Answer, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, errClosed
	}
	fl := f.running[key]
	if fl == nil || time.Since(fl.began) >= youngerThan {
		fl = f.begin(ctx, key, run)
	} else {
		fl.joined++
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.answer, fl.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin starts a flight. It keeps the values of the request's context, not its end: others may wait for the same answer.
func (f *flights) begin(ctx context.Context, key string, run func(context.Context) (*Answer, error)) *flight {
	if f.running == nil {
		f.running = map[string]*flight{}
	}
	fl := &flight{began: time.Now(), done: make(chan struct{})}
	f.running[key] = fl
	f.all.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
		defer cancel()
		defer close(fl.done)
		defer f.land(key, fl)
		defer func() {
			if p := recover(); p != nil { // out of reach of whoever guards the request
				fl.err = fmt.Errorf("the fill panicked: %v\n%s", p, debug.Stack())
			}
		}()
		fl.answer, fl.err = run(ctx)
	})
	return fl
}

// land takes a flight out, unless another one has taken its place.
func (f *flights) land(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landed.Add(1)
	if f.running[key] == fl {
		delete(f.running, key)
	}
}

var errClosed = errors.New("the reader is closed")

func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.all.Wait()
}
