// Package postgres holds what Freshet knows about talking to a Postgres server that has nothing to do with one process:
// the pool, snapshots, WAL positions and the publication. It must not know about caches or the log.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The sizes of the headers that begin each WAL page (src/include/access/xlog_internal.h): the first page of a segment
// has the long one.
const (
	shortPageHeader = 24 // SizeOfXLogShortPHD
	longPageHeader  = 40 // SizeOfXLogLongPHD
)

// WALGeometry is the layout of a server's WAL.
type WALGeometry struct {
	PageSize, SegmentSize uint64
}

// ReadWALGeometry asks the server.
func ReadWALGeometry(ctx context.Context, db Querier) (WALGeometry, error) {
	var page, segment string
	err := db.QueryRow(ctx, `SELECT
		(SELECT setting FROM pg_settings WHERE name = 'wal_block_size'),
		(SELECT setting FROM pg_settings WHERE name = 'wal_segment_size')`).Scan(&page, &segment)
	if err != nil {
		return WALGeometry{}, fmt.Errorf("read wal_block_size and wal_segment_size: %w", err)
	}
	var g WALGeometry
	if g.PageSize, err = strconv.ParseUint(page, 10, 64); err != nil {
		return WALGeometry{}, fmt.Errorf("wal_block_size: %w", err)
	}
	if g.SegmentSize, err = strconv.ParseUint(segment, 10, 64); err != nil {
		return WALGeometry{}, fmt.Errorf("wal_segment_size: %w", err)
	}
	return g, nil
}

// End turns an insert position into the end of the last record before it. The two differ only when that record ends with
// its page: the insert position then points past the header of the next page (GetXLogInsertRecPtr in
// src/backend/access/transam/xlog.c), a place that no sent or flushed position ever has.
func (g WALGeometry) End(insert uint64) uint64 {
	switch {
	case insert%g.SegmentSize == longPageHeader:
		return insert - longPageHeader
	case insert%g.SegmentSize >= g.PageSize && insert%g.PageSize == shortPageHeader:
		return insert - shortPageHeader
	}
	return insert
}

// EndColumns are two columns of a SELECT that say where the WAL ends, and on which timeline: the name of a WAL file begins with it. A
// server that has recovered from a crash since the source's log began is on none until the log begins anew (NoTimeline): it may have
// lost what could be seen on it, and the log does not tell.
func EndColumns(source string) string {
	return "pg_current_wal_insert_lsn()::text, CASE WHEN EXISTS (SELECT FROM freshet.incarnation WHERE source = '" +
		strings.ReplaceAll(source, "'", "''") + "') THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) ELSE 'FFFFFFFF' END"
}

// NoTimeline is that of a server which no log follows yet. Real ones count up from 1.
const NoTimeline = math.MaxUint32

// ParseEnd reads EndColumns.
func (g WALGeometry) ParseEnd(position, timeline string) (end uint64, tli uint32, err error) {
	high, low, ok := strings.Cut(position, "/")
	h, err := strconv.ParseUint(high, 16, 32)
	l, lowErr := strconv.ParseUint(low, 16, 32)
	if err = errors.Join(err, lowErr); err != nil || !ok {
		return 0, 0, fmt.Errorf("position %q of the WAL: %w", position, err)
	}
	n, err := strconv.ParseUint(timeline, 16, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("timeline %q of the WAL: %w", timeline, err)
	}
	return g.End(h<<32 | l), uint32(n), nil
}
