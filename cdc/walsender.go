package cdc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/internal/postgres"
)

// walsender identifies a server process: a pid alone is given out again.
type walsender struct {
	pid   int32
	began time.Time
}

// identifyWalsender finds the process at the other end of the replication connection; the zero walsender if it is not to be found,
// as behind a proxy with pids of its own.
func (s *session) identifyWalsender(ctx context.Context) (walsender, error) {
	w := walsender{pid: int32(s.repl.PID())}
	err := s.sql.QueryRow(ctx, `SELECT backend_start FROM pg_stat_activity WHERE pid = $1 AND backend_start IS NOT NULL`, w.pid).Scan(&w.began)
	if errors.Is(err, pgx.ErrNoRows) {
		return walsender{}, nil
	}
	if err != nil {
		return w, fmt.Errorf("identify the walsender: %w", err)
	}
	return w, nil
}

// endWalsender ends the holder of the slot if it is the walsender of an earlier session of this cdc: it holds the slot until it
// notices that nobody listens. ours is false if it is another one, or the role may not end it.
func (s *session) endWalsender(ctx context.Context, holder int32) (ours bool, err error) {
	if holder != s.walsender.pid || holder == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	var ended bool
	err = s.sql.QueryRow(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2`,
		s.walsender.pid, s.walsender.began).Scan(&ended)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // it has just gone, or is another one
		return false, nil
	case postgres.IsCode(err, "42501"): // insufficient_privilege
		s.log.Warn("the walsender of an earlier session still holds the replication slot, and may not be ended", "pid", holder, "error", err)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("end the walsender of the session before: %w", err)
	}
	s.log.Warn("the walsender of an earlier session still held the replication slot; it was ended", "slot", s.cfg.Slot, "pid", holder)
	return true, nil
}

// waits are what a walsender waits for when it has nothing else to do than to listen, or to send what it has
// (src/backend/utils/activity/wait_event*; the spelling differs between versions).
var waits = []string{"WalSenderMain", "WalSenderWaitForWAL", "WalSenderWriteData", "ClientRead", "ClientWrite"}

// walsenderIsIdle asks, over a connection of its own, what the walsender does. One that decodes a large transaction can be silent for
// minutes; one that waits has heard us and answered.
func (s *session) walsenderIsIdle(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pg)
	if err != nil {
		return false, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var event string
	err = conn.QueryRow(ctx, `SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2`,
		s.walsender.pid, s.walsender.began).Scan(&event)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s.walsender.pid != 0, nil // it has ended
	case err != nil:
		return false, fmt.Errorf("ask what the walsender does: %w", err)
	}
	for _, wait := range waits {
		if strings.EqualFold(event, wait) {
			return true, nil
		}
	}
	return false, nil
}
