package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
	pair   *pair
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
	group := pick(w.random, w.groups)
	ids := groupIDs(group)
	one := []int64{pick(w.random, ids)}
	switch w.random.IntN(10) {
	case 0: // all rows of a group together: nobody may see some of them without the others
		w.epoch++
		return w.commit(ctx, c, w.stay(group, ids), func(tx pgx.Tx, id int64, to state) error {
			return run(ctx, tx, "UPDATE registers SET epoch = $3, value = $2 WHERE id = $1 AND value < $2", id, to.version, w.epoch)
		})
	case 1:
		return w.rollBack(ctx, c, one[0])
	case 2: // a row goes away and comes back under another key, which then changes
		return w.commit(ctx, c, w.stay(group, one), func(tx pgx.Tx, id int64, to state) error {
			return errors.Join(run(ctx, tx, `WITH old AS (DELETE FROM registers WHERE id = $1 AND value < $2 RETURNING *)
				INSERT INTO registers SELECT -id, grp, $2, epoch FROM old`, id, to.version),
				run(ctx, tx, "UPDATE registers SET id = $1 WHERE id = -$1", id))
		})
	case 3: // the first of two changes is undone
		return w.commit(ctx, c, w.stay(group, one), func(tx pgx.Tx, id int64, to state) error {
			return errors.Join(run(ctx, tx, "SAVEPOINT s"), run(ctx, tx, "UPDATE registers SET value = $2 WHERE id = $1", id, poison),
				run(ctx, tx, "ROLLBACK TO s"), run(ctx, tx, set, id, to.version))
		})
	case 4, 5: // a row of the pair moves, goes or comes
		return w.commit(ctx, c, w.move([]int64{pick(w.random, w.pair.ids)}), moveTo(ctx))
	case 6: // all of them together
		return w.commit(ctx, c, w.move(w.pair.ids), moveTo(ctx))
	default:
		return w.single(ctx, c, w.stay(group, one))
	}
}

// stay gives each of the rows its next version, where it is.
func (w *writer) stay(group int, ids []int64) map[int64]state {
	to := map[int64]state{}
	for _, id := range ids {
		w.next[id]++
		to[id] = state{w.next[id], place(group)}
	}
	return to
}

// move gives each of the rows its next version, and a place. Only guests may be nowhere.
func (w *writer) move(ids []int64) map[int64]state {
	to := map[int64]state{}
	for _, id := range ids {
		w.next[id]++
		to[id] = state{w.next[id], pick(w.random, w.pair.groups[:])}
		if guest := slices.Index(w.pair.ids, id) >= moverCount; guest && w.random.IntN(2) == 0 {
			to[id] = state{w.next[id], nowhere}
		}
	}
	return to
}

// moveTo moves a row, from wherever it is. The ledger says where that is when the row is gone, and holds up whoever comes before an
// older connection's transaction has ended: a row that is not there cannot be locked.
func moveTo(ctx context.Context) func(tx pgx.Tx, id int64, to state) error {
	return func(tx pgx.Tx, id int64, to state) error {
		tag, err := tx.Exec(ctx, "UPDATE ledger SET value = $2, grp = $3 WHERE id = $1 AND value < $2", id, to.version, int(to.place))
		switch {
		case err != nil:
			return err
		case tag.RowsAffected() == 0:
			return fmt.Errorf("row %d is beyond version %d", id, to.version)
		case to.place == nowhere:
			return run(ctx, tx, "DELETE FROM registers WHERE id = $1", id)
		}
		return run(ctx, tx, `INSERT INTO registers (id, grp, value) VALUES ($1, $3, $2)
			ON CONFLICT (id) DO UPDATE SET grp = excluded.grp, value = excluded.value`, id, to.version, int(to.place))
	}
}

// single is one statement without a transaction around it.
func (w *writer) single(ctx context.Context, c conn, to map[int64]state) error {
	noted := w.history.begin(to)
	for id, one := range to {
		if _, err := c.Exec(ctx, set, id, one.version); err != nil {
			return err // unknown
		}
	}
	w.history.end(noted, committed)
	return nil
}

// commit writes each of the rows in one transaction.
func (w *writer) commit(ctx context.Context, c conn, to map[int64]state, change func(tx pgx.Tx, id int64, to state) error) error {
	noted := w.history.begin(to)
	tx, err := c.Begin(ctx)
	for _, id := range slices.Sorted(maps.Keys(to)) {
		if err == nil {
			err = change(tx, id, to[id])
		}
	}
	if err != nil { // COMMIT was never sent
		w.history.end(noted, aborted)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err // unknown
	}
	w.history.end(noted, committed)
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
