package invalidator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"freshet/cache"
	"freshet/events"
)

const (
	// liveInterval is how often Redis is asked whether anybody listens.
	liveInterval = time.Second
	// liveTimeout bounds one question or message.
	liveTimeout = time.Second
	// liveQueue is how many steps may wait to be told; those beyond are dropped, and counted.
	liveQueue = 64
	// liveChanges, liveBuckets and liveText bound what is told of a step, of a change and of a value.
	liveChanges = 50
	liveBuckets = 20
	liveText    = 60
)

// live tells whoever watches what was applied. The apply path only ever puts something into a queue, and not even that while nobody
// listens.
type live struct {
	store     *cache.Redis
	now       func() time.Time
	listening atomic.Bool
	dropped   atomic.Uint64
	queue     chan *cache.Live
}

func newLive(store *cache.Redis, now func() time.Time) *live {
	return &live{store: store, now: now, queue: make(chan *cache.Live, liveQueue)}
}

// run asks who listens, and tells, until ctx ends. A Redis that does not answer costs the watchers something, and nobody else.
func (l *live) run(ctx context.Context) error {
	ticker := time.NewTicker(liveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case <-ticker.C:
			l.ask(ctx)
		case told := <-l.queue:
			told.Dropped = l.dropped.Load()
			tell, cancel := context.WithTimeout(ctx, liveTimeout)
			if err := l.store.PublishLive(tell, told); err != nil {
				l.dropped.Add(1)
			}
			cancel()
		}
	}
}

func (l *live) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	n, err := l.store.LiveListeners(ctx)
	l.listening.Store(err == nil && n > 0)
}

// watched is what a step notes of its changes while somebody listens.
type watched struct {
	changes []cache.LiveChange
	more    int
}

// note notes the changes of a message. Each of the first is matched once more, alone, which tells what it clears by itself.
func (l *live) note(w *watched, m *matcher, msg *events.Changes) {
	if !l.listening.Load() {
		return
	}
	for i := range msg.Changes {
		if len(w.changes) >= liveChanges {
			w.more += len(msg.Changes) - i
			return
		}
		one := *msg
		one.Changes = msg.Changes[i : i+1]
		c := newClearing()
		m.match(&one, c)
		w.changes = append(w.changes, describe(msg, &one.Changes[0], c))
	}
}

func describe(msg *events.Changes, change *events.Change, c *clearing) cache.LiveChange {
	told := cache.LiveChange{
		Table: label([2]string{msg.Schema, msg.Table}), Op: string(change.Op), Key: keyText(change.Key),
		Position: msg.Position.String(), Committed: msg.Committed,
	}
	for _, name := range slices.Sorted(maps.Keys(c.shapes)) {
		told.Buckets = append(told.Buckets, cut(name, 2*liveText)+" *")
	}
	for _, name := range slices.Sorted(maps.Keys(c.tags)) {
		told.Buckets = append(told.Buckets, cut(name, 2*liveText))
	}
	if n := len(told.Buckets) - liveBuckets; n > 0 {
		told.Buckets, told.MoreBuckets = told.Buckets[:liveBuckets], n
	}
	return told
}

// keyText is a row's key for people: id=42.
func keyText(key events.Row) string {
	parts := make([]string, 0, len(key))
	for _, f := range key {
		value := cut(f.Value, liveText)
		if f.Null {
			value = "NULL"
		}
		parts = append(parts, f.Name+"="+value)
	}
	return cut(strings.Join(parts, ", "), 2*liveText)
}

// cut shortens a text to so many bytes, at the end of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// applied tells of a step that is stored. It never waits.
func (l *live) applied(w *watched, state cache.State, cleared map[[2]string]int) {
	if len(w.changes) == 0 || !l.listening.Load() {
		return
	}
	told := &cache.Live{Position: state.Position.String(), Sequence: state.Sequence, Changes: w.changes, More: w.more}
	for _, n := range cleared {
		told.Cleared += n
	}
	now := l.now()
	for i := range told.Changes {
		told.Changes[i].Milliseconds = float64(max(0, now.Sub(told.Changes[i].Committed)).Microseconds()) / 1000
	}
	l.offer(told)
}

// cleared tells that everything was cleared.
func (l *live) cleared(state cache.State, reason string) {
	if l.listening.Load() {
		l.offer(&cache.Live{Reset: reason, Position: state.Position.String(), Sequence: state.Sequence})
	}
}

func (l *live) offer(told *cache.Live) {
	select {
	case l.queue <- told:
	default:
		l.dropped.Add(1)
	}
}
