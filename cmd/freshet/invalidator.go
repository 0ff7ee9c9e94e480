package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/health"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
	"freshet/internal/tracing"
	"freshet/invalidator"
)

func invalidatorCommand() *cobra.Command {
	var (
		db     config.Database
		redis  config.Redis
		nats   config.NATS
		source config.Source
		inv    config.Invalidator
		health config.Health
		verify config.Verify
		log    config.Log
	)
	cmd := &cobra.Command{
		Use:   "invalidator",
		Short: "Clear in Redis what each change touches, and advance the watermark",
		Long: `Consumes the log from JetStream, clears the buckets that each change touches, and advances the cache's watermark.

Postgres is asked only for the list of shapes, at the start and when it changes. Several invalidators may run on one Redis.

With --verify-rate it also does, all the time, what ` + "`freshet verify`" + ` does: it needs the api's --queries then. A stale entry is one line
of the level ERROR, and each minute has a summary of the level INFO. /metrics then has freshet_verify_*.

` + tracing.Help,
	}
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		logger := log.Logger(cmd.ErrOrStderr())
		g, ctx := errgroup.WithContext(cmd.Context())
		var auditing *verifying
		if verify.Rate > 0 {
			auditing = &verifying{}
			g.Go(func() error { return verifyInBackground(ctx, db, redis, source, verify, logger, auditing) })
		}
		g.Go(func() error {
			return runInvalidator(ctx, db, redis, nats, source, health, invalidatorOps(inv, set), logger, auditing, nil)
		})
		return unlessStopped(cmd.Context(), g.Wait())
	}, &db, &redis, &nats, &source, &inv, &health, &verify, &log)
}

// invalidatorOps says where the invalidator serves its health and metrics.
func invalidatorOps(i config.Invalidator, set *config.Set) ops {
	return ops{
		addr: i.HTTPAddr, given: set.Given("FRESHET_INVALIDATOR_HTTP_ADDR"),
		setting: "--invalidator-http-addr or FRESHET_INVALIDATOR_HTTP_ADDR",
	}
}

// invalidatorConnections bounds the pool: a question now and then.
const invalidatorConnections = 2

// runInvalidator runs until ctx ends. auditing, if not nil, verifies in the same process; onApplied, if not nil, is called with each
// state that was stored.
func runInvalidator(ctx context.Context, db config.Database, redis config.Redis, nats config.NATS, source config.Source,
	h config.Health, o ops, log *slog.Logger, auditing *verifying, onApplied func(cache.State),
) error {
	traces, err := tracing.Start(ctx, "invalidator", version, log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	db.MinConnections, db.MaxConnections = 0, min(db.MaxConnections, invalidatorConnections)
	pool, err := postgres.NewPool(ctx, db, "freshet invalidator "+source.Name)
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := connectRedis(ctx, redis, "freshet-invalidator", true)
	if err != nil {
		return err
	}
	defer client.Close() // nothing is buffered in it
	if err := traces.Redis(client); err != nil {
		return err
	}
	conn, err := connectNATS(nats, "freshet invalidator "+source.Name, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	registry := &cache.Registry{Pool: pool, Publication: source.Publication, Log: log}
	store := cache.NewRedis(client, cache.DefaultPrefix)
	clock, err := cache.NewClock(ctx, func(ctx context.Context) (now time.Time, err error) {
		err = pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
		return now, err
	})
	if err != nil {
		return err
	}
	metrics := telemetry.NewInvalidator(version, clock.Now, clock.Likely)
	settings := invalidator.Config{
		Source: source.Name, JetStream: js, Store: store, Ready: registry.Ready, Log: log, Metrics: metrics, Tracing: traces, OnApplied: onApplied,
	}
	if auditing != nil {
		metrics.Verify(auditing.metrics)
		settings.Verified = auditing.status
	}
	v := invalidator.New(settings)
	parts := monitored{
		process: "invalidator", health: h, source: source.Name, secrets: health.SecretsOf(db.URL, redis.URL, nats.URL),
		pool: pool, nats: conn, js: js,
	}
	monitor := parts.monitor(invalidatorReady(ctx, v.Status), clock, nil, checkInvalidator(v.Status),
		health.Redis(store), health.WatermarkOf(store, clock.Now, appliedWithin),
		lookAtLag(health.ConsumerOf(js, source.Name, applied(v.Status), appliedWithin), metrics))
	return runWithHealth(ctx, v.Run, monitor, o, log, route{"GET /metrics", metrics.Handler()})
}

// lookAtLag is the check of the consumer, which tells the metrics too: while nothing can be applied nobody else does.
func lookAtLag(check health.Check, metrics *telemetry.Invalidator) health.Check {
	look := check.Look
	check.Look = func(ctx context.Context) (any, error) {
		details, err := look(ctx)
		if c, ok := details.(health.Consumer); ok {
			metrics.Behind(c.LagMessages, c.LagBytes)
		}
		return details, err
	}
	return check
}
