package warm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Kind says how it went to ask for a pair.
type Kind int

// The ways in which it can go.
const (
	// Filled: it was missing, and is now in the cache.
	Filled Kind = iota
	// Skipped: it was there, and valid.
	Skipped
	// Refused: it cannot be cached, and asking again would not help.
	Refused
	// Busy: this is a bad time. It is asked again after a pause.
	Busy
)

// Outcome is how it went.
type Outcome struct {
	Kind Kind
	// Reason says why, of Refused and Busy.
	Reason string
	// After is how long to wait at least, of Busy.
	After time.Duration
	// Own is true of Busy if it may be so for this query alone.
	Own bool
}

// Filler asks for pairs as a user would. It is used by several goroutines at once.
type Filler interface {
	// Fill asks for one pair. It returns when there is an answer, or ctx ends.
	Fill(ctx context.Context, p Pair) Outcome
}

const (
	// DefaultRate is how many fills begin in a second at most.
	DefaultRate = 2000
	// MaxRate is the highest that can be asked for.
	MaxRate = 100_000
	// DefaultConcurrency is how many fills are under way at once at most.
	DefaultConcurrency = 8
	// MaxConcurrency is the highest that can be asked for.
	MaxConcurrency = 256
	// DefaultPatience is how long nothing may work before a warm-up is given up.
	DefaultPatience = 5 * time.Minute
	// tries is how often a pair is asked for while others go through.
	tries = 5
	// ownPatience is how long a query is waited for that is not cached yet, once all others are done. It is short beside the time that a
	// shape waits for a long transaction, and long beside that in which a process starts.
	ownPatience = 30 * time.Second
	// setAside is how long the pairs of such a query are not asked for after one of them was.
	setAside = time.Second
	// saveInterval is the time between two savings of how far it is.
	saveInterval = time.Second
)

// Tally counts pairs by what became of them.
type Tally struct {
	Filled  int64 `json:"filled"`
	Skipped int64 `json:"skipped"`
	// Failed are those that were asked for and are not in the cache, by the reason.
	Failed map[string]int64 `json:"failed"`
}

// Done is how many there are.
func (t *Tally) Done() int64 {
	n := t.Filled + t.Skipped
	for _, failed := range t.Failed {
		n += failed
	}
	return n
}

func (t *Tally) add(o Outcome) {
	switch o.Kind {
	case Filled:
		t.Filled++
	case Skipped:
		t.Skipped++
	case Refused, Busy:
		if t.Failed == nil {
			t.Failed = map[string]int64{}
		}
		t.Failed[o.Reason]++
	}
}

func (t *Tally) clone() Tally {
	c := *t
	c.Failed = maps.Clone(t.Failed)
	if c.Failed == nil {
		c.Failed = map[string]int64{}
	}
	return c
}

// ErrGivenUp says that nothing has worked for too long.
var ErrGivenUp = errors.New("given up")

// Job asks for pairs, in their order. It runs once.
type Job struct {
	Pairs []Pair
	// Next is the first pair that is not done, and Tally counts those before it. Both are zero unless an earlier job is gone on with.
	Next  int
	Tally Tally
	// Rate is how many fills begin in a second at most, Concurrency how many are under way at once; 0: the defaults. Hits cost no rate.
	Rate        float64
	Concurrency int
	// Patience is how long nothing may work before Run gives up; 0: DefaultPatience.
	Patience time.Duration
	Filler   Filler
	// Save, if set, is told about once a second, and at the end, how far it is: every pair before next is counted in the tally, and none
	// after it. An error ends the job.
	Save func(next int, t Tally) error

	once sync.Once
	pace *pace
	mu   sync.Mutex
	take int             // the next pair to ask for
	over map[int]Outcome // those that are done before one that stands before them
	// later are pairs of queries that were not cached yet: they come after all others.
	later []int
	// troubled is when a pair of a query could last not be cached for a reason of the query's own, hopeless are those that were waited for
	// in vain.
	troubled map[string]time.Time
	hopeless map[string]bool
}

func (j *Job) begin() {
	j.once.Do(func() {
		if j.Rate == 0 {
			j.Rate = DefaultRate
		}
		if j.Concurrency == 0 {
			j.Concurrency = DefaultConcurrency
		}
		if j.Patience == 0 {
			j.Patience = DefaultPatience
		}
		j.pace = newPace(j.Rate, j.Concurrency)
		j.take, j.over, j.troubled, j.hopeless = j.Next, map[int]Outcome{}, map[string]time.Time{}, map[string]bool{}
	})
}

