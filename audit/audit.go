// Package audit checks, while everything runs, that the cache tells the truth: it samples cached entries, reads them as a reader
// would, asks the primary the same question, and judges a difference only where it can be judged.
//
// It must never change anything: neither an entry nor a bucket nor a table. It owns no part of the protocol: what is valid is decided
// by cache.Reader, and what a query depends on by package query.
//
// # The judgement
//
// In this order:
//
//  1. Look: an entry of the identity I and the body B is valid.
//  2. Ask the primary: S, in a snapshot taken now, and P, where the WAL ended once the snapshot had been taken.
//  3. If B is S, the entry is fresh. Otherwise wait until the watermark has reached P.
//  4. Look again, the watermark first: if it is at P or later, and the very entry I is still valid, the entry is stale.
//
// Why there is no false alarm. I was filled before it was looked at, and so before the snapshot of S was taken, on the same primary:
// whatever the fill saw, S sees too. What S sees beyond that was committed in between, and has ended at or below P. So if B and S
// differ in anything but chance (see below), a transaction that changes the result has ended at or below P, after the fill's snapshot.
// The watermark says that it has been applied, which must have cleared a bucket of I, or renewed a generation of it: a reader would
// not get I any more. Only a reader would: I is served under a watermark that has passed a change that it lacks. Each part is needed:
//
//   - Without the wait (3) an entry whose change is on its way would be called stale. If the watermark does not come in time, the
//     entry is undecided, never fresh.
//   - Without the comparison of identities (4) an entry that was cleared and filled again since would be called stale: it differs from
//     S because it is newer. The identity is the time of the fill, the entity tag and everything the entry is bound to.
//   - Without the look at the watermark before the buckets, in one round trip (cache/redis.go), a change applied in between would be
//     missed; and the mark must be that of this very look, as Redis may have been replaced by another server since the wait.
//   - A mark of another timeline than the watermark's is never taken for reached: a server that was the primary once, or that is one
//     the log does not follow yet, is no judge.
//
// Why there is no miss. An entry that is stale lacks a change that a watermark has passed under which it is served. That change is
// visible to S, because it was published only then (rule 1). So S differs from B, and the entry is found the first time that it is
// drawn, unless it ends while it is being judged: cleared by a later change, expired or evicted. Such an entry cannot be told from one
// that was merely behind, and counts as behind (as undecided, if it expired), never as fresh. An entry whose body happens to be right
// although a change was missed is no harm, and counts as fresh.
//
// What chance can do. A statement that leaves the order of its rows open may return them in another one each time: a difference in
// nothing but the order of arrays, at any depth, counts as reordered, neither as stale nor as checked, because it cannot be told from a
// stale order. A statement that leaves more open than that (which rows LIMIT
// takes, the order within string_agg, the last digit of a sum of floats) differs from itself, and will be reported. A query that
// depends on the time through now() and the like promises no more than its ttl (see query.Plan): where it differs it counts as
// timed, and only where it is equal as checked.
//
// Over-clearing is measured on the side: entries that were fresh are looked at again, and when one has been cleared it is compared
// with its refill, or with what the primary says now. A clear cannot be told from an eviction, nor from a bucket that was started
// afresh because it was full or deleted by hand; evictions are counted beside it. An entry past its ttl is no clear.
package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/postgres"
	"freshet/query"
)

// Config says what is audited, and how hard.
type Config struct {
	// Pool is connected to the primary as the api's is: the bytes of a result depend on the settings of the session.
	Pool    *pgxpool.Pool
	Store   *cache.Redis
	Queries []*query.Query
	// Source names the log that the cache is of.
	Source string
	// MaxStaleness is the bound of queries that do not have their own, as in the api.
	MaxStaleness time.Duration
	// Rate is how many entries are looked at in a second.
	Rate float64
	// Patience bounds the wait for the watermark. 0: DefaultPatience.
	Patience time.Duration
	// CommandTimeout bounds a statement. 0: 30 s.
	CommandTimeout time.Duration
	// Seed chooses the places of the cache that are looked at. Within a bucket Redis itself draws the entry.
	Seed uint64
	// URL, if not empty, is that of an api, which is asked too: what it answers must be what the cache holds.
	URL    string
	Client *http.Client
	// OnStale, if set, is called once for each stale entry, one at a time.
	OnStale func(Stale)
	Log     *slog.Logger
}

// DefaultPatience is many times what a change takes to arrive.
const DefaultPatience = 5 * time.Second

// MaxRate bounds Config.Rate.
const MaxRate = 10_000

// maxWaiting bounds the entries that are being judged at the same time.
const maxWaiting = 64

// Auditor samples and judges. Make it with New, run it once.
type Auditor struct {
	cfg    Config
	log    *slog.Logger
	reader *cache.Reader
	clock  *cache.Clock
	wal    postgres.WALGeometry
	plans  atomic.Pointer[plans]
	replan sync.Mutex
	stats  stats
	memory memory
	hooks  hooks

	draw    *rand.Rand // of the loop's goroutine
	places  []cache.Place
	evicted int64 // by Redis, when the audit began
}

// hooks tell tests where a judgement is; nil in production.
type hooks struct {
	waiting func() // for the watermark
	reached func() // the watermark has come; the second look is next
}

