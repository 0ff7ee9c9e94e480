package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/cache"
)

// The names of the checks.
const (
	CheckPostgres  = "postgres"
	CheckSlot      = "replication_slot"
	CheckRedis     = "redis"
	CheckWatermark = "watermark"
	CheckNATS      = "nats"
	CheckStream    = "stream"
	CheckConsumer  = "consumer"
	CheckSession   = "session"
	CheckQueries   = "queries"
)

// Server is what the check of Postgres shows.
type Server struct {
	Version string `json:"version"`
	// Connections is how many the server has, of MaxConnections.
	Connections    int `json:"connections"`
	MaxConnections int `json:"max_connections"`
}

// Postgres asks the server for its version and time; clock, if not nil, is set by the answer.
func Postgres(pool *pgxpool.Pool, clock *cache.Clock) Check {
	return Check{Name: CheckPostgres, Look: func(ctx context.Context) (any, error) {
		var s Server
		ask := func(ctx context.Context) (now time.Time, err error) {
			err = pool.QueryRow(ctx, `SELECT clock_timestamp(), current_setting('server_version'),
				(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')),
				current_setting('max_connections')::int`).Scan(&now, &s.Version, &s.Connections, &s.MaxConnections)
			return now, err
		}
		var err error
		if clock != nil {
			err = clock.Sync(ctx, ask)
		} else {
			_, err = ask(ctx)
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// Slot is what the check of the replication slot shows.
type Slot struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	// WALStatus is that of pg_replication_slots: reserved, extended, unreserved or lost.
	WALStatus         string `json:"wal_status"`
	ConfirmedPosition string `json:"confirmed_position"`
	// RetainedBytes is the WAL that Postgres keeps for the slot, UnconfirmedBytes that which is not confirmed yet.
	RetainedBytes    int64 `json:"retained_bytes"`
	UnconfirmedBytes int64 `json:"unconfirmed_bytes"`
	// SafeBytes is how much more may be written before Postgres gives the slot up; left out if there is no limit.
	SafeBytes *int64 `json:"safe_bytes,omitempty"`
}

// ReplicationSlot looks at the slot of cdc, which fails if it is missing, if nobody streams from it, or if Postgres is about to give it up.
func ReplicationSlot(pool *pgxpool.Pool, name string) Check {
	return Check{Name: CheckSlot, Look: func(ctx context.Context) (any, error) {
		s := Slot{Name: name}
		err := pool.QueryRow(ctx, `SELECT active, coalesce(wal_status, ''), coalesce(confirmed_flush_lsn, '0/0')::text,
				coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint,
				coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint, safe_wal_size
			FROM pg_replication_slots WHERE slot_name = $1`, name).
			Scan(&s.Active, &s.WALStatus, &s.ConfirmedPosition, &s.RetainedBytes, &s.UnconfirmedBytes, &s.SafeBytes)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil, fmt.Errorf("there is no replication slot %s: has cdc ever run?", name)
		case err != nil:
			return nil, err
		case s.WALStatus == "lost" || s.WALStatus == "unreserved":
			return s, fmt.Errorf("the slot's WAL is %s (max_slot_wal_keep_size)", s.WALStatus)
		case !s.Active:
			return s, errors.New("nobody streams from the slot: is cdc running?")
		}
		return s, nil
	}}
}

// Pool is how the connections of a pool are used.
type Pool struct {
	InUse int32 `json:"in_use"`
	Idle  int32 `json:"idle"`
	Max   int32 `json:"max"`
	// UsePercent is InUse of Max.
	UsePercent float64 `json:"use_percent"`
	// Waits is how often somebody had to wait for a connection, since the start; WaitSeconds how long they waited in all.
	Waits       int64   `json:"waits"`
	WaitSeconds float64 `json:"wait_seconds"`
}

// PoolUse reads a pool's figures, without I/O.
func PoolUse(pool *pgxpool.Pool) Pool {
	s := pool.Stat()
	return Pool{
		InUse: s.AcquiredConns(), Idle: s.IdleConns(), Max: s.MaxConns(),
		UsePercent: float64(s.AcquiredConns()) * 100 / float64(max(1, s.MaxConns())),
		Waits:      s.EmptyAcquireCount(), WaitSeconds: seconds(s.EmptyAcquireWaitTime()),
	}
}
