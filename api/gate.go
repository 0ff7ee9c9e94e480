package api

import (
	"context"
	"errors"
	"sync/atomic"
)

// gate stands in front of the pool: it lets as many statements through as there are connections, and bounds how many wait. A cache
// that is gone then makes reads slow, and at some point refused, but never takes the database with it.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	most    int64
}

func newGate(connections, waiting int) *gate {
	return &gate{slots: make(chan struct{}, max(1, connections)), most: int64(waiting)}
}

// errCrowded says that too many wait already.
var errCrowded = errors.New("too many requests wait for Postgres")

// enter waits for a place, which leave gives back.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.most {
		g.waiting.Add(-1)
		return errCrowded
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) leave() { <-g.slots }

// busy tells whether so many statements run that whoever can wait should: somebody waits already, or would soon.
func (g *gate) busy() bool {
	return g.waiting.Load() > 0 || 4*len(g.slots) > 3*cap(g.slots)
}
