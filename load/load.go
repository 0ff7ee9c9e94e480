// Package load puts many users on the example application and judges how it bears them.
//
// It owns the mix of requests, their measurement and the targets. It knows the api by HTTP only, as any client does, and of Postgres
// only how many connections the api uses: what it reports is what users would see. It must never be the limit itself: a user is one
// goroutine with one connection that stays open, and what is kept of a request is a count in a histogram.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says who is loaded, how and for how long.
type Config struct {
	// URL is where the api is, such as http://127.0.0.1:8080. It must serve the example application.
	URL string
	// Token is the admin token, which writes need.
	Token string
	// Users ask at the same time, each one question after the other: the next as soon as the last is answered, if Pause is 0.
	Users int
	// Pause is how long a user reads an answer before he asks again, at the mean; single pauses are exponentially distributed.
	Pause time.Duration
	// Duration is how long they are measured, WarmUp how long they ask before that.
	Duration, WarmUp time.Duration
	// Compare is how long the same users then ask for everything past the cache; 0: not at all.
	Compare time.Duration
	// Writes is how many of 100 requests are writes, Edits how many of 100 writes change a blog; the others record an attempt at a quiz.
	Writes, Edits int
	// Seed decides about all that is drawn.
	Seed uint64
	// Connections tells how many connections the api uses; nil: that is not measured.
	Connections Connections
}

// Validate says what is wrong with the figures.
func (c Config) Validate() error {
	switch {
	case c.Users < 1 || c.Users > 10_000:
		return fmt.Errorf("users: %d is not from 1 to 10000", c.Users)
	case c.Duration <= 0:
		return errors.New("duration: it must be above zero")
	case c.Pause < 0:
		return errors.New("pause: it must not be negative")
	case c.WarmUp < 0:
		return errors.New("warm-up: it must not be negative")
	case c.Compare < 0:
		return errors.New("compare: it must not be negative")
	case c.Writes < 0 || c.Writes > 100:
		return fmt.Errorf("writes: %d is not from 0 to 100 per cent", c.Writes)
	case c.Edits < 0 || c.Edits > 100:
		return fmt.Errorf("edits: %d is not from 0 to 100 per cent", c.Edits)
	}
	return nil
}

// Load is one run. Make it with New, then Run it once.
type Load struct {
	cfg      Config
	server   server
	site     *site
	version  string // of the api
	began    time.Time
	phase    atomic.Pointer[phase]
	recorder atomic.Pointer[recorder]
}

// phase is what is being done.
type phase struct {
	name  string
	began time.Time
	lasts time.Duration // 0: not known
}

// The phases, in their order.
const (
	phaseWarmUp  = "warming up"
	phaseMeasure = "measuring"
	phaseWithout = "without the cache"
	phaseAlone   = "one at a time"
)

// New reaches the api and learns what there is to ask for. An error means that there is nothing to be judged: nobody answers, it is not
// the example, or the token is wrong.
func New(ctx context.Context, cfg Config) (*Load, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s, err := parseServer(cfg.URL)
	if err != nil {
		return nil, err
	}
	l := &Load{cfg: cfg, server: s}
	c := newClient(s, cfg.Token)
	defer c.close()
	if l.version, err = apiVersion(ctx, c); err != nil {
		return nil, err
	}
	if err := checkToken(ctx, c); err != nil {
		return nil, err
	}
	if l.site, err = discover(ctx, c, cfg.Seed); err != nil {
		return nil, err
	}
	return l, nil
}

// Run puts the users on the api and returns what they saw. When ctx ends it ends early, with what was seen until then.
func (l *Load) Run(ctx context.Context) *Result {
	l.began = time.Now()
	rec, usage, elapsed := l.measure(ctx)
	r := l.result(rec, usage, elapsed)
	if ctx.Err() == nil {
		l.without(ctx, r)
	}
	if ctx.Err() == nil {
		l.alone(ctx, r)
	}
	r.Interrupted = ctx.Err() != nil
	r.judge()
	return r
}

// begin begins a phase, with a new recorder. Requests that have begun keep the old one.
func (l *Load) begin(name string, lasts time.Duration) *recorder {
	rec := newRecorder()
	l.phase.Store(&phase{name, time.Now(), lasts})
	l.recorder.Store(rec)
	return rec
}

// measure is the warm-up and what counts.
func (l *Load) measure(ctx context.Context) (rec *recorder, u *usage, elapsed time.Duration) {
	l.begin(phaseWarmUp, l.cfg.WarmUp)
	during, stop := context.WithCancel(ctx)
	defer stop()
	u = &usage{source: l.cfg.Connections}
	// If it does not come to measuring, what was seen while warming up does not count.
	rec, began := newRecorder(), time.Time{}
	var beside errgroup.Group
	beside.Go(func() error { l.askHealth(ctx, during); return nil })
	beside.Go(func() error { u.sample(during, &l.phase); return nil })
	beside.Go(func() error {
		defer stop()
		if wait(ctx, l.cfg.WarmUp) {
			rec, began = l.begin(phaseMeasure, l.cfg.Duration), time.Now()
			wait(ctx, l.cfg.Duration)
		}
		return nil
	})
	l.crowd(ctx, during, false)
	stopped := time.Now()
	_ = beside.Wait() // they return no errors
	if !began.IsZero() {
		elapsed = stopped.Sub(began)
	}
	return rec, u, elapsed
}