func call(hook func()) {
	if hook != nil {
		hook()
	}
}

// New reads the definitions, so that a query that cannot be audited is known now.
func New(ctx context.Context, cfg Config) (*Auditor, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Rate <= 0 || cfg.Rate > MaxRate {
		return nil, fmt.Errorf("audit: a rate of %g entries a second is not above 0 and at most %d", cfg.Rate, MaxRate)
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	if cfg.CommandTimeout == 0 {
		cfg.CommandTimeout = 30 * time.Second
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	a := &Auditor{cfg: cfg, log: cfg.Log.With("component", "audit"), draw: rand.New(rand.NewPCG(cfg.Seed, 0))}
	a.stats.init(cfg.Seed)
	var err error
	if a.wal, err = postgres.ReadWALGeometry(ctx, cfg.Pool); err != nil {
		return nil, err
	}
	if a.clock, err = cache.NewClock(ctx, a.askTime); err != nil {
		return nil, err
	}
	a.reader = cache.NewReader(cache.ReaderConfig{Store: cfg.Store, Source: cfg.Source, Now: a.clock.Now, Log: a.log})
	p, err := a.makePlans(ctx)
	if err != nil {
		return nil, err
	}
	a.plans.Store(p)
	if a.evicted, err = cfg.Store.Evicted(ctx); err != nil {
		a.evicted = -1 // not every server tells
	}
	return a, nil
}

const (
	clockInterval = 10 * time.Second
	// emptyPause is the pause after a look at a cache without entries, or at one that cannot be read.
	emptyPause = 200 * time.Millisecond
	// tickInterval is the shortest pause between two draws; higher rates draw several at once.
	tickInterval = time.Millisecond
)

// Run audits for a time (0: until ctx ends), and then finishes what is being judged. When ctx ends what is being judged is given up.
// The summary is complete when it returns.
func (a *Auditor) Run(ctx context.Context, duration time.Duration) {
	a.stats.begin()
	defer a.reader.Close()
	var g errgroup.Group
	g.SetLimit(maxWaiting)
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	if duration > 0 {
		sampling, stop = context.WithTimeout(ctx, duration)
		defer stop()
	}
	a.loop(ctx, sampling, &g)
	_ = g.Wait() // no judgement returns an error
	a.countEvicted(context.WithoutCancel(ctx))
	a.stats.end()
}

// loop draws entries until sampling ends, and has them judged under ctx.
func (a *Auditor) loop(ctx, sampling context.Context, g *errgroup.Group) {
	tick := time.NewTicker(max(tickInterval, time.Duration(float64(time.Second)/a.cfg.Rate)))
	defer tick.Stop()
	synced, last, due := time.Now(), time.Now(), 1.0
	for {
		select {
		case <-sampling.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		// What was held up, by those who wait, is not made up for.
		due = min(due+now.Sub(last).Seconds()*a.cfg.Rate, 1+a.cfg.Rate/10)
		last = now
		if now.Sub(synced) > clockInterval {
			synced = now
			a.syncClock(ctx)
		}
		for ; due >= 1 && sampling.Err() == nil; due-- {
			place, ok := a.next(sampling)
			if !ok {
				due = 0
				pause(sampling, emptyPause)
				last = time.Now()
				break
			}
			g.Go(func() error {
				a.one(ctx, place)
				a.recall(ctx)
				return nil
			})
		}
	}
}

// next draws an entry.
func (a *Auditor) next(ctx context.Context) (cache.Place, bool) {
	if len(a.places) == 0 {
		places, done, err := a.cfg.Store.Sample(ctx, a.draw)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			a.failed("Redis cannot be sampled", err)
		case len(places) == 0 && !done:
			a.failed("Redis has so many keys of others that no entry was found among them", nil)
		}
		a.draw.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		a.places = places
	}
	if len(a.places) == 0 {
		return cache.Place{}, false
	}
	place := a.places[0]
	a.places = a.places[1:]
	return place, true
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (a *Auditor) askTime(ctx context.Context) (t time.Time, err error) {
	err = a.cfg.Pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&t)
	return t, err
}

func (a *Auditor) syncClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.clock.Sync(ctx, a.askTime); err != nil {
		a.log.Debug("clock", "error", err)
	}
}

// failed counts something that could not be done, and logs the first of a kind.
func (a *Auditor) failed(what string, err error) {
	if a.stats.failed(what) {
		a.log.Warn("audit: "+what+"; further failures of this kind are only counted", "error", err)
	}
}

// countEvicted puts the keys that were evicted meanwhile into the summary.
func (a *Auditor) countEvicted(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	now, err := a.cfg.Store.Evicted(ctx)
	if err != nil || a.evicted < 0 || now < a.evicted { // also a server that was started again
		now, a.evicted = -1, 0
	}
	a.stats.evicted(now - a.evicted)
}

// Summary says what was found so far.
func (a *Auditor) Summary() Summary { return a.stats.summary() }

// Total is what has been found of all queries so far: a few numbers, which cost next to nothing.
func (a *Auditor) Total() Tally { return a.stats.total() }

// sumOf identifies a result.
func sumOf(r cache.Result) [sha256.Size]byte {
	if !r.Found {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(r.Body)
}
