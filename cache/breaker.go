package cache

import (
	"errors"
	"sync/atomic"
	"time"
)

var errBreaker = errors.New("Redis has just failed")

// breaker keeps requests from waiting for a Redis that has just failed: for breakerPause they go to Postgres at once.
type breaker struct {
	until  atomic.Int64 // Unix nanoseconds
	logged atomic.Int64
}

const (
	breakerPause = 200 * time.Millisecond
	breakerLog   = int64(5 * time.Second)
)

func (b *breaker) open() bool { return time.Now().UnixNano() < b.until.Load() }

func (b *breaker) trip() { b.until.Store(time.Now().UnixNano() + int64(breakerPause)) }

// mayLog is true once in breakerLog.
func (b *breaker) mayLog() bool {
	now := time.Now().UnixNano()
	last := b.logged.Load()
	return now-last > breakerLog && b.logged.CompareAndSwap(last, now)
}
