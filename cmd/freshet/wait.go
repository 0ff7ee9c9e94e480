package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/config"
	"freshet/internal/postgres"
)

func waitCommand() *cobra.Command {
	var (
		db     config.Database
		redis  config.Redis
		source config.Source
	)
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the cache has applied a write",
		Long: `Returns once the cache has applied every transaction that had been acknowledged when it was called, or that ended at or below
--position (the value of a Freshet-Position header, or an LSN). For scripts that write with SQL of their own and then read through
the api. It prints the position.

A bare LSN is taken for one of the timeline that the primary is on when the command is called: positions are given out again after a failover.
The value of a Freshet-Position header says which timeline it is of, above the first. Without --position there is nothing to mistake.

Exit status 1 if that takes longer than --timeout.`,
	}
	position := cmd.Flags().String("position", "", "the position to wait for, 0/16B3748 or 0/16B3748;timeline=2; the present end of the WAL unless said")
	timeout := cmd.Flags().Duration("timeout", 5*time.Second, "how long to wait")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		mark, err := waitFor(cmd.Context(), db, redis, source.Name, *position, *timeout)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), mark)
		return err
	}, &db, &redis, &source)
}

func waitFor(ctx context.Context, db config.Database, redis config.Redis, source, position string, timeout time.Duration) (mark cache.Mark, err error) {
	client, err := connectRedis(ctx, redis, "freshet-wait", true)
	if err != nil {
		return mark, err
	}
	defer client.Close() // nothing is buffered in it
	if position != "" {
		if mark, err = cache.ParseMark(position); err != nil {
			return mark, err
		}
	}
	if mark.Timeline == 0 {
		end, err := currentEnd(ctx, db.URL, source)
		if err != nil {
			return mark, err
		}
		if mark = mark.On(end); position == "" {
			mark = end
		}
	}
	reader := cache.NewReader(cache.ReaderConfig{Store: cache.NewRedis(client, cache.DefaultPrefix)})
	defer reader.Close()
	reached, err := reader.Reached(ctx, mark, timeout)
	if err == nil && !reached {
		err = fmt.Errorf("the cache has not applied %s within %s: do cdc and the invalidator run?", mark, timeout)
	}
	return mark, err
}

// currentEnd asks the primary where its WAL ends.
func currentEnd(ctx context.Context, url, source string) (mark cache.Mark, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return mark, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	wal, err := postgres.ReadWALGeometry(ctx, conn)
	if err != nil {
		return mark, err
	}
	var position, timeline string
	if err := conn.QueryRow(ctx, "SELECT "+postgres.EndColumns(source)).Scan(&position, &timeline); err != nil {
		return mark, fmt.Errorf("ask Postgres where its WAL ends: %w", err)
	}
	end, tli, err := wal.ParseEnd(position, timeline)
	return cache.Mark{Timeline: tli, Position: events.Position(end)}, err
}
