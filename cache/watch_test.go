package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stored is a watermark to look at.
type stored struct {
	mu    sync.Mutex
	mark  Mark
	err   error
	looks int
}

func (s *stored) look(ctx context.Context) (Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if ctx.Err() != nil {
		return Mark{}, ctx.Err()
	}
	return s.mark, s.err
}

func (s *stored) set(m Mark, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark, s.err = m, err
}

func (s *stored) looked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

// untilLater is until in a goroutine.
func (w *watch) untilLater(ctx context.Context, goal Mark, patience time.Duration) <-chan bool {
	reached := make(chan bool, 1)
	w.all.Go(func() { reached <- w.until(ctx, goal, patience) })
	return reached
}

// pass lets time pass in a bubble of synctest: that of its own clock, at once, when everything else waits.
func pass(d time.Duration) { <-time.After(d) }

// Each is woken as soon as the watermark has reached its goal, and not before.
func TestWatchWakesThoseWhoseGoalIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{mark: Mark{1, 100}}
		w := watch{mark: s.look}
		near := w.untilLater(t.Context(), Mark{1, 200}, time.Second)
		far := w.untilLater(t.Context(), Mark{1, 300}, time.Second)
		pass(20 * watchInterval)
		require.Empty(t, near)

		s.set(Mark{1, 250}, nil)
		began := time.Now()
		require.True(t, <-near)
		require.LessOrEqual(t, time.Since(began), watchInterval)
		synctest.Wait()
		require.Empty(t, far, "its goal is further away")
		s.set(Mark{1, 300}, nil)
		require.True(t, <-far)
		w.all.Wait()
	})
}

// Patience is exactly as long as it says; nobody looks for those who have gone.
func TestWatchGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{mark: Mark{1, 100}}
		w := watch{mark: s.look}
		began := time.Now()
		require.False(t, w.until(t.Context(), Mark{1, 200}, 50*time.Millisecond))
		require.Equal(t, 50*time.Millisecond, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		gone := w.untilLater(ctx, Mark{1, 200}, time.Hour)
		synctest.Wait()
		cancel()
		require.False(t, <-gone)
		w.all.Wait() // it has stopped looking: there is nobody

		looks := s.looked()
		pass(time.Second)
		require.Equal(t, looks, s.looked())
		s.set(Mark{1, 200}, nil)
		require.True(t, w.until(t.Context(), Mark{1, 200}, time.Second), "and begins again")
		w.all.Wait()
	})
}

// Who waited first may go away: the others are still told.
func TestWatchOutlivesWhoWaitedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{mark: Mark{1, 100}}
		w := watch{mark: s.look}
		ctx, cancel := context.WithCancel(t.Context())
		first := w.untilLater(ctx, Mark{1, 200}, time.Minute)
		synctest.Wait()
		second := w.untilLater(t.Context(), Mark{1, 200}, time.Minute)
		cancel()
		require.False(t, <-first)
		s.set(Mark{1, 200}, nil)
		require.True(t, <-second)
		w.all.Wait()
	})
}

// A hundred who wait cost Redis no more than one.
func TestWatchLooksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{mark: Mark{1, 100}}
		w := watch{mark: s.look}
		const patience = 100 * watchInterval
		for range 100 {
			w.untilLater(t.Context(), Mark{1, 200}, patience)
		}
		w.all.Wait()
		require.LessOrEqual(t, s.looked(), 102)
		require.GreaterOrEqual(t, s.looked(), 99)
	})
}

// A look that fails tells nothing: it wakes nobody, and is repeated.
func TestWatchGoesOnAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{err: errors.New("connection refused")}
		w := watch{mark: s.look}
		reached := w.untilLater(t.Context(), Mark{1, 100}, time.Second)
		zero := w.untilLater(t.Context(), Mark{}, time.Second)
		pass(10 * watchRetry)
		require.Empty(t, reached)
		require.Empty(t, zero, "a watermark that is not there has reached nothing")
		require.LessOrEqual(t, s.looked(), 12, "not in a tight loop")
		s.set(Mark{1, 100}, nil)
		require.True(t, <-reached)
		require.True(t, <-zero)
		w.all.Wait()
	})
}

// A look that hangs is given up, so that whoever waits after it is not held up for ever.
func TestWatchBoundsALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{mark: Mark{1, 100}}
		w := watch{mark: func(ctx context.Context) (Mark, error) {
			if s.looked() == 0 {
				_, _ = s.look(ctx)
				<-ctx.Done()
				return Mark{}, ctx.Err()
			}
			return s.look(ctx)
		}}
		began := time.Now()
		require.True(t, w.until(t.Context(), Mark{1, 100}, time.Minute))
		require.Equal(t, watchTimeout+watchRetry, time.Since(began))
		w.all.Wait()
	})
}
