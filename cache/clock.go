package cache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the clock of the Postgres server, as seen from here. Ages of the watermark are measured by that one clock, so that
// they are right whatever the clocks of the machines of cdc, invalidator and api say.
type Clock struct {
	base   time.Time // local, with its monotonic reading
	offset atomic.Int64

	mu sync.Mutex
	// between is what the offset was between, according to the quickest answer of the last minute.
	between struct {
		low, high int64
		at        time.Duration
	}
}

// likelyLife is how long an answer stands for the likely time although others were slower: clocks drift by some ms a minute at most.
const likelyLife = time.Minute

// NewClock asks for the time once, with ask.
func NewClock(ctx context.Context, ask func(context.Context) (time.Time, error)) (*Clock, error) {
	c := &Clock{base: time.Now()}
	return c, c.Sync(ctx, ask)
}

// Sync sets the clock. The server read its clock after the question was sent, so adding the whole round trip gives a time
// that is never earlier than the server's: an age is overstated by a round trip rather than understated.
func (c *Clock) Sync(ctx context.Context, ask func(context.Context) (time.Time, error)) error {
	sent := time.Since(c.base)
	got, err := ask(ctx)
	if err != nil {
		return fmt.Errorf("read the clock of Postgres: %w", err)
	}
	received := time.Since(c.base)
	c.offset.Store(got.UnixNano() - int64(sent))
	c.narrow(got.UnixNano()-int64(received), got.UnixNano()-int64(sent), received)
	return nil
}

// narrow keeps what an answer says if it says it more exactly, if the one before is old, or if the two cannot both be right: then the
// server's clock was set.
func (c *Clock) narrow(low, high int64, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.between
	if high-low < b.high-b.low || at-b.at > likelyLife || low > b.high || high < b.low {
		b.low, b.high, b.at = low, high, at
	}
}

// Now is the time of the server, not earlier than it really is.
func (c *Clock) Now() time.Time {
	return time.Unix(0, c.offset.Load()+int64(time.Since(c.base)))
}

// Likely is the time of the server as it most likely is, to measure by: it may be half a round trip earlier or later than it really is. No
// promise may rest on it.
func (c *Clock) Likely() time.Time {
	c.mu.Lock()
	offset := c.between.low + (c.between.high-c.between.low)/2
	c.mu.Unlock()
	return time.Unix(0, offset+int64(time.Since(c.base)))
}
