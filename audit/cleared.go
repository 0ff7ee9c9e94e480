package audit

import (
	"context"
	"sync"
	"time"

	"freshet/cache"
)

// remembered is an entry that was fresh when it was looked at.
type remembered struct {
	*subject
	look *cache.Inspection
	sum  [32]byte
	at   time.Time // of the last look
}

const (
	// maxRemembered bounds the entries that are watched for being cleared.
	maxRemembered = 1024
	// recallAfter is the shortest time between two looks at one of them.
	recallAfter = 250 * time.Millisecond
)

// memory is a queue of entries, the one that was looked at longest ago first.
type memory struct {
	mu    sync.Mutex
	queue []remembered
	known map[string]bool // identities
}

func (m *memory) add(r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]bool{}
	}
	if id := r.req.Field + r.look.Identity; len(m.queue) < maxRemembered && !m.known[id] && !r.Timed {
		m.known[id] = true
		m.queue = append(m.queue, r)
	}
}

// take takes the first out, if it is time to look at it again.
func (m *memory) take(now time.Time) (r remembered, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 || now.Sub(m.queue[0].at) < recallAfter {
		return r, false
	}
	r = m.queue[0]
	m.queue = m.queue[1:]
	delete(m.known, r.req.Field+r.look.Identity)
	return r, true
}

// recall looks at one remembered entry again, and if it was cleared finds out whether that was for nothing.
func (a *Auditor) recall(ctx context.Context) {
	r, ok := a.memory.take(time.Now())
	if !ok {
		return
	}
	now, err := a.reader.Inspect(ctx, r.req)
	switch {
	case err != nil || now.Bound[0] == "": // nothing is known of it: no server, or a cache that is just beginning
	case !time.Now().Before(r.look.Expires):
		return // its ttl has ended it
	case !differ(r.look.Bound, now.Bound):
		if now.Answer == nil || now.Identity != r.look.Identity {
			return // filled anew, or deleted, while its buckets lived: no clear
		}
	default:
		a.cleared(ctx, r, now)
		return
	}
	r.at = time.Now()
	a.memory.add(r)
}

func differ(before, now []string) bool {
	for i := range before {
		if before[i] != now[i] {
			return true
		}
	}
	return false
}

// cleared counts an entry that was cleared, and whether what has taken its place, or would, is the same.
func (a *Auditor) cleared(ctx context.Context, r remembered, now *cache.Inspection) {
	var result cache.Result
	if now.Reason == "" && now.Answer != nil {
		result = now.Answer.Result
	} else {
		var err error
		if result, _, err = a.ask(ctx, r.subject); err != nil {
			if ctx.Err() == nil {
				a.failed("a query cannot be run", err)
			}
			return
		}
	}
	shapes := len(r.req.Tags)
	whole := differ(r.look.Bound[:1+shapes], now.Bound[:1+shapes])
	a.stats.cleared(r.Query.Name, sumOf(result) == r.sum, whole)
}
