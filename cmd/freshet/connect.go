package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"freshet/internal/config"
)

// connectNATS connects now; a connection that is lost later is tried again for ever. Nothing is buffered meanwhile: a publish
// without a connection fails at once, and cdc goes on from the stream's end.
func connectNATS(settings config.NATS, name string, log *slog.Logger) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(name),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to NATS was lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to NATS again", "url", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}
	if settings.Credentials != "" {
		options = append(options, nats.UserCredentials(settings.Credentials))
	}
	conn, err := nats.Connect(settings.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w (NATS_URL says where it is: does it run there?)", withoutUser(settings.URL), err)
	}
	return conn, nil
}

// quiet drops what the driver would print by itself, in a form of its own: each of those errors is returned too.
type quiet struct{}

// Printf does nothing.
func (quiet) Printf(context.Context, string, ...any) {}

// Redis answers in well under a millisecond; when it does not, a read is better off with Postgres.
const (
	redisDialTimeout = time.Second
	redisTimeout     = 500 * time.Millisecond
)

// connectRedis makes a client. required says that Redis must answer now.
func connectRedis(ctx context.Context, settings config.Redis, name string, required bool) (*redis.Client, error) {
	redis.SetLogger(quiet{})
	options, err := redis.ParseURL(settings.URL)
	if err != nil {
		return nil, fmt.Errorf("read the Redis URL: %w", err)
	}
	options.ClientName = name
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = redisDialTimeout, redisTimeout, redisTimeout
	options.MaxRetries, options.DialerRetries = 1, 1
	options.ContextTimeoutEnabled = true
	client := redis.NewClient(options)
	if required {
		if err := client.Ping(ctx).Err(); err != nil {
			_ = client.Close() // it never worked
			return nil, fmt.Errorf("connect to Redis at %s: %w (REDIS_URL says where it is: does it run there?)", options.Addr, err)
		}
	}
	return client, nil
}
