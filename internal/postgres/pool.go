package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/internal/config"
)

// pingTimeout bounds the question that the pool puts to a connection which was idle before it hands it out. If that takes longer, a
// new connection is faster.
const pingTimeout = 2 * time.Second

// NewPool connects to the database, with the settings' limits. The first connection is made now, so that a wrong URL is an
// error here. name is the application_name that Postgres shows. edit may change how the pool is made.
func NewPool(ctx context.Context, settings config.Database, name string, edit ...func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(settings.URL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	cfg.MinConns, cfg.MaxConns = int32(settings.MinConnections), int32(settings.MaxConnections)
	cfg.ConnConfig.ConnectTimeout = settings.ConnectionTimeout
	cfg.PingTimeout = pingTimeout
	NoticeDeadPath(&cfg.ConnConfig.Config)
	// The primary, whatever hosts the URL names: a fill from a standby would put an old row under a new token (rule 2).
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	cfg.ConnConfig.RuntimeParams["application_name"] = name
	// The server ends a statement by itself, should nobody be left to cancel it.
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(settings.CommandTimeout.Milliseconds(), 10)
	if _, given := cfg.ConnConfig.RuntimeParams["timezone"]; !given {
		// Two processes that print times in different zones would store different bytes for one result.
		cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	}
	path, err := searchPath(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = path
	for _, e := range edit {
		e(cfg)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return pool, nil
}

// searchPath is what the search_path of a connection means now. All connections of the pool get it: one that is made after ALTER ROLE or
// ALTER DATABASE would else read other tables, under the same names, than those that the queries were analyzed with.
func searchPath(ctx context.Context, cfg *pgx.ConnConfig) (path string, err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return "", fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	err = conn.QueryRow(ctx, "SELECT coalesce(string_agg(quote_ident(s), ', ' ORDER BY n), '') FROM unnest(current_schemas(false)) WITH ORDINALITY AS p(s, n)").Scan(&path)
	if err != nil {
		return "", fmt.Errorf("read the search_path: %w", err)
	}
	return path, nil
}
