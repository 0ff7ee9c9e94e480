package faults

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	groupSize     = 10 // rows of a group
	writerCount   = 2  // writers by SQL
	writerGroups  = 4  // groups that each of them owns, beside a pair
	sessionCount  = 4  // sessions: each owns a group, and writes it by HTTP
	readerCount   = 10
	groupCount    = writerCount*writerGroups + sessionCount
	moverCount    = 3 // rows of a pair that are always in one of its groups
	guestCount    = 2 // rows of a pair that are deleted and come back
	pairSize      = moverCount + guestCount
	afterFailure  = 5 * time.Millisecond
	linearizable  = "Cache-Control: no-cache"
	positionTitle = "Freshet-Position"
)

// counts are what happened during one fault.
type counts struct {
	reads, hits, misses, bypassed, stale, writes, failed atomic.Int64
	// outOfDate are the reads of the query with the longest bound that went to Postgres because the watermark was too old.
	outOfDate atomic.Int64
	// lastFailure is one of the failures, for the message should there be none.
	lastFailure atomic.Pointer[failedError]
}

// load is everybody who reads and writes.
type load struct {
	*client
	all      []string                 // of the api's processes
	urls     atomic.Pointer[[]string] // those that are asked, as a load balancer would have it
	database func(ctx context.Context) (conn, error)
	counts   *counts
	pace     time.Duration // of each writer by SQL
	// healthy is when everything has to work again: what is asked later must not fail.
	healthy atomic.Int64

	pairs    []*pair
	members  map[place][]int64 // the rows that may be in a group
	readers  []*reader
	sessions []*session
	writers  []*writer
}

// pair is two groups, and rows that move from the one to the other; some of them are deleted and inserted again.
type pair struct {
	groups [2]place
	ids    []int64 // the movers, then the guests
}

// groupIDs are the rows of a group.
func groupIDs(group int) []int64 {
	ids := make([]int64, groupSize)
	for i := range ids {
		ids[i] = int64(group*groupSize + i + 1)
	}
	return ids
}

func newPair(n int) *pair {
	p := &pair{groups: [2]place{place(groupCount + 2*n), place(groupCount + 2*n + 1)}}
	for i := range pairSize {
		p.ids = append(p.ids, int64(groupCount*groupSize+n*pairSize+i+1))
	}
	return p
}

func newLoad(urls []string, database func(ctx context.Context) (conn, error), seed uint64) *load {
	l := &load{
		client: newClient(newHistory(), readerCount+sessionCount), all: urls, database: database, counts: &counts{}, pace: 6 * time.Millisecond,
		members: map[place][]int64{},
	}
	l.urls.Store(&urls)
	l.healthy.Store(int64(never))
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	for i := range readerCount {
		l.readers = append(l.readers, &reader{load: l, id: i, random: random(uint64(i)), known: map[int64]remembered{}})
	}
	for i := range sessionCount {
		group := writerCount*writerGroups + i
		s := &session{load: l, id: readerCount + i, random: random(uint64(100 + i)), group: place(group), seen: map[int64]int64{}, next: map[int64]int64{}}
		l.sessions = append(l.sessions, s)
		l.own(l.groupOf(group))
	}
	for i := range writerCount {
		w := &writer{load: l, random: random(uint64(200 + i)), pair: newPair(i), next: map[int64]int64{}}
		l.pairs = append(l.pairs, w.pair)
		owned := []map[int64]place{l.pairOf(w.pair)}
		for g := range writerGroups {
			w.groups = append(w.groups, i*writerGroups+g)
			owned = append(owned, l.groupOf(i*writerGroups+g))
		}
		l.own(owned...)
		l.writers = append(l.writers, w)
	}
	return l
}

// own gives all that to one owner.
func (l *load) own(owned ...map[int64]place) {
	all := map[int64]place{}
	for _, rows := range owned {
		maps.Copy(all, rows)
	}
	l.history.own(all)
}

// groupOf is where the rows of a group are.
func (l *load) groupOf(group int) map[int64]place {
	at := map[int64]place{}
	l.members[place(group)] = groupIDs(group)
	for _, id := range groupIDs(group) {
		at[id] = place(group)
	}
	return at
}

// pairOf is where the rows of a pair are at first.
func (l *load) pairOf(p *pair) map[int64]place {
	at := map[int64]place{}
	l.members[p.groups[0]], l.members[p.groups[1]] = p.ids, p.ids
	for _, id := range p.ids {
		at[id] = p.groups[0]
	}
	return at
}

// run lets everybody work until ctx ends, or a promise is broken.
func (l *load) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range l.readers {
		g.Go(func() error { return l.loop(ctx, r.step) })
	}
	for _, s := range l.sessions {
		g.Go(func() error { return l.loop(ctx, s.step) })
	}
	for _, w := range l.writers {
		g.Go(func() error { return w.run(ctx) })
	}
	return g.Wait()
}

// loop repeats a step. What has begun is finished: an answer that nobody waited for would be an operation of unknown end.
func (l *load) loop(ctx context.Context, step func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		began := l.history.now()
		err := step(context.WithoutCancel(ctx))
		if failed, ok := errors.AsType[*failedError](err); ok {
			l.counts.failed.Add(1)
			l.counts.lastFailure.Store(failed)
			if int64(began) > l.healthy.Load() {
				return errors.New("a request failed after everything had worked again: " + failed.Error())
			}
			pause(ctx, afterFailure)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// pause lets some time pass.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }
