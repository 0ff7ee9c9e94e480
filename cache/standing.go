package cache

import (
	"sync/atomic"
	"time"
)

// standing tells for how long a watermark has stood still, as far as this process has seen it. A watermark that nothing moves would
// become young again if the clock of Postgres were set back.
type standing struct {
	last atomic.Pointer[sighting]
}

// sighting is the watermark that was seen last, and when it was seen first.
type sighting struct {
	mark  Mark
	at    int64 // Unix nanoseconds
	first time.Time
}

// since is the time since the watermark of a look was first seen, without another one in between.
func (s *standing) since(l *look) time.Duration {
	at := l.at.UnixNano()
	if last := s.last.Load(); last != nil && last.at == at && last.mark == l.mark {
		return time.Since(last.first)
	}
	s.last.Store(&sighting{mark: l.mark, at: at, first: time.Now()})
	return 0
}

// age is how long ago what the watermark of a look vouches for was true: by the clock of Postgres, but no shorter than it has stood
// still. ok is false if nobody can tell: a time ahead of the clock was read before the clock was set back.
func (r *Reader) age(l *look) (age time.Duration, ok bool) {
	age = r.cfg.Now().Sub(l.at)
	return max(0, age, r.standing.since(l)), age >= -maxLead
}

// maxLead is how far ahead of the clock a watermark may seem: the clock is read again only now and then, and drifts.
const maxLead = time.Second
