package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"freshet/example"
	"freshet/query"
)

// The baseline answers the same reads as the api in the two ways that somebody would write by hand: from a Redis key that
// holds the body, never checked for freshness, and from Postgres. It has no middleware at all.

const (
	redisRoute = "/redis" // before a path: from Redis
	sqlRoute   = "/sql"   // before a path: from Postgres, the same statement as the api's
	// bodyKey begins the keys of the bodies; the path follows.
	bodyKey = "bench:body:"
)

func baselineCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "baseline", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serveBaseline(cmd.Context(), addr) },
	}
	cmd.Flags().StringVar(&addr, "addr", "", "where to listen")
	return cmd
}

func serveBaseline(ctx context.Context, addr string) error {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close() // nothing is buffered in it
	cfg, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	cfg.MinConns, cfg.MaxConns = 10, 50 // as the api has them
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	queries, err := query.Load(example.Queries())
	if err != nil {
		return err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET(redisRoute+"/*", fromRedis(client))
	for _, q := range queries {
		if q.Cached() {
			e.GET(sqlRoute+q.Path, fromPostgres(pool, q))
		}
	}
	context.AfterFunc(ctx, func() { _ = e.Close() }) // its clients are gone or do not matter
	if err := e.Start(addr); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the baseline: %w", err)
	}
	return nil
}

func fromRedis(client *redis.Client) echo.HandlerFunc {
	return func(c echo.Context) error {
		key := bodyKey + strings.TrimPrefix(c.Request().URL.Path, redisRoute)
		body, err := client.Get(c.Request().Context(), key).Bytes()
		if errors.Is(err, redis.Nil) {
			return echo.ErrNotFound
		}
		if err != nil {
			return err
		}
		return send(c, body)
	}
}

func fromPostgres(pool *pgxpool.Pool, q *query.Query) echo.HandlerFunc {
	return func(c echo.Context) error {
		path := map[string]string{}
		for i, name := range c.ParamNames() {
			path[name] = c.ParamValues()[i]
		}
		args, err := q.Bind(query.Values{Path: path, Query: c.QueryParams()})
		if err != nil {
			return err
		}
		var body []byte
		if err := pool.QueryRow(c.Request().Context(), q.Text, args.Values()...).Scan(&body); err != nil {
			return err
		}
		return send(c, body)
	}
}

// send says the length, without which net/http sends what is larger than its buffer in chunks.
func send(c echo.Context, body []byte) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
}
