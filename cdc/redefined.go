package cdc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/events"
	"freshet/internal/network"
	"freshet/internal/postgres"
)

const (
	// maxRedefined bounds the tables that wait to be announced; beyond it everything is.
	maxRedefined = 256
	// emitTimeout bounds one announcement.
	emitTimeout = 5 * time.Second

	redefinedReason = "the walsender describes the table anew"
)

// redefined is the tables that the walsender has described a second time, as something else: their definition has changed.
// Where the database has no event trigger that says so, this is the first sign of it. They are announced in the log with a
// message of their own transaction.
//
// The set belongs to the process: a session that ends before it has announced a table leaves it to the next one, which would
// not see the difference any more.
type redefined struct {
	mu     sync.Mutex
	tables map[events.Table]bool
	wake   chan struct{}
}

func newRedefined() *redefined {
	return &redefined{tables: map[events.Table]bool{}, wake: make(chan struct{}, 1)}
}

// add never blocks: the decoder calls it.
func (r *redefined) add(tables ...events.Table) {
	r.put(tables)
	signal(r.wake)
}

// put is add without waking anybody.
func (r *redefined) put(tables []events.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range tables {
		t.Identity = ""
		if !r.tables[events.Everything] {
			r.tables[t] = true
		}
	}
	if len(r.tables) > maxRedefined {
		r.tables = map[events.Table]bool{events.Everything: true}
	}
}

// take removes all, for the caller to announce or to put back.
func (r *redefined) take() []events.Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]events.Table, 0, len(r.tables))
	for t := range r.tables {
		all = append(all, t)
	}
	clear(r.tables)
	return all
}

// announceRedefined announces tables until the decoder is done, after which it tries once more. It never fails: that a table
// cannot be announced must not stop the log.
func (s *session) announceRedefined(ctx context.Context, decoded <-chan struct{}) error {
	var retry network.Backoff
	for {
		var again <-chan time.Time
		if err := s.emitRedefined(ctx); err != nil && ctx.Err() == nil {
			pause := retry.Next()
			s.log.Warn("cannot announce that tables were defined anew; trying again", "error", err, "in", pause)
			again = time.After(pause)
		} else {
			retry = network.Backoff{}
		}
		select {
		case <-s.redefined.wake:
		case <-again:
		case <-decoded:
			if err := s.emitRedefined(ctx); err != nil {
				s.log.Warn("tables that were defined anew are not announced", "error", err)
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// emitRedefined announces what waits, over a connection of its own: DDL is rare. What could not be announced waits on.
func (s *session) emitRedefined(ctx context.Context) error {
	tables := s.redefined.take()
	if len(tables) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, emitTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pg)
	if err != nil {
		s.redefined.put(tables)
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range tables {
			s.log.Info("the table's definition has changed", "table", t.Schema+"."+t.Name)
			schema, name := t.Schema, t.Name
			if t == events.Everything {
				schema, name = "", ""
			}
			if err := postgres.EmitDDL(ctx, tx, schema, name, redefinedReason); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.redefined.put(tables)
	}
	return err
}
