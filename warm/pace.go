package warm

import (
	"context"
	"sync"
	"time"
)

const (
	// firstPause and lastPause bound how long nothing is asked once an answer has said that this is a bad time; it doubles in between.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// burst is by how much fills may be behind their rate and still catch up: timers are not exact.
	burst = 20 * time.Millisecond
	// quick is what no fill is too slow under. slow is how many times as long as the quickest ones of their query fills may take on
	// average before fewer are asked for at once: then they wait for one another, or for somebody else's statements.
	quick = 10 * time.Millisecond
	slow  = 5.0
	// smoothing is the part that the last fill has in that average.
	smoothing = 0.1
)

// pace says when the next fill may begin: so many a second, so many at once, fewer while Postgres has other things to do.
//
// How many at once is halved whenever an answer says that this is a bad time, or fills take much longer than they need; it grows by one
// after as many good ones as there are at once (as TCP does: additive increase, multiplicative decrease).
type pace struct {
	interval time.Duration // between two fills
	most     int           // at once

	mu      sync.Mutex
	changed chan struct{} // closed when there may be room
	next    time.Time     // when the next may begin
	until   time.Time     // nothing begins before
	pause   time.Duration // the last one, 0 after a good answer
	limit   int           // at once, now
	active  int
	good    int // since the limit has changed
	quicker map[string]time.Duration
	ratio   float64 // of what fills take to what they need, on average
	worked  time.Time
	trouble string // why it pauses
}

func newPace(rate float64, most int) *pace {
	return &pace{
		interval: time.Duration(float64(time.Second) / rate), most: most, limit: most, changed: make(chan struct{}),
		quicker: map[string]time.Duration{}, ratio: 1, worked: time.Now(),
	}
}

// enter waits until one more may begin; leave must follow.
func (p *pace) enter(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait, changed := p.try(time.Now())
		if wait == 0 && changed == nil {
			return nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// try lets one begin, or says how long, or for what, to wait.
func (p *pace) try(now time.Time) (wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active >= p.limit {
		return 0, p.changed
	}
	if wait = p.until.Sub(now); wait > 0 {
		return wait, nil
	}
	if behind := now.Add(-burst); p.next.Before(behind) {
		p.next = behind
	}
	if wait = p.next.Sub(now); wait > 0 {
		return wait, nil
	}
	p.next = p.next.Add(p.interval)
	p.active++
	return 0, nil
}

// leave says how the one that began at a time has ended.
func (p *pace) leave(query string, began time.Time, o Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.active--
	switch o.Kind {
	case Busy:
		p.next = p.next.Add(-p.interval) // it did not cost much
		if began.After(p.until) {        // those that were under way say the same once more
			p.pause = min(max(2*p.pause, firstPause), lastPause)
			p.until = now.Add(max(p.pause, min(o.After, lastPause)))
			p.shrink()
		}
		p.trouble = o.Reason
	case Skipped:
		p.next = p.next.Add(-p.interval) // Postgres was not asked
		p.wentWell(now)
	case Filled:
		p.timed(query, now.Sub(began))
		p.wentWell(now)
	case Refused:
		p.wentWell(now)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// wentWell ends a pause, and after enough of them lets one more at once.
func (p *pace) wentWell(now time.Time) {
	p.pause, p.trouble, p.worked = 0, "", now
	if p.good++; p.good >= p.limit && p.ratio < slow/2 {
		p.limit, p.good = min(p.limit+1, p.most), 0
	}
}

// timed compares how long a fill took with the quickest of its query. The quickest is forgotten within some hundred fills: it may not
// come back.
func (p *pace) timed(query string, took time.Duration) {
	took = max(took, quick)
	known, ok := p.quicker[query]
	if !ok || took < known {
		known = took
	}
	p.quicker[query] = known + known/100
	p.ratio += smoothing * (float64(took)/float64(known) - p.ratio)
	if p.ratio > slow {
		p.shrink()
		p.ratio = slow / 2 // it is to stay below for one more at once, and above for fewer
	}
}

func (p *pace) shrink() { p.limit, p.good = max(1, p.limit/2), 0 }

// lastWorked is when something went well the last time, or the beginning.
func (p *pace) lastWorked() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worked
}

// waiting is why it pauses; "" if it does not.
func (p *pace) waiting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble
}
