package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/config"
)

func cdcCommand() *cobra.Command {
	var (
		db   config.Database
		nats config.NATS
		c    config.CDC
		log  config.Log
	)
	cmd := &cobra.Command{
		Use:   "cdc",
		Short: "Stream the database's committed changes into NATS JetStream",
		Long: `Streams the committed changes of the tables that are cached from Postgres (logical replication) into a JetStream stream.

The replication slot and the publication are made on first start. Of several cdc on one slot one works; the others stand by.
Postgres needs wal_level=logical, the role REPLICATION and the ownership of the tables.`,
	}
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		return runCDC(cmd.Context(), db, nats, c, log.Logger(cmd.ErrOrStderr()), nil)
	}, &db, &nats, &c, &log)
}

// runCDC runs until ctx ends. streaming, if not nil, is called when the log has been joined.
func runCDC(ctx context.Context, db config.Database, nats config.NATS, c config.CDC, log *slog.Logger, streaming func()) error {
	conn, err := connectNATS(nats, "freshet cdc "+c.Source, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := cdc.New(cdc.Config{
		DatabaseURL: db.URL, NATS: conn, Source: c.Source, Slot: c.SlotName, Publication: c.Publication,
		NATSSyncInterval: c.NATSSyncInterval,
		Stream:           events.StreamSettings{Retention: c.Retention, MaxBytes: c.MaxBytes, Replicas: c.Replicas},
		Log:              log, OnStreaming: streaming,
	})
	if err != nil {
		return err
	}
	return p.Run(ctx)
}
