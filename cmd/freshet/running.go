package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// running is what dev has started, in order. Everything is stopped in the opposite order, one after the other, so that nothing
// loses what it still needs.
type running struct {
	log    *slog.Logger
	failed chan error // of the part that ended by itself

	parts []part
}

type part struct {
	name string
	stop func() error
}

// stopTimeout bounds the stop of each part.
const stopTimeout = 20 * time.Second

// start runs a process until it is stopped. If it ends before, everything fails.
func (r *running) start(name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { // ends before stop returns
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended by itself")
			}
			r.fail(fmt.Errorf("%s: %w", name, err))
			err = nil // reported
		}
		if errors.Is(err, context.Canceled) { // it was told to stop while it was starting
			err = nil
		}
		done <- err
	}()
	r.parts = append(r.parts, part{name, func() error {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("stop %s: %w", name, err)
			}
			return nil
		case <-time.After(stopTimeout):
			return fmt.Errorf("%s did not stop within %s", name, stopTimeout)
		}
	}})
}

// server is what package servers starts.
type server interface {
	Stop(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// watch takes a started server over: it is stopped with the rest, and if it dies everything fails.
func (r *running) watch(name string, s server) {
	stopping := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.Done():
			r.fail(fmt.Errorf("%s ended: %w", name, s.Err()))
		case <-stopping:
		}
	})
	r.parts = append(r.parts, part{name, func() error {
		close(stopping)
		watching.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return s.Stop(ctx)
	}})
}

func (r *running) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// await waits for an event, unless something fails first.
func (r *running) await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case err := <-r.failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop stops everything.
func (r *running) stop() error {
	var problems []error
	for _, p := range slices.Backward(r.parts) {
		began := time.Now()
		if err := p.stop(); err != nil {
			problems = append(problems, err)
		}
		r.log.Debug("stopped", "part", p.name, "took", time.Since(began))
	}
	r.parts = nil
	return errors.Join(problems...)
}
