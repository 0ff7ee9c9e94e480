package cache

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Clock is the clock of the Postgres server, as seen from here. Ages of the watermark are measured by that one clock, so that
// they are right whatever the clocks of the machines of cdc, invalidator and api say.
type Clock struct {
	base   time.Time // local, with its monotonic reading
	offset atomic.Int64
}

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
	c.offset.Store(got.UnixNano() - int64(sent))
	return nil
}

// Now is the time of the server, not earlier than it really is.
func (c *Clock) Now() time.Time {
	return time.Unix(0, c.offset.Load()+int64(time.Since(c.base)))
}
