package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"freshet/api"
	"freshet/cache"
	"freshet/example"
	"freshet/internal/config"
	"freshet/internal/health"
	"freshet/internal/postgres"
	"freshet/internal/tracing"
	"freshet/query"
)

func apiCommand() *cobra.Command {
	var (
		db     config.Database
		redis  config.Redis
		nats   config.NATS
		source config.Source
		c      config.API
		health config.Health
		log    config.Log
	)
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Serve reads declared as SQL files from the cache, and writes",
		Long: `Serves each SQL file of --queries as an HTTP endpoint: reads from the cache, writes to Postgres.

Without Redis, cdc or the invalidator reads are answered by Postgres: slower, never stale.

NATS is only needed to warm the cache (POST /performance/cache/warm, --warm-on-start), and only asked then; no NATS_URL: it is not.

` + tracing.Help,
	}
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		warmFrom := &nats
		if !set.Given("NATS_URL") {
			if c.WarmOnStart > 0 {
				return errors.New("--warm-on-start needs --nats-url (NATS_URL): the log says what to warm")
			}
			warmFrom = nil
		}
		return unlessStopped(cmd.Context(), runAPI(cmd.Context(), db, redis, warmFrom, source, c, health, log.Logger(cmd.ErrOrStderr()), nil))
	}, &db, &redis, &nats, &source, &c, &health, &log)
}

// runAPI serves until ctx ends. nats, if not nil, has the log that warm-ups read. listening, if not nil, is called with the URL once requests are accepted.
func runAPI(ctx context.Context, db config.Database, redis config.Redis, nats *config.NATS, source config.Source, c config.API, h config.Health,
	log *slog.Logger, listening func(url string),
) error {
	queries, err := loadQueries(c)
	if err != nil {
		return err
	}
	traces, err := tracing.Start(ctx, "api", version, log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	pool, err := postgres.NewPool(ctx, db, "freshet api "+source.Name, traces.Pool)
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := connectRedis(ctx, redis, "freshet-api", false)
	if err != nil {
		return err
	}
	defer client.Close() // nothing is buffered in it
	if err := traces.Redis(client); err != nil {
		return err
	}
	var js jetstream.JetStream
	if nats != nil {
		conn, err := connectNATSLater(*nats, "freshet api "+source.Name, log)
		if err != nil {
			return err
		}
		defer conn.Close()
		if js, err = jetstream.New(conn); err != nil {
			return fmt.Errorf("use JetStream: %w", err)
		}
	}
	a, err := api.New(ctx, api.Config{
		Addr: c.Addr, Pool: pool, Store: cache.NewRedis(client, cache.DefaultPrefix), Queries: queries,
		Source: source.Name, Publication: source.Publication, AdminToken: c.AdminToken, MaxStaleness: c.MaxStaleness,
		PositionCookie: c.PositionCookie, MaxWaiting: c.MaxWaiting,
		ConnectionTimeout: db.ConnectionTimeout, CommandTimeout: db.CommandTimeout,
		BodyLimit: c.BodyLimit, RequestTimeout: c.RequestTimeout, DrainDelay: c.DrainDelay, DrainTimeout: c.DrainTimeout,
		HealthInterval: h.Interval, HealthOpen: h.Open, Slot: h.SlotName, Secrets: health.SecretsOf(redis.URL),
		Version: version, Unmeasured: !c.Telemetry, Tracing: traces,
		JetStream: js, WarmOnStart: c.WarmOnStart, WarmDeadline: c.WarmDeadline, Log: log,
	})
	if c.Example && postgres.IsCode(err, "42P01") { // undefined_table
		return fmt.Errorf("%w\n(the example's tables are made by `freshet migrate up --example`)", err)
	}
	if err != nil {
		return err
	}
	if err := a.Listen(ctx); err != nil {
		return err
	}
	if listening != nil {
		listening(a.URL())
	}
	return a.Run(ctx)
}

// loadQueries reads the example's files, one's own, or both.
func loadQueries(c config.API) ([]*query.Query, error) {
	var all []*query.Query
	var problems []error
	if c.Example {
		queries, err := query.Load(example.Queries())
		all, problems = append(all, queries...), append(problems, err)
	}
	if c.QueriesDir != "" {
		queries, err := query.Load(os.DirFS(c.QueriesDir))
		all, problems = append(all, queries...), append(problems, err)
		if err == nil && len(queries) == 0 {
			problems = append(problems, fmt.Errorf("the folder %s has no .sql file", c.QueriesDir))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return all, query.Unique(all)
}
