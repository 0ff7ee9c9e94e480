package invalidator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
)

const (
	writers = 3
	readers = 4
	// counted are the items that are never deleted: their n only grows.
	counted = items / 2
)

// committed is what writers know to be in the database: n of an item, and a position at which it is.
type committed struct {
	n        int64
	position events.Position
}

// load writes and reads until it is stopped.
type load struct {
	s      *stack
	cancel context.CancelFunc
	all    sync.WaitGroup
	hits   atomic.Int64
	writes atomic.Int64

	mu     sync.Mutex
	newest [counted]committed
	failed error
}

func (s *stack) load() *load {
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{s: s, cancel: cancel}
	for range writers {
		l.all.Go(func() { l.repeat(ctx, l.write) })
	}
	for range readers {
		l.all.Go(func() { l.repeat(ctx, l.read) })
	}
	s.t.Cleanup(func() {
		cancel()
		l.all.Wait()
	})
	return l
}

func (l *load) repeat(ctx context.Context, do func(context.Context) error) {
	for ctx.Err() == nil {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			l.mu.Lock()
			l.failed = err
			l.mu.Unlock()
			return
		}
	}
}

// stop ends it; what it has seen must have been right.
func (l *load) stop() {
	l.s.t.Helper()
	l.cancel()
	l.all.Wait()
	require.NoError(l.s.t, l.failed)
	l.s.t.Logf("%d writes, %d hits", l.writes.Load(), l.hits.Load())
	require.NotZero(l.s.t, l.hits.Load(), "the load should use the cache")
}

// write changes something at random.
func (l *load) write(ctx context.Context) error {
	l.writes.Add(1)
	id := rand.IntN(items)
	switch kind := rand.IntN(10); {
	case kind < 6 && id < counted:
		return l.count(ctx, id)
	case kind < 8:
		_, err := l.s.pool.Exec(ctx, "UPDATE items SET author = $2 WHERE id = $1", id, rand.IntN(authors))
		return err
	case id < counted:
		_, err := l.s.pool.Exec(ctx, "UPDATE items SET n = n + 1 WHERE author = $1 AND id >= $2", id%authors, counted)
		return err
	default:
		return pgx.BeginFunc(ctx, l.s.pool, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, "DELETE FROM items WHERE id = $1", id)
			if err == nil && tag.RowsAffected() == 0 {
				_, err = tx.Exec(ctx, "INSERT INTO items VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", id, rand.IntN(authors))
			}
			return err
		})
	}
}

// count adds one to an item and remembers that.
func (l *load) count(ctx context.Context, id int) error {
	var n int64
	if err := l.s.pool.QueryRow(ctx, "UPDATE items SET n = n + 1 WHERE id = $1 RETURNING n", id).Scan(&n); err != nil {
		return err
	}
	var text string
	if err := l.s.pool.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return err
	}
	position, err := events.ParsePosition(text)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > l.newest[id].n {
		l.newest[id] = committed{n, position}
	}
	return nil
}

// read reads something at random. An answer that says to reflect a position reflects what was committed at or below it: that
// holds at any moment, whatever happens to the cache.
func (l *load) read(ctx context.Context) error {
	if rand.IntN(4) == 0 {
		answer, err := l.s.get(ctx, author(rand.IntN(authors)))
		if err == nil && answer.Status == cache.Hit {
			l.hits.Add(1)
		}
		return err
	}
	id := rand.IntN(items)
	var newest committed
	if id < counted {
		l.mu.Lock()
		newest = l.newest[id]
		l.mu.Unlock()
	}
	answer, err := l.s.get(ctx, item(id))
	if err != nil {
		return err
	}
	if answer.Status == cache.Hit {
		l.hits.Add(1)
	}
	if id < counted && answer.Mark.Position >= newest.position {
		_, text, _ := strings.Cut(string(answer.Body), ":")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < newest.n {
			return fmt.Errorf("item %d: a %s at %s has %q, but %d was committed at %s", id, answer.Status, answer.Mark, answer.Body,
				newest.n, newest.position)
		}
	}
	return nil
}

// during calls do now and then, for a while.
func during(span, pause time.Duration, do func()) {
	over := time.NewTimer(span)
	defer over.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-over.C:
			return
		}
	}
}

// Rule 3: Redis may lose any key at any time.
func TestRandomKeysDeletedUnderLoad(t *testing.T) {
	s := newStack(t)
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	l := s.load()
	rounds := 0
	during(4*time.Second, 20*time.Millisecond, func() {
		rounds++
		if rounds%25 == 0 {
			require.NoError(t, s.client.Unlink(t.Context(), watermarkKey).Err())
			return
		}
		keys, err := s.client.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		for _, key := range keys {
			if key != watermarkKey && rand.IntN(3) == 0 {
				require.NoError(t, s.client.Unlink(t.Context(), key).Err())
			}
		}
	})
	l.stop()
	s.nothingStale()
}

// Rule 4: the server is again and again what it was a moment ago, buckets and watermark.
func TestOlderStatesRestoredUnderLoad(t *testing.T) {
	s := newStack(t)
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	l := s.load()
	var before dump
	during(4*time.Second, 50*time.Millisecond, func() {
		switch {
		case before == nil:
			before = dumpOf(t, s.client)
		case rand.IntN(3) == 0:
			before.restore(t, s.client)
			before = nil
		}
	})
	l.stop()
	s.nothingStale()
}

func TestTwoInvalidators(t *testing.T) {
	s := newStack(t)
	one, two := s.invalidator(), s.invalidator()
	s.register(itemByID, itemByAuthor)
	l := s.load()
	var last cache.State
	forward := func() {
		state, found, err := s.store.Load(t.Context())
		require.NoError(t, err)
		require.True(t, found)
		if state.Chain == last.Chain {
			require.GreaterOrEqual(t, state.Sequence, last.Sequence)
			require.GreaterOrEqual(t, state.Position, last.Position)
			require.False(t, state.At.Before(last.At))
		}
		last = state
	}
	during(3*time.Second, time.Millisecond, forward)
	// The one that has done more is stopped: the other, which may only ever have moved up, goes on.
	if one.applications() < two.applications() {
		one, two = two, one
	}
	require.NoError(t, one.stop())
	before := two.applications()
	during(time.Second, time.Millisecond, forward)
	l.stop()
	s.nothingStale()
	require.Greater(t, two.applications(), before)
	require.Len(t, append(one.reasons(), two.reasons()...), 1, "one of them has begun the chain, and that was all")
	require.NoError(t, two.stop())
}

// Both faults, and two invalidators.
func TestTwoInvalidatorsAndOlderStates(t *testing.T) {
	s := newStack(t)
	s.invalidator()
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	l := s.load()
	var before dump
	during(3*time.Second, 30*time.Millisecond, func() {
		switch rand.IntN(6) {
		case 0:
			before = dumpOf(t, s.client)
		case 1:
			if before != nil {
				before.restore(t, s.client)
			}
		case 2:
			require.NoError(t, s.client.Del(t.Context(), watermarkKey).Err())
		}
	})
	l.stop()
	s.nothingStale()
}
