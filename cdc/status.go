package cdc

import (
	"sync"
	"sync/atomic"
	"time"

	"freshet/events"
)

// Phase is what a CDC is about.
type Phase string

// The phases. A session that ends makes a CDC try again, until the next one streams or stands by.
const (
	Starting Phase = "starting"
	// StandingBy waits for the slot, which another cdc holds.
	StandingBy Phase = "standing by"
	Streaming  Phase = "streaming"
	Retrying   Phase = "trying again"
)

// Status is how a CDC stands.
type Status struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Session names the session that streams, or did so last.
	Session string
	// Published is the position that was reported to the stream last: everything at or below it was sent; 0: nothing yet.
	Published events.Position
	// Err is why the last session ended, while it is tried again.
	Err error
}

// status keeps a Status. Its zero value is of a CDC that starts.
type status struct {
	mu        sync.Mutex
	now       Status
	published atomic.Uint64
}

// Status may be called at any time, by anybody.
func (c *CDC) Status() Status {
	c.status.mu.Lock()
	defer c.status.mu.Unlock()
	s := c.status.now
	if s.Phase == "" {
		s.Phase = Starting
	}
	s.Published = events.Position(c.status.published.Load())
	return s
}

// enter begins a phase; session is "" if it is that of before.
func (s *status) enter(phase Phase, session string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Phase != phase || session != "" {
		s.now.Since = time.Now()
	}
	if session != "" {
		s.now.Session = session
	}
	s.now.Phase, s.now.Err = phase, err
}
