package invalidator

import (
	"sync"
	"time"

	"freshet/cache"
)

// Status is how far an Invalidator has come.
type Status struct {
	// State is that of the cache when messages were applied last, without its generations.
	State cache.State
	// Applied is when that was: what came was stored, or another invalidator had stored it before. The zero time: nothing was.
	Applied time.Time
	// Err is why the last session ended, until messages are applied again.
	Err error
}

// status keeps a Status.
type status struct {
	mu  sync.Mutex
	now Status
}

// Status may be called at any time, by anybody.
func (v *Invalidator) Status() Status {
	v.status.mu.Lock()
	defer v.status.mu.Unlock()
	return v.status.now
}

// applied notes that everything that has come is applied.
func (s *status) applied(state cache.State) {
	state.Generations = nil // the applier goes on writing them
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = Status{State: state, Applied: time.Now()}
}

// failed notes why a session has ended.
func (s *status) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Err = err
}
