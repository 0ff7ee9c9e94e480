package network

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause = 50 * time.Millisecond
	// LastPause is the longest pause: what is back must not wait long for those who try.
	LastPause = time.Second
)

// Backoff is the pauses between attempts, which double up to LastPause. The zero Backoff begins anew.
type Backoff struct{ last time.Duration }

// Next is the next pause. Up to a half of it is chance, so that those who have lost the same server do not all come back at once.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, firstPause), LastPause)
	return b.last/2 + rand.N(b.last/2+1)
}
