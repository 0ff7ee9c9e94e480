package cdc

import (
	"sync"
	"time"

	"freshet/events"
)

// confirmer tells which position Postgres may forget: one that JetStream has safely. JetStream acknowledges a message
// before it is fsynced (unless its sync_interval is "always"), so a position is safe once its acknowledgement is older than
// the sync interval. It never goes back.
type confirmer struct {
	delay time.Duration
	now   func() time.Time

	mu   sync.Mutex
	safe events.Position
	// waiting holds acknowledged positions in order; at most marksPerDelay of them, as those that come too close are left out.
	waiting []mark
}

type mark struct {
	position events.Position
	acked    time.Time
}

const marksPerDelay = 64

// newConfirmer starts at the position that the slot has confirmed already. Sending a lower one would move the slot back.
func newConfirmer(confirmed events.Position, syncInterval time.Duration) *confirmer {
	return &confirmer{delay: syncInterval, now: time.Now, safe: confirmed}
}

// acknowledged records that everything at or below position was acknowledged at time now.
func (c *confirmer) acknowledged(position events.Position, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delay <= 0 {
		c.safe = max(c.safe, position)
		return
	}
	if n := len(c.waiting); n > 0 && now.Sub(c.waiting[n-1].acked) < c.delay/marksPerDelay {
		return // a later one will do: watermarks never stop coming
	}
	c.waiting = append(c.waiting, mark{position, now})
	c.advance(now)
}

// position is what may be confirmed at time now.
func (c *confirmer) position(now time.Time) events.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	return c.safe
}

func (c *confirmer) advance(now time.Time) {
	done := 0
	for done < len(c.waiting) && now.Sub(c.waiting[done].acked) >= c.delay {
		c.safe = max(c.safe, c.waiting[done].position)
		done++
	}
	c.waiting = append(c.waiting[:0], c.waiting[done:]...)
}
