// Package health looks at what a process depends on, in the background, and answers what it saw: a health request does no I/O, so it is
// fast while everything else is slow.
//
// It owns the checks, their results and the JSON of the health endpoints. It must never show a secret, and a check that hangs must hold up
// neither the others nor an answer.
package health

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultInterval is the time between two looks of a check.
	DefaultInterval = 5 * time.Second
	// DefaultTimeout bounds a look of a check that has no timeout of its own.
	DefaultTimeout = 2 * time.Second
	// grace is what a look may take beyond its timeout, to notice that the time is over, before it counts as hanging.
	grace = 100 * time.Millisecond
	// farewell bounds the wait for looks that do not end with their context when the process stops.
	farewell = time.Second
)

// Check is one thing that is looked at.
type Check struct {
	Name string
	// Timeout bounds one look; 0: DefaultTimeout.
	Timeout time.Duration
	// Look looks. What it returns is shown, encoded as JSON, to those who may see details; it must not change afterwards. The error says
	// what is wrong; with one, details may still be returned.
	Look func(ctx context.Context) (details any, err error)
}

// Config says what a Monitor looks at, and how it tells.
type Config struct {
	// Process and Version are shown.
	Process, Version string
	// Interval is the time between two looks of a check; 0: DefaultInterval.
	Interval time.Duration
	Checks   []Check
	// Ready says whether the process can do its work. It is called with each request and must do no I/O: it goes by results, and by what
	// the process knows of itself.
	Ready func(m *Monitor) Readiness
	// Live are sections of the details that are made anew for each request, without I/O.
	Live map[string]func() any
	// NotKnown says of what this process cannot tell, and who can.
	NotKnown map[string]string
	// Secrets never appear in an answer; see SecretsOf.
	Secrets []string
	// AdminToken is the bearer token for the details; Open lets everybody see them.
	AdminToken string
	Open       bool
}

// Monitor runs the checks. Make it with New, run it once.
type Monitor struct {
	cfg     Config
	started time.Time
	checks  map[string]*check
}

// New returns a Monitor, of which nothing is known before it runs.
func New(cfg Config) *Monitor {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	m := &Monitor{cfg: cfg, started: time.Now(), checks: make(map[string]*check, len(cfg.Checks))}
	for _, c := range cfg.Checks {
		if c.Timeout <= 0 {
			c.Timeout = DefaultTimeout
		}
		one := &check{Check: c, secrets: cfg.Secrets, seen: make(chan struct{})}
		one.result.Store(&Result{Status: Unknown, Since: m.started})
		m.checks[c.Name] = one
	}
	return m
}

// Run looks, at once and then at every interval, until ctx ends. Each check has a goroutine of its own: one that hangs is alone with it.
func (m *Monitor) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, c := range m.checks {
		all.Go(func() { c.run(ctx, m.cfg.Interval) })
	}
	ended := make(chan struct{})
	go func() { // ends with the last look
		all.Wait()
		close(ended)
	}()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(farewell): // a look that does not know its context; the process ends without it
	}
	return nil
}

// Result is what the last looks of a check have shown; Unknown if there is no check of that name.
func (m *Monitor) Result(name string) Result {
	c, there := m.checks[name]
	if !there {
		return Result{Status: Unknown}
	}
	return c.now(time.Now())
}

// AwaitFirst waits until every check has been looked at once, or has hung: at a start nothing is known yet.
func (m *Monitor) AwaitFirst(ctx context.Context) {
	for _, c := range m.checks {
		select {
		case <-c.seen:
			continue
		default:
		}
		patience := time.NewTimer(time.Until(m.started.Add(c.Timeout + grace)))
		select {
		case <-c.seen:
		case <-patience.C:
		case <-ctx.Done():
		}
		patience.Stop()
	}
}

// check is a Check and what it has shown.
type check struct {
	Check
	secrets []string
	// result is of the last look that ended; began is when the one that runs began, in Unix nanoseconds, 0 if none runs.
	result atomic.Pointer[Result]
	began  atomic.Int64
	// seen is closed after the first look.
	seen chan struct{}
}

func (c *check) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		c.look(ctx)
		if first {
			close(c.seen)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *check) look(ctx context.Context) {
	began := time.Now()
	c.began.Store(began.UnixNano())
	look, cancel := context.WithTimeout(ctx, c.Timeout)
	details, err := c.Look(look)
	cancel()
	ended := time.Now()
	if ctx.Err() == nil { // a look that was cut off by the stop tells nothing
		c.result.Store(c.after(began, ended, details, err))
	}
	c.began.Store(0)
}

// after is the result after a look.
func (c *check) after(began, ended time.Time, details any, err error) *Result {
	before := c.result.Load()
	next := &Result{
		Status: OK, Since: before.Since, CheckedAt: ended, LastSuccess: before.LastSuccess, LatencyMS: milliseconds(ended.Sub(began)),
		Details: details,
	}
	switch {
	case err == nil:
		next.LastSuccess = ended
	case isTimeout(err):
		next.Status, next.Error = Hanging, redact(err.Error(), c.secrets)
	default:
		next.Status, next.Error = Failing, redact(err.Error(), c.secrets)
	}
	if public, ok := errors.AsType[*PublicError](err); ok {
		next.public = public.Text
	}
	if next.Status != before.Status {
		next.Since = began
	}
	return next
}

// now is the result as of now: a look that should have ended is one that hangs.
func (c *check) now(now time.Time) Result {
	began := c.began.Load() // before the result: a look that ends in between is then seen as ended
	r := *c.result.Load()
	if began == 0 || now.Sub(time.Unix(0, began)) <= c.Timeout+grace || r.CheckedAt.UnixNano() > began {
		return r
	}
	if r.Status != Hanging {
		r.Since = time.Unix(0, began)
	}
	r.Status, r.Error = Hanging, "no answer since "+time.Unix(0, began).UTC().Format(time.RFC3339)
	return r
}

// isTimeout tells whether an error is that of who waited in vain.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	waited, ok := errors.AsType[net.Error](err)
	return ok && waited.Timeout()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
