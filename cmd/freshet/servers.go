package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"freshet/internal/postgres"
	"freshet/internal/servers"
)

// devDatabase is the name of the database in the private Postgres.
const devDatabase = "freshet"

// startServers starts those servers that were not given, at once, and sets their URLs.
func (s *devSettings) startServers(ctx context.Context, r *running, log *slog.Logger) error {
	var (
		pg    *servers.Postgres
		redis *servers.Redis
		nats  *servers.NATS
	)
	password, err := s.secret("postgres.password")
	if err != nil {
		return err
	}
	g, start := errgroup.WithContext(ctx)
	if !s.givenDatabase {
		g.Go(func() (err error) {
			pg, err = servers.StartPostgres(start, servers.PostgresOptions{
				Dir: filepath.Join(s.dev.Data, "postgres"), Port: s.dev.PostgresPort, Password: password,
				PortHint: "--dev-postgres-port or FRESHET_DEV_POSTGRES_PORT",
			})
			return err
		})
	}
	if !s.givenRedis {
		g.Go(func() (err error) {
			redis, err = servers.StartRedis(start, servers.RedisOptions{
				Dir: filepath.Join(s.dev.Data, "redis"), Port: s.dev.RedisPort,
				PortHint: "--dev-redis-port or FRESHET_DEV_REDIS_PORT",
			})
			return err
		})
	}
	if !s.givenNATS {
		g.Go(func() (err error) {
			nats, err = servers.StartNATS(start, servers.NATSOptions{
				Dir: filepath.Join(s.dev.Data, "nats"), Port: s.dev.NATSPort, SyncInterval: devSyncInterval, Log: log,
				PortHint: "--dev-nats-port or FRESHET_DEV_NATS_PORT",
			})
			return err
		})
	}
	err = g.Wait()
	// Those that came up are stopped with the rest, also if another did not.
	if nats != nil {
		r.watch("NATS", nats)
		s.nats.URL = nats.URL()
	}
	if redis != nil {
		r.watch("Redis", redis)
		s.redis.URL = redis.URL()
	}
	if pg != nil {
		r.watch("Postgres", pg)
		s.db.URL = pg.URL(devDatabase)
	}
	if err != nil || pg == nil {
		return err
	}
	return createDatabase(ctx, pg.URL("postgres"), devDatabase)
}

func createDatabase(ctx context.Context, url, name string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	if postgres.IsCode(err, "42P04") { // duplicate_database
		err = nil
	}
	return errors.Join(err, conn.Close(ctx))
}
