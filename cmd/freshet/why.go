package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/invalidator"
	"freshet/query"
	"freshet/query/analysis"
)

func whyCommand() *cobra.Command {
	var (
		db     config.Database
		nats   config.NATS
		source config.Source
		c      = config.API{Example: true}
		log    config.Log
	)
	cmd := &cobra.Command{
		Use:   "why BUCKET | QUERY [PARAMETER=VALUE ...]",
		Short: "Say which changes cleared a bucket, and which buckets a query's result depends on",
		Long: `With a bucket (public.blogs:id=42, or the Redis key freshet:public.blogs:id=42): the changes of the last hour, or since --since, that
cleared it. With the name of a query and its parameters: the buckets that its result depends on, and what cleared each.

One line for each change: commit time, position, transaction, operation, key of the row. "whole shape" says that more than this
bucket was cleared, and why.`,
		Example: "  freshet why public.blogs:id=42\n  freshet why blog_by_id id=42 --since 10m",
	}
	since := cmd.Flags().Duration("since", time.Hour, "how far back to read the log")
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object a line, for programs")
	cmd = withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		w := &whyPrinter{out: cmd.OutOrStdout(), json: *asJSON}
		pool, err := postgres.NewPool(cmd.Context(), db, "freshet why")
		if err != nil {
			return err
		}
		defer pool.Close()
		tags, err := whyTags(cmd.Context(), pool, c, cmd.Flags().Args())
		if err != nil {
			return err
		}
		conn, err := connectNATS(nats, "freshet why", log.Logger(cmd.ErrOrStderr()))
		if err != nil {
			return err
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			return fmt.Errorf("use JetStream: %w", err)
		}
		registry := &cache.Registry{Pool: pool, Publication: source.Publication}
		shapes, err := registry.Ready(cmd.Context())
		if err != nil {
			return err
		}
		for _, tag := range tags {
			w.bucket(&tag, shapes)
			if err := invalidator.Why(cmd.Context(), js, source.Name, tag, time.Now().Add(-*since), w.cause); err != nil {
				return err
			}
			w.end(*since)
		}
		return w.err
	}, &db, &nats, &source, &c, &log)
	cmd.Args = cobra.MinimumNArgs(1)
	return cmd
}

// whyTags are the tags that the arguments name.
func whyTags(ctx context.Context, pool *pgxpool.Pool, c config.API, args []string) ([]cache.Tag, error) {
	if strings.Contains(args[0], ":") {
		if len(args) > 1 {
			return nil, errors.New("one bucket at a time")
		}
		tag, err := cache.ParseTag(args[0])
		return []cache.Tag{tag}, err
	}
	queries, err := loadQueries(c)
	if err != nil {
		return nil, err
	}
	for _, q := range queries {
		if q.Name == args[0] && q.Cached() {
			return queryTags(ctx, pool, q, args[1:])
		}
	}
	return nil, fmt.Errorf("%q is neither a bucket (public.blogs:id=42) nor a read of the queries that are served", args[0])
}

// queryTags are those that a query's result depends on.
func queryTags(ctx context.Context, pool *pgxpool.Pool, q *query.Query, pairs []string) (tags []cache.Tag, err error) {
	params := map[string]json.RawMessage{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("parameter %q must be NAME=VALUE", pair)
		}
		if params[name], err = q.JSON(name, value); err != nil {
			return nil, err
		}
	}
	args, err := q.BindJSON(params)
	if err != nil {
		return nil, err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Release()
	catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
	if err != nil {
		return nil, err
	}
	plan, err := q.Plan(catalog)
	if err != nil {
		return nil, err
	}
	for _, n := range plan.Needs {
		combinations, ok := n.Values(args)
		if !ok {
			return nil, fmt.Errorf("a request with more than %d values is not cached", query.MaxTags)
		}
		for _, values := range combinations {
			tags = append(tags, cache.NewShape(n.Schema, n.Table, n.Columns...).Tag(values...))
		}
	}
	return tags, nil
}

// whyPrinter prints for people or for programs.
type whyPrinter struct {
	out    io.Writer
	json   bool
	tag    cache.Tag
	causes int
	err    error
}

func (w *whyPrinter) printf(format string, args ...any) {
	_, err := fmt.Fprintf(w.out, format, args...)
	w.err = errors.Join(w.err, err)
}

// bucket begins a bucket, and gives its shape the columns that updates are matched by.
func (w *whyPrinter) bucket(tag *cache.Tag, shapes []cache.Shape) {
	active := false
	for _, s := range shapes {
		if s.String() == tag.Shape.String() {
			tag.Shape, active = s, true
		}
	}
	w.tag, w.causes = *tag, 0
	if w.json {
		return
	}
	w.printf("%s%s\n", cache.DefaultPrefix, tag.Name)
	switch {
	case !active:
		w.printf("  no query that is registered needs the shape %s: nothing is cached there\n", tag.Shape)
	case tag.Shape.Reads != nil:
		w.printf("  updates count if they change %s\n", strings.Join(append(append([]string{}, tag.Shape.Columns...), tag.Shape.Reads...), ", "))
	}
}

func (w *whyPrinter) cause(c invalidator.Cause) error {
	w.causes++
	if w.json {
		text, err := json.Marshal(map[string]any{
			"bucket": cache.DefaultPrefix + w.tag.Name, "committed": c.Committed, "position": c.Position, "xid": c.XID, "op": c.Op, "key": c.Key,
			"whole_shape": c.Whole, "reason": c.Reason, "sequence": c.Sequence,
		})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		w.printf("%s\n", text)
		return w.err
	}
	w.printf("  %s  %-12s  xid %-8d  %-8s %s", c.Committed.Format("2006-01-02 15:04:05.000"), c.Position, c.XID, c.Op, rowText(c.Key))
	if c.Whole {
		w.printf("  (whole shape)")
	}
	if c.Reason != "" {
		w.printf("  %s", c.Reason)
	}
	w.printf("\n")
	return w.err
}

func (w *whyPrinter) end(since time.Duration) {
	if w.causes == 0 && !w.json {
		w.printf("  not cleared in the last %s\n", since)
	}
}

func rowText(row events.Row) string {
	pairs := make([]string, len(row))
	for i, f := range row {
		pairs[i] = f.Name + "=" + f.Value
		if f.Null {
			pairs[i] = f.Name + " is null"
		}
	}
	return strings.Join(pairs, " ")
}
