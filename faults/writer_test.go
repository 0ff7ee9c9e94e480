package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// commitTimeout is how long a writer waits for a transaction: longer than any fault holds one back.
	commitTimeout = 30 * time.Second
	// poison is a value of transactions that are rolled back: nobody may see it.
	poison = 1 << 40
)

// conn is what a writer needs of a connection.
type conn interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Close(ctx context.Context) error
}

// writer changes its rows by SQL, as psql or a cron job would: Freshet does not know of it.
type writer struct {
	*load
	random *rand.Rand
	groups []int
	next   map[int64]int64
	epoch  int64
}

// run writes until ctx ends; it connects again whenever its connection is gone.
func (w *writer) run(ctx context.Context) error {
	var c conn
	defer func() {
		if c != nil {
			closeConn(c)
		}
	}()
	for ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = w.database(ctx); err != nil {
				c = nil
				pause(ctx, 10*afterFailure)
				continue
			}
		}
		if err := w.transaction(c); err != nil {
			closeConn(c)
			c = nil
		} else {
			w.counts.writes.Add(1)
		}
		pause(ctx, w.pace)
	}
	return nil
}

func closeConn(c conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // the server may be gone
}

// The value never goes back, whatever an older connection still has to say.
const set = "UPDATE registers SET value = $2 WHERE id = $1 AND value < $2"

// transaction writes in one of several ways. An error is that of a connection that cannot be used any more.
func (w *writer) transaction(c conn) error {
	// Not the run's context: a commit that is cut off half-way may have happened or not.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	ids := groupIDs(pick(w.random, w.groups))
	one := []int64{pick(w.random, ids)}
	switch w.random.IntN(8) {
	case 0: // all rows of a group together: nobody may see some of them without the others
		w.epoch++
		return w.commit(ctx, c, ids, func(tx pgx.Tx, id, version int64) error {
			return run(ctx, tx, "UPDATE registers SET epoch = $3, value = $2 WHERE id = $1 AND value < $2", id, version, w.epoch)
		})
	case 1:
		return w.rollBack(ctx, c, one[0])
	case 2: // a row goes away and comes back under another key, which then changes
		return w.commit(ctx, c, one, func(tx pgx.Tx, id, version int64) error {
			return errors.Join(run(ctx, tx, `WITH old AS (DELETE FROM registers WHERE id = $1 AND value < $2 RETURNING *)
				INSERT INTO registers SELECT -id, grp, $2, epoch FROM old`, id, version),
				run(ctx, tx, "UPDATE registers SET id = $1 WHERE id = -$1", id))
		})
	case 3: // the first of two changes is undone
		return w.commit(ctx, c, one, func(tx pgx.Tx, id, version int64) error {
			return errors.Join(run(ctx, tx, "SAVEPOINT s"), run(ctx, tx, "UPDATE registers SET value = $2 WHERE id = $1", id, poison),
				run(ctx, tx, "ROLLBACK TO s"), run(ctx, tx, set, id, version))
		})
	default:
		return w.single(ctx, c, one[0])
	}
}

// begin notes the next version of each row.
func (w *writer) begin(ids []int64) map[int64]*write {
	all := map[int64]*write{}
	for _, id := range ids {
		w.next[id]++
		all[id] = w.history.begin(id, w.next[id])
	}
	return all
}

func (w *writer) end(all map[int64]*write, o outcome) {
	for id, one := range all {
		w.history.end(id, one, o)
	}
}

// single is one statement without a transaction around it.
func (w *writer) single(ctx context.Context, c conn, id int64) error {
	all := w.begin([]int64{id})
	_, err := c.Exec(ctx, set, id, all[id].version)
	if err == nil {
		w.end(all, committed)
	}
	return err
}

// commit writes each of the rows in one transaction.
func (w *writer) commit(ctx context.Context, c conn, ids []int64, change func(tx pgx.Tx, id, version int64) error) error {
	all := w.begin(ids)
	tx, err := c.Begin(ctx)
	for _, id := range ids {
		if err == nil {
			err = change(tx, id, all[id].version)
		}
	}
	if err != nil { // COMMIT was never sent
		w.end(all, aborted)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err // unknown
	}
	w.end(all, committed)
	return nil
}

func run(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	_, err := tx.Exec(ctx, sql, args...)
	return err
}

// rollBack writes what nobody may see.
func (w *writer) rollBack(ctx context.Context, c conn, id int64) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, tx, "UPDATE registers SET value = $2 WHERE id = $1", id, poison), tx.Rollback(ctx))
}
