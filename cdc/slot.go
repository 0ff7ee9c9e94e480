package cdc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"freshet/events"
	"freshet/internal/postgres"
)

// applicationName begins the application_name of every replication connection of cdc: a second cdc knows the first by it.
const applicationName = "freshet cdc"

// slotState is the row of pg_replication_slots.
type slotState struct {
	exists    bool
	plugin    string
	database  string
	active    bool
	pid       int32
	known     bool   // whether the connection that holds the slot was found
	holder    string // its application_name
	confirmed events.Position
	lost      bool
	// unreadable is true if what the slot has kept cannot be decoded: see missingPublicationError.
	unreadable bool
}

func readSlot(ctx context.Context, conn *pgx.Conn, name string) (slotState, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	s := slotState{exists: true}
	var confirmed string
	err := conn.QueryRow(ctx, `SELECT coalesce(s.plugin, ''), coalesce(s.database, ''), s.active, coalesce(s.active_pid, 0),
			a.pid IS NOT NULL, coalesce(a.application_name, ''), coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.wal_status = 'lost', false)
		FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
		WHERE s.slot_name = $1`, name).
		Scan(&s.plugin, &s.database, &s.active, &s.pid, &s.known, &s.holder, &confirmed, &s.lost)
	if errors.Is(err, pgx.ErrNoRows) {
		return slotState{}, nil
	}
	if err != nil {
		return s, fmt.Errorf("read pg_replication_slots: %w", err)
	}
	s.confirmed, err = events.ParsePosition(confirmed)
	return s, err
}

// missingPublicationError is what the walsender says of a change at whose time there was no publication. It looks the publication up as
// of the change, so that making it again does not help: the change can never be decoded (LoadPublications in
// src/backend/replication/pgoutput/pgoutput.c).
type missingPublicationError struct{ err *pgconn.PgError }

func (e *missingPublicationError) Error() string {
	return "the publication was dropped for a while, and what was changed meanwhile cannot be decoded; the log will begin anew: " + e.err.Error()
}

func (e *missingPublicationError) Unwrap() error { return e.err }

// slotPoll is how often a cdc that stands by looks whether the slot is free.
const slotPoll = 200 * time.Millisecond

// awaitSlot returns the slot's state once nobody holds it. One writer: the slot admits one cdc, a second one waits here and
// takes over. A holder that is no cdc will not go away, so it is an error. One that was this cdc's own, and has not noticed yet that
// the connection has ended, is ended.
func (s *session) awaitSlot(ctx context.Context) (slotState, error) {
	poll := time.NewTicker(slotPoll)
	defer poll.Stop()
	for looks := 1; ; looks++ {
		slot, err := readSlot(ctx, s.sql, s.cfg.Slot)
		if err != nil {
			return slot, err
		}
		if err := slot.check(s.cfg.Slot, s.sql.Config().Database); err != nil {
			return slot, err
		}
		if !slot.active {
			slot.unreadable = slot.exists && s.unreadable
			return slot, nil
		}
		ours := false
		if looks > 1 { // at first it may be about to end by itself
			if ours, err = s.endWalsender(ctx, slot.pid); err != nil {
				return slot, err
			}
		}
		if looks == 2 && !ours {
			s.unreadable = false // the other one sees to it
			s.status.enter(StandingBy, "", nil)
			s.log.Info("another cdc holds the replication slot; standing by to take over", "slot", s.cfg.Slot, "pid", slot.pid)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return slot, context.Cause(ctx)
		}
	}
}

func (s slotState) check(name, database string) error {
	switch {
	case !s.exists:
	case s.plugin != "pgoutput" || s.database != database:
		return &SetupError{fmt.Sprintf("the replication slot %s exists, with plugin %q in database %q: choose another name with --slot, "+
			"or drop it: SELECT pg_drop_replication_slot('%s')", name, s.plugin, s.database, name)}
	// The two views are not read at one moment: a holder that has just come or gone may be missing in the other.
	case s.active && s.known && !strings.HasPrefix(s.holder, applicationName):
		return &SetupError{fmt.Sprintf("the replication slot %s is in use by pid %d (application %q), which is not Freshet: "+
			"stop it, or choose another name with --slot", name, s.pid, s.holder)}
	}
	return nil
}

// createSlot makes the slot, anew if the old one is of no use, and returns where it begins.
func createSlot(ctx context.Context, conn *pgx.Conn, name string, old slotState, log *slog.Logger) (events.Position, error) {
	if old.exists {
		// Another cdc may have been faster; then making it fails below.
		if _, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
			WHERE slot_name = $1 AND (wal_status = 'lost' OR $2 AND confirmed_flush_lsn = $3::text::pg_lsn)`,
			name, old.unreadable, old.confirmed.String()); err != nil {
			return 0, fmt.Errorf("drop the replication slot %s, which is of no use: %w", name, err)
		}
	}
	log.Info("creating the replication slot; this waits for the transactions in progress to end", "slot", name)
	var position string
	err := conn.QueryRow(ctx, `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`, name).Scan(&position)
	if err != nil {
		return 0, setupHint(fmt.Errorf("create replication slot %s: %w", name, err))
	}
	// What committed before the slot began is not in the log. It must be visible before the reset is published, for the
	// same reason as a change (rule 1): a cache that clears everything must then read it.
	err = postgres.WaitForTransactions(ctx, conn, func(left int) {
		log.Info("waiting for transactions in progress to end before the log begins", "left", left)
	})
	if err != nil {
		return 0, err
	}
	return events.ParsePosition(position)
}

// SetupError is something that an operator has to change; trying again does not help.
type SetupError struct{ msg string }

func (e *SetupError) Error() string { return e.msg }

// setupHint makes a SetupError of a server error that needs an operator.
func setupHint(err error) error {
	switch {
	case postgres.IsCode(err, "42501"): // insufficient_privilege
		return &SetupError{err.Error() + ": the role needs REPLICATION: ALTER ROLE ... REPLICATION (on Amazon RDS: GRANT rds_replication TO ...)"}
	case postgres.IsCode(err, "53400"): // configuration_limit_exceeded: all replication slots are in use
		return &SetupError{err.Error() + ": raise max_replication_slots and restart Postgres, or drop a slot that nobody uses (pg_replication_slots)"}
	case postgres.IsCode(err, "53300"): // too_many_connections: also all walsenders in use
		return &SetupError{err.Error() + ": raise max_wal_senders or max_connections"}
	}
	return err
}

// checkServer refuses a server that cannot do logical decoding.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var level string
	var recovery bool
	err := conn.QueryRow(ctx, `SELECT current_setting('wal_level'), pg_is_in_recovery()`).Scan(&level, &recovery)
	switch {
	case err != nil:
		return fmt.Errorf("read wal_level: %w", err)
	case recovery:
		return &SetupError{"this Postgres server is a standby: DATABASE_URL must name the primary"}
	case level != "logical":
		return &SetupError{fmt.Sprintf("wal_level is %s and must be logical: run ALTER SYSTEM SET wal_level = 'logical' and restart Postgres", level)}
	}
	return nil
}
