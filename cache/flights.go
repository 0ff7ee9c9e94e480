package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

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

// do joins a flight of that key that began at the time oldest or later, or begins one. Who joins gets what was true when the flight
// began, or later: its answer may be as much older.
func (f *flights) do(ctx context.Context, key string, oldest time.Time, run func(context.Context) (*Answer, error)) (*Answer, error) {
	var older time.Duration
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, errClosed
	}
	fl := f.running[key]
	if fl == nil || fl.began.Before(oldest) {
		fl = f.begin(ctx, key, run)
	} else {
		fl.joined++
		older = time.Since(fl.began)
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.answer.aged(older), fl.err
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
