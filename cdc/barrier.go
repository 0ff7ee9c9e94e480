package cdc

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/events"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
)

// barrier holds a batch back until all of it is visible.
//
// Rule 1: visible before published (cache/model: visibleBeforePublished). A walsender sends a transaction once its commit record is flushed; it is visible to new
// snapshots only after ProcArrayEndTransaction, and with synchronous replication that can be much later
// (src/backend/access/transam/xact.c, RecordTransactionCommit and SyncRepWaitForLSN). An invalidation in that gap would
// let a reader fill the cache with the old row, and nothing would ever clear it.
type barrier struct {
	conn *pgx.Conn
	wal  postgres.WALGeometry
	// waited is called when a batch was not visible at the first look, with the time that it took. May be nil.
	waited func(time.Duration)
	// visible is the transaction that was last seen to be visible: a transaction of many messages is looked up once.
	visible uint32
	metrics *telemetry.CDC
}

// probe ties a time to a position: whatever was visible at the time had ended at or below the position.
type probe struct {
	position events.Position
	at       time.Time
	asked    time.Time // by our own clock, before the question
}

// The time is read before the position (cache/model: clockFirst, insertPosition) (the target list is evaluated in order), which makes the promise of probe true. The
// insert position, not the flushed one: a transaction that commits asynchronously is visible before it is flushed.
const probeSQL = `SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text`

// lookTimeout bounds one question. Postgres answers it without touching a table; if it does not, the connection is dead.
const lookTimeout = 2 * time.Second

func (b *barrier) look(ctx context.Context) (probe, postgres.Snapshot, error) {
	return b.lookWithin(ctx, lookTimeout)
}

// lookWithin is look with a limit of its own: the first question is two, as its statement has to be prepared.
func (b *barrier) lookWithin(ctx context.Context, limit time.Duration) (probe, postgres.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var (
		p                  probe
		position, snapshot string
	)
	p.asked = time.Now()
	if err := b.conn.QueryRow(ctx, probeSQL).Scan(&p.at, &position, &snapshot); err != nil {
		return p, postgres.Snapshot{}, fmt.Errorf("ask Postgres for its snapshot: %w", err)
	}
	lsn, err := events.ParsePosition(position)
	if err != nil {
		return p, postgres.Snapshot{}, err
	}
	p.position = events.Position(b.wal.End(uint64(lsn)))
	b.metrics.WALEnd(uint64(p.position))
	s, err := postgres.ParseSnapshot(snapshot)
	return p, s, err
}

// A transaction that is not visible yet is usually microseconds away: the first looks follow one another at once, as each is a round
// trip, and a timer of Go's never takes less than a millisecond. Behind a synchronous standby that hangs it is seconds away.
const (
	quickLooks = 3
	firstPoll  = time.Millisecond
	lastPoll   = 20 * time.Millisecond
)

// wait returns once every transaction is visible to every new snapshot. ok is false if it did not have to ask.
func (b *barrier) wait(ctx context.Context, xids []uint32) (p probe, ok bool, err error) {
	if len(xids) == 0 || len(xids) == 1 && xids[0] == b.visible {
		return p, false, nil
	}
	start, poll := time.Now(), firstPoll
	for looks := 1; ; looks++ {
		p, s, err := b.look(ctx)
		if err != nil {
			return p, false, err
		}
		if allVisible(s, xids) {
			b.visible = xids[len(xids)-1]
			if b.waited != nil && looks > 1 {
				b.waited(time.Since(start))
			}
			return p, true, nil
		}
		if looks < quickLooks {
			continue
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return p, false, context.Cause(ctx)
		}
		poll = min(2*poll, lastPoll)
	}
}

func allVisible(s postgres.Snapshot, xids []uint32) bool {
	for _, xid := range xids {
		if !s.Visible(xid) {
			return false
		}
	}
	return true
}

// kick makes Postgres flush: a record that no commit follows (a pruned page, say) is inserted and may stay unflushed, and
// thereby unsent, for minutes, while nobody can tell it from a commit.
func (b *barrier) kick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	if _, err := b.conn.Exec(ctx, "SELECT pg_logical_emit_message(true, $1, '')", postgres.FlushPrefix); err != nil {
		return fmt.Errorf("flush the WAL: %w", err)
	}
	return nil
}
