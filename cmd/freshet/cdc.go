package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/config"
	"freshet/internal/health"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
	"freshet/internal/tracing"
)

func cdcCommand() *cobra.Command {
	var (
		db     config.Database
		nats   config.NATS
		c      config.CDC
		health config.Health
		log    config.Log
	)
	cmd := &cobra.Command{
		Use:   "cdc",
		Short: "Stream the database's committed changes into NATS JetStream",
		Long: `Streams the committed changes of the tables that are cached from Postgres (logical replication) into a JetStream stream.

The replication slot and the publication are made on first start. Of several cdc on one slot one works; the others stand by.
Postgres needs wal_level=logical, the role REPLICATION and the ownership of the tables.

` + tracing.Help,
	}
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		return unlessStopped(cmd.Context(),
			runCDC(cmd.Context(), db, nats, c, health, cdcOps(c, set), log.Logger(cmd.ErrOrStderr()), nil))
	}, &db, &nats, &c, &health, &log)
}

// cdcOps says where cdc serves its health and metrics.
func cdcOps(c config.CDC, set *config.Set) ops {
	return ops{addr: c.HTTPAddr, given: set.Given("FRESHET_CDC_HTTP_ADDR"), setting: "--cdc-http-addr or FRESHET_CDC_HTTP_ADDR"}
}

// healthConnections bounds the pool of a process that has one for its health only.
const healthConnections = 2

// runCDC runs until ctx ends. streaming, if not nil, is called when the log has been joined.
func runCDC(ctx context.Context, db config.Database, nats config.NATS, c config.CDC, h config.Health, o ops, log *slog.Logger,
	streaming func(),
) error {
	traces, err := tracing.Start(ctx, "cdc", version, log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	conn, err := connectNATS(nats, "freshet cdc "+c.Source, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	db.MinConnections, db.MaxConnections = 0, min(db.MaxConnections, healthConnections)
	pool, err := postgres.NewPool(ctx, db, "freshet cdc "+c.Source+" (health)")
	if err != nil {
		return err
	}
	defer pool.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	metrics := telemetry.NewCDC(version, time.Now)
	p, err := cdc.New(cdc.Config{
		DatabaseURL: db.URL, NATS: conn, Source: c.Source, Slot: c.SlotName, Publication: c.Publication,
		NATSSyncInterval: c.NATSSyncInterval,
		Stream:           events.StreamSettings{Retention: c.Retention, MaxBytes: c.MaxBytes, Replicas: c.Replicas},
		Log:              log, Metrics: metrics, Tracing: traces, OnStreaming: streaming,
	})
	if err != nil {
		return err
	}
	parts := monitored{
		process: "cdc", health: h, source: c.Source, secrets: health.SecretsOf(db.URL, nats.URL), pool: pool, nats: conn, js: js,
	}
	const elsewhere = "cdc has no connection to Redis: ask /health/detailed of the invalidator"
	parts.slot = func(s health.Slot) {
		metrics.Retained(s.RetainedBytes)
		// While nothing can be published the publisher does not ask where the WAL ends.
		if confirmed, err := events.ParsePosition(s.ConfirmedPosition); err == nil {
			metrics.WALEnd(uint64(confirmed) + uint64(max(0, s.UnconfirmedBytes)))
		}
	}
	monitor := parts.monitor(cdcReady(ctx, p.Status), nil, map[string]string{
		health.CheckRedis: elsewhere, health.CheckWatermark: elsewhere, health.CheckConsumer: elsewhere,
	}, checkCDC(p.Status))
	return runWithHealth(ctx, p.Run, monitor, o, log, route{"GET /metrics", metrics.Handler()})
}
