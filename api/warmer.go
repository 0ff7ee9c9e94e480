package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"freshet/cache"
	"freshet/query/plan"
	"freshet/warm"
)

// warmer is the warm-up that the api makes in the background: one at a time. It is a reader like any other (package warm), within this
// process; only that it makes room for those who ask.
type warmer struct {
	api   *API
	begun chan *warmUp // to be made

	mu   sync.Mutex
	last *warmUp // nil if there was none
}

// warmUp is one of them.
type warmUp struct {
	search      *warm.Search
	rate        float64
	concurrency int
	began       time.Time
	stop        chan struct{} // closed, once, when it is to end early
	once        sync.Once
	ended       chan struct{} // closed when it has ended

	mu     sync.Mutex
	job    *warm.Job // nil while the log is read
	found  *warm.Found
	err    error
	finish time.Time
}

func newWarmer(a *API) *warmer { return &warmer{api: a, begun: make(chan *warmUp, 1)} }

var errWarming = errors.New("a warm-up is under way")

// begin begins a warm-up, if none is under way. The error is errWarming, or says what is wrong with what is asked for.
func (w *warmer) begin(asked warm.Asked, rate float64, concurrency int) (*warmUp, error) {
	now := time.Now()
	if err := asked.Fix(now); err != nil {
		return nil, err
	}
	u := &warmUp{
		search: &warm.Search{
			Asked: asked, JetStream: w.api.cfg.JetStream, Source: w.api.cfg.Source, Plans: w.api.plans.Load(),
			Retrying: func(err error, in time.Duration) {
				w.api.log.Warn("the log cannot be read for the warm-up; trying again", "error", err, "in", in)
			},
		},
		rate: rate, concurrency: concurrency, began: now, stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := u.search.Check(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil && !w.last.hasEnded() {
		return nil, errWarming
	}
	w.last = u
	w.begun <- u // there is room: the one before has ended
	return u, nil
}

// current is the warm-up that is under way, or the last one; nil if there was none.
func (w *warmer) current() *warmUp {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// run makes warm-ups until ctx ends. One that fails is told of; the api goes on.
func (w *warmer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-w.begun:
			w.make(ctx, u)
		}
	}
}

func (w *warmer) make(ctx context.Context, u *warmUp) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-u.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	err := w.fill(ctx, u)
	cancel()
	watching.Wait()
	u.end(err)
	p := u.progress()
	log := w.api.log.With("pairs", p.Pairs, "filled", p.Filled, "skipped", p.Skipped, "failed", p.Done()-p.Filled-p.Skipped,
		"seconds", time.Since(u.began).Seconds())
	if err != nil {
		log.Warn("a warm-up has ended early", "error", err)
		return
	}
	log.Info("the cache was warmed")
}

// fill reads the log, and asks for what it has found.
func (w *warmer) fill(ctx context.Context, u *warmUp) error {
	found, err := u.search.Find(ctx, u.began)
	if err != nil {
		return err
	}
	job := &warm.Job{
		Pairs: found.Pairs, Rate: u.rate, Concurrency: min(u.concurrency, max(1, cap(w.api.gate.slots)/2)), Filler: inProcess{w.api},
	}
	u.mu.Lock()
	u.found, u.job = found, job
	u.mu.Unlock()
	return job.Run(ctx)
}

func (u *warmUp) end(err error) {
	u.mu.Lock()
	u.err, u.finish = err, time.Now()
	u.mu.Unlock()
	close(u.ended)
}

// cancel tells it to end early.
func (u *warmUp) cancel() { u.once.Do(func() { close(u.stop) }) }

func (u *warmUp) hasEnded() bool {
	select {
	case <-u.ended:
		return true
	default:
		return false
	}
}

func (u *warmUp) progress() warm.Progress {
	u.mu.Lock()
	job := u.job
	u.mu.Unlock()
	if job == nil {
		return warm.Progress{Tally: warm.Tally{Failed: map[string]int64{}}}
	}
	return job.Progress()
}

// inProcess asks for pairs through the api's own reader: rule 2 holds for them as for every read.
type inProcess struct{ api *API }

// Fill asks for one pair, unless Postgres has enough to do.
func (f inProcess) Fill(ctx context.Context, p warm.Pair) warm.Outcome {
	a := f.api
	if a.gate.busy() {
		return warm.Outcome{Kind: warm.Busy, Reason: "the connections to Postgres are in use"}
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	plans := a.plans.Load()
	one := plans.Of[p.Query]
	if one.Refused != nil {
		return warm.Bypassed(reasonDisabled)
	}
	text := plan.WithEnd(p.Query, a.cfg.Source)
	answer, err := a.reader.Get(ctx, plans.Request(one, p.Args, a.cfg.MaxStaleness), func(ctx context.Context) (cache.Result, error) {
		return a.fill(ctx, p.Query, text, p.Args)
	})
	if err != nil {
		told := problemOf(err)
		if unavailable(err) {
			return warm.Outcome{Kind: warm.Busy, Reason: told.Detail, Own: errors.Is(err, errStatementTimeout)}
		}
		return warm.Outcome{Kind: warm.Refused, Reason: told.Detail}
	}
	switch {
	case answer.Reason == cache.ReasonSchema:
		a.outOfDate()
		fallthrough
	case answer.Status == cache.Bypass:
		return warm.Bypassed(answer.Reason)
	case answer.Stale:
		return warm.Outcome{Kind: warm.Busy, Reason: "Postgres does not answer"}
	case answer.Status == cache.Hit:
		return warm.Outcome{Kind: warm.Skipped}
	case answer.Stored:
		return warm.Outcome{Kind: warm.Filled}
	}
	return warm.NotStored()
}

// startWarming begins the warm-up that a new process is to make before it is ready, if it is to.
func (w *warmer) startWarming() {
	if w.api.cfg.WarmOnStart == 0 || w.api.cfg.JetStream == nil {
		return
	}
	u, err := w.begin(warm.Asked{Top: w.api.cfg.WarmOnStart}, warm.DefaultRate, warm.DefaultConcurrency)
	if err != nil {
		w.api.log.Warn("the cache cannot be warmed", "error", err)
		return
	}
	w.api.log.Info("warming the cache first", "top", w.api.cfg.WarmOnStart, "deadline", w.api.cfg.WarmDeadline)
	w.api.warming.Store(u)
}

// warmingFirst tells whether a process that has just started has still to warm the cache.
func (a *API) warmingFirst() bool {
	u := a.warming.Load()
	return u != nil && !u.hasEnded() && time.Since(u.began) < a.cfg.WarmDeadline
}