// without measures the same load without the cache.
func (l *Load) without(ctx context.Context, r *Result) {
	if l.cfg.Compare == 0 {
		return
	}
	rec, began := l.begin(phaseWithout, l.cfg.Compare), time.Now()
	during, stop := context.WithTimeout(ctx, l.cfg.Compare)
	defer stop()
	l.crowd(ctx, during, true)
	r.compareWith(rec, time.Since(began))
}

// crowd has all the users ask until during ends, and returns when the last one has his last answer. When ctx ends nobody waits for answers.
func (l *Load) crowd(ctx, during context.Context, noStore bool) {
	var asking errgroup.Group
	for i := range l.cfg.Users {
		asking.Go(func() error { l.use(ctx, during, uint64(i), noStore); return nil })
	}
	_ = asking.Wait() // they return no errors: those are counted
}

// errorPause is how long a user waits after a connection has failed: an api that is gone must not be hammered, nor the errors of that
// second outnumber all the answers.
const errorPause = 100 * time.Millisecond

// use is one user.
func (l *Load) use(ctx, during context.Context, number uint64, noStore bool) {
	c := newClient(l.server, l.cfg.Token)
	defer c.close()
	d := newDrawer(l.site, l.cfg, number)
	for during.Err() == nil {
		rec := l.recorder.Load()
		q := d.next()
		q.noStore = q.noStore || noStore
		began := time.Now()
		a, err := c.do(ctx, q)
		took := time.Since(began)
		if ctx.Err() != nil {
			return // it may have been given up
		}
		rec.add(q, a, err, took)
		pause := time.Duration(d.rand.ExpFloat64() * float64(l.cfg.Pause))
		if err != nil {
			pause = max(pause, errorPause)
		}
		if pause > 0 && !wait(during, pause) {
			return
		}
	}
}

// healthInterval is how often the health is asked for beside the load, over a connection of its own.
const healthInterval = 50 * time.Millisecond

// askHealth asks until during ends. A question that is then under way is still waited for.
func (l *Load) askHealth(ctx, during context.Context) {
	c := newClient(l.server, "")
	defer c.close()
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		rec := l.recorder.Load()
		began := time.Now()
		a, err := c.do(ctx, request{query: healthName, method: "GET", path: "/health"})
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		rec.addHealth(a, err, took)
		select {
		case <-during.Done():
			return
		case <-tick.C:
		}
	}
}

const (
	// alonePairs is how many times each query is asked both ways when nobody else asks.
	alonePairs = 100
	// aloneTries is how often a query is asked until it is answered from the cache.
	aloneTries = 5
)

// alone compares, for each query, an answer from the cache with one from Postgres, when nobody else asks: under load both mostly wait
// for the processor. The two are asked in turn for the same thing, so that the machine's moods meet both.
func (l *Load) alone(ctx context.Context, r *Result) {
	c := newClient(l.server, "")
	defer c.close()
	l.begin(phaseAlone, 0)
	d := newDrawer(l.site, l.cfg, uint64(l.cfg.Users))
	for i := range r.Queries {
		cached, database := newHistogram(), newHistogram()
		for range alonePairs {
			if ctx.Err() != nil {
				return
			}
			q := d.read(r.Queries[i].Query)
			if took, ok := timed(ctx, c, q, func(a answer) bool { return a.source == sourceCache }); ok {
				cached.record(took)
			}
			q.noStore = true
			if took, ok := timed(ctx, c, q, func(a answer) bool { return a.source == sourceBypass }); ok {
				database.record(took)
			}
		}
		r.Queries[i].Alone = compare(cached.distribution(), database.distribution())
	}
}

// timed asks until the answer is of the wanted kind, and returns how long that answer took.
func timed(ctx context.Context, c *client, q request, wanted func(answer) bool) (time.Duration, bool) {
	for range aloneTries {
		began := time.Now()
		a, err := c.do(ctx, q)
		took := time.Since(began)
		if err == nil && a.ok() && wanted(a) {
			return took, true
		}
	}
	return 0, false
}

// Progress is how far a run is.
type Progress struct {
	Phase string
	// Elapsed is the time in the phase, and Of how long it lasts; 0 if that is not known.
	Elapsed, Of time.Duration
	Requests    int64
	PerSecond   float64
	HitRate     float64 // from 0 to 1
	Errors      int64
}

// Progress says how far the run is. It may be called at any time.
func (l *Load) Progress() Progress {
	p, rec := l.phase.Load(), l.recorder.Load()
	if p == nil || rec == nil {
		return Progress{Phase: "starting"}
	}
	s := Progress{
		Phase: p.name, Elapsed: time.Since(p.began), Of: p.lasts,
		Requests: rec.requests.Load(), Errors: rec.errors.Load(), HitRate: share(rec.hits.Load(), rec.hits.Load()+rec.misses.Load()+rec.bypassed.Load()),
	}
	s.PerSecond = float64(s.Requests) / max(s.Elapsed.Seconds(), 0.001)
	return s
}

// wait returns true after the time, or false when ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func share(n, of int64) float64 { return float64(n) / float64(cmp.Or(of, 1)) }

// source of randomness number n of a run.
func randomness(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
