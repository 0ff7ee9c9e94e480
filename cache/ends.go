package cache

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ends asks the primary where its WAL ends, for all who want to know at the same time. Nobody joins a question that was put before he
// arrived: what was acknowledged in between would be missing.
type ends struct {
	ask func(ctx context.Context) (Mark, error)

	mu      sync.Mutex
	next    *endRound // not asked yet
	running bool
	all     sync.WaitGroup
}

// endRound is one question.
type endRound struct {
	done chan struct{}
	mark Mark
	err  error
}

// endTimeout bounds one question.
const endTimeout = 2 * time.Second

var errNoEnd = errors.New("nobody can say where the WAL ends")

// join takes part in the next question.
func (e *ends) join(ctx context.Context) *endRound {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = &endRound{done: make(chan struct{})}
	}
	round := e.next
	if !e.running {
		e.running = true
		e.all.Go(func() { e.run(context.WithoutCancel(ctx)) })
	}
	return round
}

// run asks as long as there is somebody who wants to know.
func (e *ends) run(ctx context.Context) {
	for {
		e.mu.Lock()
		round := e.next
		e.next = nil
		e.running = round != nil
		e.mu.Unlock()
		if round == nil {
			return
		}
		e.put(ctx, round)
	}
}

func (e *ends) put(ctx context.Context, round *endRound) {
	defer close(round.done)
	if e.ask == nil {
		round.err = errNoEnd
		return
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	round.mark, round.err = e.ask(ctx)
}

func (r *endRound) wait(ctx context.Context) (Mark, error) {
	select {
	case <-r.done:
		return r.mark, r.err
	case <-ctx.Done():
		return Mark{}, context.Cause(ctx)
	}
}
