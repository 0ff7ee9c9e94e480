package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	all     = flag.Bool("all", false, "every fault, not only one of each group")
	runs    = flag.Int("runs", 1, "how often everything is done")
	seed    = flag.Uint64("seed", rand.Uint64(), "seed of the random choices")
	lasting = flag.Duration("lasting", time.Second, "how long everybody reads and writes before and after each fault")
	within  = flag.Duration("within", patience, "how long after a fault's end the service must be back")
	report  = flag.String("report", "", "the Markdown file in which the table of the results is to be replaced")
)

// fault is one thing that goes wrong.
type fault struct {
	name string
	// short ones are part of every test run.
	short bool
	// fails says that requests may fail while it lasts: what they need is gone, and no cache can help.
	fails bool
	// before, if set, is done while everybody reads and writes. Then everybody rests, and strike makes Postgres lose what it has
	// acknowledged since; they go on at the moment when it returns.
	before func(s *site)
	// strike does it; when it returns, the fault has ended, unless there is more.
	strike func(s *site)
	// more, if set, is done while everybody reads and writes again; when it returns, the fault has ended.
	more func(s *site)
}

// group is a list of faults that are done to one site, one after the other.
type group struct {
	name    string
	options func(t *testing.T) options
	faults  []fault
}

func (g *group) chosen() []fault {
	var chosen []fault
	for _, f := range g.faults {
		if *all || f.short {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

func TestFaults(t *testing.T) {
	t.Logf("repeat the choices with -seed %d", *seed)
	var results results
	for range *runs {
		for _, g := range groups {
			chosen := g.chosen()
			if len(chosen) == 0 {
				continue
			}
			t.Run(g.name, func(t *testing.T) {
				var o options
				if g.options != nil {
					o = g.options(t)
				}
				s := newSite(t, o)
				for _, f := range chosen {
					t.Run(f.name, func(t *testing.T) {
						s.t = t
						r, err := s.suffer(f)
						require.NoError(t, err)
						t.Log(r)
						results.add(g.name, f.name, r)
					})
					if t.Failed() {
						return // what follows would suffer from it
					}
				}
			})
		}
	}
	t.Log("\n" + results.table())
	if *report != "" && !t.Failed() {
		require.NoError(t, results.write(*report))
	}
}

// suffer does a fault under load, and judges everything.
func (s *site) suffer(f fault) (result, error) {
	s.counts = &counts{}
	r := result{counts: s.counts}
	strike := func() {
		began := time.Now()
		f.strike(s)
		r.lasted = time.Since(began)
	}
	lead := func() { pause(s.ctx, *lasting) }
	if f.before != nil {
		err := s.work(func() error {
			lead()
			f.before(s)
			return nil
		})
		if err == nil {
			err = s.lose(&r, strike)
		}
		if err != nil {
			return r, err
		}
		lead, strike = func() {}, func() {}
	}
	var failedBefore, hitsBefore int64
	err := s.work(func() error {
		lead()
		failedBefore = s.counts.failed.Load()
		if s.ctx.Err() == nil {
			strike()
			if f.more != nil {
				f.more(s)
			}
		}
		var err error
		if r.recovered, err = s.recover(*within); err != nil {
			return err
		}
		s.healthy.Store(int64(s.history.now()))
		hitsBefore = s.counts.hits.Load()
		pause(s.ctx, *lasting)
		return nil
	})
	s.healthy.Store(int64(never))
	if err != nil {
		return r, err
	}
	if failed := s.counts.failed.Load(); failed > 0 && !f.fails || failedBefore > 0 {
		return r, fmt.Errorf("%d requests failed, the last with: %w", failed, s.counts.lastFailure.Load())
	}
	if s.counts.hits.Load() == hitsBefore {
		return r, errors.New("there were no hits after the fault's end")
	}
	return r, s.judge(&r)
}

// work lets everybody read and write while something is done. A promise that is broken ends both, and explains whatever else went
// wrong.
func (s *site) work(do func() error) error {
	work, stop := context.WithCancel(s.t.Context())
	defer stop()
	unbroken, breaks := context.WithCancel(s.t.Context())
	defer breaks()
	s.ctx = unbroken
	defer func() { s.ctx = s.t.Context() }()
	done := make(chan error, 1)
	go func() { // ends when it is told to stop, or by itself when a promise is broken
		err := s.run(work)
		breaks()
		done <- err
	}()
	err := do()
	stop()
	if broken := <-done; broken != nil {
		return broken
	}
	return err
}

// lose judges what was read so far, and has Postgres lose its newest transactions.
func (s *site) lose(r *result, strike func()) error {
	before, err := s.values()
	if err != nil {
		return fmt.Errorf("read the database: %w", err)
	}
	if r.linearizable, err = s.history.settle(before); err != nil {
		return err
	}
	strike()
	var after map[int64]state
	s.until("the database can be read", func() bool {
		after, err = s.values()
		return err == nil
	})
	return s.history.lose(after)
}

// judge looks at everything once everybody rests.
func (s *site) judge(r *result) error {
	now, err := s.values()
	if err != nil {
		return fmt.Errorf("read the database: %w", err)
	}
	judged, err := s.history.settle(now)
	if r.linearizable += judged; err != nil {
		return err
	}
	if r.compared, err = s.compare(); err != nil {
		return err
	}
	// Without these nothing was shown.
	if r.counts.hits.Load() == 0 || r.counts.writes.Load() == 0 || r.linearizable == 0 || r.compared == 0 {
		return errors.New("there were no hits, no writes, no linearizable reads, or nothing was cached")
	}
	return nil
}