// Run asks for all of them. It returns nil when none is left, the cause of ctx if that ends, an error that wraps ErrGivenUp if nothing has
// worked for too long. What is under way when ctx ends is asked for to its end, and counted.
func (j *Job) Run(ctx context.Context) error {
	j.begin()
	saved := make(chan error, 1)
	saving, stop := context.WithCancel(context.WithoutCancel(ctx))
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends before Run does
		err := j.keepSaving(saving)
		if err != nil {
			cancel(err)
		}
		saved <- err
	}()
	g, work := errgroup.WithContext(work)
	for range j.Concurrency {
		g.Go(func() error { return j.work(work) })
	}
	err := g.Wait()
	stop()
	if notSaved := <-saved; notSaved != nil {
		return notSaved
	}
	return err
}

// work asks for one pair after the other.
func (j *Job) work(ctx context.Context) error {
	for {
		i, again, ok := j.claim()
		if !ok {
			return nil
		}
		o, err := j.ask(ctx, j.Pairs[i], again)
		switch {
		case err != nil:
			return err
		case o.Kind == Busy && o.Own && !again:
			j.postpone(i)
		default:
			j.count(i, o)
		}
	}
}

// claim takes the next pair: one that was not asked for yet, or, when there are no more of them, again one that was put off.
func (j *Job) claim() (i int, again, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.take < len(j.Pairs) {
		i, j.take = j.take, j.take+1
		if time.Since(j.troubled[j.Pairs[i].Query.Name]) > setAside {
			return i, false, true
		}
		j.later = append(j.later, i)
	}
	if len(j.later) == 0 {
		return 0, false, false
	}
	i, j.later = j.later[0], j.later[1:]
	return i, true, true
}

// postpone puts a pair off until all others are done: its query is not cached yet, which is nothing that they have to wait for.
func (j *Job) postpone(i int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.troubled[j.Pairs[i].Query.Name] = time.Now()
	j.later = append(j.later, i)
}

// ask asks for a pair until there is an outcome that is no matter of time; or, the first time, one that is of its query alone.
func (j *Job) ask(ctx context.Context, p Pair, again bool) (Outcome, error) {
	first := time.Now()
	for try := 1; ; try++ {
		if err := j.pace.enter(ctx); err != nil {
			return Outcome{}, err
		}
		began := time.Now()
		// An answer that is on its way is waited for: it may be stored.
		o := j.Filler.Fill(context.WithoutCancel(ctx), p)
		own := o.Kind == Busy && o.Own && (!again || j.isHopeless(p))
		if own {
			j.pace.leave(p.Query.Name, began, Outcome{Kind: Refused}) // no reason for others to pause
		} else {
			j.pace.leave(p.Query.Name, began, o)
		}
		worked := j.pace.lastWorked()
		switch {
		case o.Kind != Busy, own:
			return o, nil
		case o.Own && time.Since(first) > ownPatience:
			j.giveUp(p)
			return o, nil
		case !o.Own && try >= tries && worked.After(first): // it is this pair, and not the time
			return o, nil
		case time.Since(worked) > j.Patience:
			return o, fmt.Errorf("%w: nothing has worked for %s: %s", ErrGivenUp, j.Patience, o.Reason)
		}
	}
}

// isHopeless tells whether a pair of the same query was waited for in vain.
func (j *Job) isHopeless(p Pair) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hopeless[p.Query.Name]
}

func (j *Job) giveUp(p Pair) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hopeless[p.Query.Name] = true
}

// count counts a pair once all before it are counted, so that the tally is that of the pairs before Next.
func (j *Job) count(i int, o Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over[i] = o
	for {
		o, done := j.over[j.Next]
		if !done {
			return
		}
		delete(j.over, j.Next)
		j.Tally.add(o)
		j.Next++
	}
}

// keepSaving saves until ctx ends, and then once more.
func (j *Job) keepSaving(ctx context.Context) error {
	if j.Save == nil {
		return nil
	}
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := j.save(); err != nil {
				return err
			}
		case <-ctx.Done():
			return j.save()
		}
	}
}

func (j *Job) save() error {
	j.mu.Lock()
	next, t := j.Next, j.Tally.clone()
	j.mu.Unlock()
	return j.Save(next, t)
}

// Progress is how far a job is.
type Progress struct {
	Tally

	// Pairs are all that there are.
	Pairs int64
	// Waiting says why nothing is asked for now; "" if all is well.
	Waiting string
}

// Progress tells how far it is. It may be asked at any time.
func (j *Job) Progress() Progress {
	j.begin()
	j.mu.Lock()
	defer j.mu.Unlock()
	p := Progress{Tally: j.Tally.clone(), Pairs: int64(len(j.Pairs)), Waiting: j.pace.waiting()}
	for _, o := range j.over {
		p.add(o)
	}
	return p
}
