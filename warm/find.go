package warm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
	"freshet/query/plan"
)

const (
	// halfLife is how soon a change counts half as much: the last half hour decides, and a row that is written all the time stays ahead.
	halfLife = 30 * time.Minute
	// spare is how many times as many keys are kept as are asked for: those that are replaced, and those that no request has, are
	// among the last of them.
	spare = 4
	// maxKey bounds the values of a request in bytes: what is longer no URL would take, and keeping it would cost memory.
	maxKey = 2 << 10
)

// Search finds in the log what to warm.
type Search struct {
	Asked

	JetStream jetstream.JetStream
	Source    string
	// Plans say what each query depends on.
	Plans *plan.Set
	// Retrying, if set, is told of an outage of NATS, and when it is tried again.
	Retrying func(err error, in time.Duration)

	read Read
}

// Read counts what was read of the log.
type Read struct {
	Messages atomic.Int64
	Changes  atomic.Int64
}

// Read is how much was read so far. It may be asked while Find runs.
func (s *Search) Read() *Read { return &s.read }

// Found is what there is to warm.
type Found struct {
	// Pairs are ranked: the best first.
	Pairs []Pair
	// More is true if the log has more pairs than were asked for.
	More bool
	// Inadmissible counts keys that no request of their query could have.
	Inadmissible int
}

// Check checks the names that are asked for. The error is an UnknownError.
func (s *Search) Check() error {
	_, err := s.binder()
	return err
}

// binder makes one, of the queries and the tables that are asked for.
func (s *Search) binder() (*binder, error) {
	var names, tables []string
	for q, one := range s.Plans.Of {
		names = append(names, q.Name)
		for _, n := range one.Needs {
			tables = append(tables, n.Schema+"."+n.Table)
		}
	}
	slices.Sort(names)
	slices.Sort(tables)
	tables = slices.Compact(tables)
	for _, name := range s.Queries {
		if !slices.Contains(names, name) {
			return nil, &UnknownError{"read", name, names}
		}
	}
	wanted := map[events.Table]bool{}
	for _, name := range s.Tables {
		t := parseTable(name)
		if full := t.Schema + "." + t.Name; !slices.Contains(tables, full) {
			return nil, &UnknownError{"table that a query reads,", full, tables}
		}
		wanted[t] = true
	}
	return newBinder(s.Plans,
		func(name string) bool { return len(s.Queries) == 0 || slices.Contains(s.Queries, name) },
		func(t events.Table) bool { return len(wanted) == 0 || wanted[t] }), nil
}

// parseTable reads TABLE or SCHEMA.TABLE.
func parseTable(s string) events.Table {
	if schema, name, ok := strings.Cut(s, "."); ok {
		return events.Table{Schema: schema, Name: name}
	}
	return events.Table{Schema: "public", Name: s}
}

// Find reads the log once, to the end that it has now. An error is an UnknownError, or one of events.Consume: an ExpiredError or a
// GapError where the log does not have what was asked for.
func (s *Search) Find(ctx context.Context, now time.Time) (*Found, error) {
	b, err := s.binder()
	if err != nil {
		return nil, err
	}
	found := &Found{}
	if len(b.rules) == 0 { // no row tells who asks
		return found, nil
	}
	from, err := s.from(now)
	if err != nil {
		return nil, err
	}
	r := newRanking(spare*s.Top, halfLife)
	err = s.consume(ctx, from, b, r)
	if gone := (*events.ExpiredError)(nil); errors.As(err, &gone) && !s.bounded() {
		err = s.consume(ctx, events.FromOldest(), b, r)
	}
	if err != nil {
		return nil, err
	}
	var pairs []Pair
	for _, key := range r.best() {
		p, ok := b.pair(key)
		if !ok {
			found.Inadmissible++
			continue
		}
		pairs = append(pairs, p)
	}
	found.Pairs = Merge(s.Top, pairs)
	found.More = r.replaced || len(pairs) > len(found.Pairs)
	return found, nil
}

// consume counts every change from a place on.
func (s *Search) consume(ctx context.Context, from events.Start, b *binder, r *ranking) error {
	return events.Consume(ctx, events.Subscription{
		JetStream: s.JetStream, Source: s.Source, Tables: b.tables(), From: from, ToEnd: true, Retrying: s.Retrying,
	}, func(_ context.Context, m *events.Message) error {
		s.read.Messages.Add(1)
		if m.Kind != events.KindChange {
			return nil
		}
		c := m.Changes
		s.read.Changes.Add(int64(len(c.Changes)))
		table := events.Table{Schema: c.Schema, Name: c.Table}
		for i := range c.Changes {
			switch c.Changes[i].Op {
			case events.Insert, events.Update, events.Delete:
				b.bind(table, &c.Changes[i], func(key []byte) {
					if len(key) <= maxKey {
						r.add(key, c.Committed)
					}
				})
			case events.Truncate, events.Define, events.Clear: // they name no rows
			}
		}
		return nil
	})
}
