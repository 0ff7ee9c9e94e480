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
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
	"freshet/internal/postgres"
)

const (
	// connectTimeout bounds one connection to Postgres, with all its questions and answers before it can be used.
	connectTimeout = 8 * time.Second
	// questionTimeout bounds one question to Postgres or NATS that is answered without waiting for anybody.
	questionTimeout = 5 * time.Second
	// publishTimeout is how long no acknowledgement may come while some are due.
	publishTimeout = 3 * time.Second
	// walsenderPatience is how long the walsender waits for a sign of life, instead of wal_sender_timeout, a minute by default: as
	// long does it hold the slot when nobody hears it. It hears nothing while a session drains, and must outlive that.
	walsenderPatience = drainTimeout + 2*time.Second
	// closeTimeout bounds the farewell from Postgres.
	closeTimeout = 500 * time.Millisecond
	// drainTimeout bounds what a session still does after it was told to stop.
	drainTimeout = 5 * time.Second
)

var errDrainTimeout = errors.New("not everything could be published in time before the stop")

// connect opens the session's connections: two ordinary ones and one for replication.
func (s *session) connect(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(s.cfg.DatabaseURL)
	if err != nil {
		return err
	}
	maps.Copy(cfg.RuntimeParams, sessionParams)
	// All of them the primary, whatever hosts the URL names.
	cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	cfg.RuntimeParams["application_name"] = applicationName + " " + s.cfg.Source + " (queries)"
	cfg.ConnectTimeout = connectTimeout
	postgres.NoticeDeadPath(&cfg.Config)
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
	if err := s.connectReplication(ctx, cfg.Config.Copy()); err != nil {
		return err
	}
	if err := s.checkOneServer(ctx); err != nil {
		return err
	}
	s.js, err = jetstream.New(s.cfg.NATS,
		jetstream.WithPublishAsyncMaxPending(4*ackMessages), // our own window is the bound
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case s.refused <- err:
			default: // one is enough
			}
		}))
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	return nil
}

func (s *session) connectReplication(ctx context.Context, cfg *pgconn.Config) error {
	patience, err := senderTimeout(ctx, s.sql)
	if err != nil {
		return err
	}
	s.statusInterval = min(time.Second, max(10*time.Millisecond, patience/3))
	maps.Copy(cfg.RuntimeParams, postgres.PrintSettings)
	maps.Copy(cfg.RuntimeParams, replicationParams)
	cfg.RuntimeParams["application_name"] = applicationName + " " + s.cfg.Source
	cfg.RuntimeParams["wal_sender_timeout"] = strconv.FormatInt(patience.Milliseconds(), 10)
	if s.repl, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
		return setupHint(fmt.Errorf("connect to Postgres for replication: %w", err))
	}
	return nil
}

// checkOneServer refuses connections to different servers, as a URL of several hosts can give in the middle of a failover: what one of
// them says of visibility or of definitions tells nothing about the log of another.
func (s *session) checkOneServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	const question = "SELECT extract(epoch FROM pg_postmaster_start_time())::text"
	answers := make([]string, 2)
	for i, conn := range []*pgx.Conn{s.sql, s.catalog} {
		if err := conn.QueryRow(ctx, question).Scan(&answers[i]); err != nil {
			return fmt.Errorf("ask which server it is: %w", err)
		}
	}
	results, err := s.repl.Exec(ctx, question).ReadAll()
	if err != nil {
		return fmt.Errorf("ask which server it is: %w", err)
	}
	if log := string(results[0].Rows[0][0]); answers[0] != log || answers[1] != log {
		return fmt.Errorf("the connections to Postgres are to different servers, started at %s, %s and %s (seconds since 1970)",
			answers[0], answers[1], log)
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

// replicationParams are those of the connection for replication, besides postgres.PrintSettings.
var replicationParams = map[string]string{
	"replication": "database",
	// The walsender may have to wait for us as long as we for NATS or a standby: it hears from us meanwhile (wal_sender_timeout).
	"tcp_user_timeout": "0",
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
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

// senderTimeout is how long the walsender waits for a sign of life: as long as the server is set to, but not for long.
func senderTimeout(ctx context.Context, conn *pgx.Conn) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	var ms string
	err := conn.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	n, err := strconv.Atoi(ms)
	if err != nil {
		return 0, fmt.Errorf("wal_sender_timeout: %w", err)
	}
	if n == 0 { // for ever
		return walsenderPatience, nil
	}
	return min(walsenderPatience, time.Duration(n)*time.Millisecond), nil
}

func identify(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
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
