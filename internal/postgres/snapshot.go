package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Snapshot is what pg_current_snapshot() returns: which transactions are visible to a statement that starts now.
// Source: src/backend/utils/adt/xid8funcs.c.
type Snapshot struct {
	// Xmin: every transaction below it has ended.
	Xmin uint64
	// Xmax: no transaction at or above it is visible.
	Xmax uint64
	// Xip lists the transactions between the two that are still in progress, in ascending order.
	Xip []uint64
}

// ParseSnapshot reads the text form, xmin:xmax:xip,xip,...
func ParseSnapshot(text string) (Snapshot, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Snapshot{}, fmt.Errorf("%q is not a snapshot (xmin:xmax:xip,...)", text)
	}
	var s Snapshot
	var err error
	if s.Xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("snapshot %q: xmin: %w", text, err)
	}
	if s.Xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("snapshot %q: xmax: %w", text, err)
	}
	if parts[2] == "" {
		return s, nil
	}
	for one := range strings.SplitSeq(parts[2], ",") {
		xid, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			return Snapshot{}, fmt.Errorf("snapshot %q: xip: %w", text, err)
		}
		s.Xip = append(s.Xip, xid)
	}
	slices.Sort(s.Xip)
	return s, nil
}

// Visible tells whether a committed transaction is visible in the snapshot. xid is the 32-bit form that the WAL carries;
// its epoch is the one that puts it nearest to Xmax, which is exact as Postgres keeps all live xids within 2^31.
func (s Snapshot) Visible(xid uint32) bool {
	full := s.Xmax&^0xffffffff | uint64(xid)
	switch {
	case full >= s.Xmax+1<<31 && full >= 1<<32:
		full -= 1 << 32
	case full+1<<31 < s.Xmax:
		full += 1 << 32
	}
	if full < s.Xmin {
		return true
	}
	if full >= s.Xmax {
		return false
	}
	_, inProgress := slices.BinarySearch(s.Xip, full)
	return !inProgress
}

// Querier is a connection, a pool or a transaction of pgx.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// CurrentSnapshot asks for the snapshot of a statement that starts now.
func CurrentSnapshot(ctx context.Context, db Querier) (Snapshot, error) {
	var text string
	if err := db.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&text); err != nil {
		return Snapshot{}, fmt.Errorf("read pg_current_snapshot(): %w", err)
	}
	return ParseSnapshot(text)
}

// nextXID takes an xid: whatever has written something by now has a lower one. The Xmax of a snapshot would not do: it
// comes right after the last transaction that has ENDED, and a later one that is in progress is neither below it nor in Xip
// (GetSnapshotData in src/backend/storage/ipc/procarray.c).
func nextXID(ctx context.Context, db Querier) (uint64, error) {
	var text string
	if err := db.QueryRow(ctx, "SELECT pg_current_xact_id()::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("take an xid: %w", err)
	}
	xid, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("xid %q: %w", text, err)
	}
	return xid, nil
}

// WaitForTransactions returns once every transaction that is in progress now has ended. It takes no lock, and it waits as long as the
// longest of them: waiting is called every few seconds with the number of those that are left.
func WaitForTransactions(ctx context.Context, db Querier, waiting func(left int)) error {
	next, err := nextXID(ctx, db)
	if err != nil {
		return err
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	said := time.Now()
	for {
		s, err := CurrentSnapshot(ctx, db)
		if err != nil {
			return err
		}
		if s.Xmin >= next {
			return nil
		}
		if waiting != nil && time.Since(said) > 3*time.Second {
			said = time.Now()
			left, _ := slices.BinarySearch(s.Xip, next)
			waiting(left)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the transactions in progress to end: %w", context.Cause(ctx))
		}
	}
}
