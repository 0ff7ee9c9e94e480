package cdc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
	"freshet/internal/postgres"
)

const (
	connectTimeout = 10 * time.Second
	// publishTimeout bounds the wait for an acknowledgement.
	publishTimeout = 10 * time.Second
	// drainTimeout bounds what a session still does after it was told to stop.
	drainTimeout = 5 * time.Second
)

var errDrainTimeout = errors.New("not everything could be published in time before the stop")

// connect opens the session's connections: two ordinary ones and one for replication.
func (s *session) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	cfg, err := pgx.ParseConfig(s.cfg.DatabaseURL)
	if err != nil {
		return err
	}
	maps.Copy(cfg.RuntimeParams, sessionParams)
	// All of them the primary, whatever hosts the URL names.
	cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	cfg.RuntimeParams["application_name"] = applicationName + " " + s.cfg.Source + " (queries)"
	s.pg = cfg
	for _, conn := range []**pgx.Conn{&s.sql, &s.catalog} {
		if *conn, err = pgx.ConnectConfig(ctx, cfg); err != nil {
			return fmt.Errorf("connect to Postgres (does it run, and is DATABASE_URL right?): %w", err)
		}
	}
	if err := checkServer(ctx, s.sql); err != nil {
		return err
	}
	if s.wal, err = postgres.ReadWALGeometry(ctx, s.sql); err != nil {
		return err
	}
	if s.statusInterval, err = statusInterval(ctx, s.sql); err != nil {
		return err
	}
	repl := cfg.Config.Copy()
	maps.Copy(repl.RuntimeParams, replicationParams)
	repl.RuntimeParams["application_name"] = applicationName + " " + s.cfg.Source
	if s.repl, err = pgconn.ConnectConfig(ctx, repl); err != nil {
		return setupHint(fmt.Errorf("connect to Postgres for replication: %w", err))
	}
	s.js, err = jetstream.New(s.cfg.NATS,
		jetstream.WithPublishAsyncMaxPending(4*ackMessages), // our own window is the bound
		jetstream.WithPublishAsyncTimeout(publishTimeout))
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	return nil
}

// sessionParams keep the settings of a role or a database from breaking what cdc does with its connections.
var sessionParams = map[string]string{
	// Names have to be those of the log.
	"client_encoding": "UTF8",
	// A commit of our own must not wait for a standby: while one hangs the barrier has to go on looking.
	"synchronous_commit": "local",
	// Making a slot waits for other transactions, and a cdc that stands by is idle for long.
	"statement_timeout":    "0",
	"lock_timeout":         "0",
	"idle_session_timeout": "0",
}

// replicationParams fix how values are printed: the log's contract, whatever the role's or the database's defaults are.
var replicationParams = map[string]string{
	"replication":        "database",
	"client_encoding":    "UTF8",
	"DateStyle":          "ISO, MDY",
	"IntervalStyle":      "postgres",
	"TimeZone":           "UTC",
	"extra_float_digits": "3",
	"bytea_output":       "hex",
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// The replication connection first: a server that shuts down waits for it.
	if s.repl != nil {
		_ = s.repl.Close(ctx) // the session is over; an error changes nothing
	}
	if s.js != nil {
		s.js.CleanupPublisher() // each has a subscription and a goroutine for its acknowledgements
	}
	for _, conn := range []*pgx.Conn{s.sql, s.catalog} {
		if conn != nil {
			_ = conn.Close(ctx)
		}
	}
}

// statusInterval is a third of wal_sender_timeout, after which the server would give us up, and at most a second: what is
// confirmed is WAL that the server can remove.
func statusInterval(ctx context.Context, conn *pgx.Conn) (time.Duration, error) {
	var ms string
	err := conn.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	n, err := strconv.Atoi(ms)
	if err != nil {
		return 0, fmt.Errorf("wal_sender_timeout: %w", err)
	}
	if n == 0 {
		return time.Second, nil
	}
	return min(time.Second, max(10*time.Millisecond, time.Duration(n)*time.Millisecond/3)), nil
}

func identify(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	r, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return server{}, fmt.Errorf("identify the Postgres server: %w", err)
	}
	return server{system: r.SystemID, timeline: r.Timeline, flushed: events.Position(r.XLogPos)}, nil
}

// quoteName makes a name an element of publication_names: an identifier within a string literal.
func quoteName(name string) string {
	return strings.ReplaceAll(pgx.Identifier{name}.Sanitize(), "'", "''")
}
