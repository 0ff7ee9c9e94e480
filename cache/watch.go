package cache

import (
	"context"
	"sync"
	"time"
)

// watch looks at the watermark again and again while somebody waits for it, for all of them at once.
type watch struct {
	mark func(ctx context.Context) (Mark, error)

	mu      sync.Mutex
	waiters map[*waiter]bool
	looks   int // since somebody came
	running bool
	all     sync.WaitGroup
}

type waiter struct {
	goal    Mark
	reached chan struct{}
}

const (
	// watchInterval is the pause between two looks: a change takes about a millisecond to be applied.
	watchInterval = 300 * time.Microsecond
	// watchTimeout bounds one look.
	watchTimeout = time.Second
	// watchRetry is the pause after a look that failed, and after quickWatches of them: who waits that long can wait a little longer.
	watchRetry   = 5 * time.Millisecond
	quickWatches = 1000
)

// until waits until the watermark has reached the goal. It returns false if that takes longer than patience, or the context ends.
func (w *watch) until(ctx context.Context, goal Mark, patience time.Duration) bool {
	if !goal.Reachable() {
		return false
	}
	wait := &waiter{goal, make(chan struct{})}
	w.add(ctx, wait)
	defer w.remove(wait)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-wait.reached:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (w *watch) add(ctx context.Context, wait *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiters == nil {
		w.waiters = map[*waiter]bool{}
	}
	w.waiters[wait] = true
	w.looks = 0
	if !w.running {
		w.running = true
		w.all.Go(func() { w.run(context.WithoutCancel(ctx)) })
	}
}

func (w *watch) remove(wait *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiters, wait)
}

// run looks until nobody waits any more.
func (w *watch) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range pause.C {
		mark, err := w.look(ctx)
		more, looks := w.wake(mark)
		switch {
		case !more:
			return
		case err != nil || looks > quickWatches:
			pause.Reset(watchRetry)
		default:
			pause.Reset(watchInterval)
		}
	}
}

func (w *watch) look(ctx context.Context) (Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	return w.mark(ctx)
}

// wake tells those whose goal is reached, and returns whether somebody still waits, and how often it was looked since somebody came.
func (w *watch) wake(mark Mark) (more bool, looks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wait := range w.waiters {
		if mark.Position != 0 && mark.Reached(wait.goal) {
			close(wait.reached)
			delete(w.waiters, wait)
		}
	}
	w.running = len(w.waiters) > 0
	w.looks++
	return w.running, w.looks
}
