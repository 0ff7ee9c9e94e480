package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"freshet/internal/config"
	"freshet/internal/network"
)

// connectNATSLater is connectNATS for who can do without: a server that cannot be reached now is tried again too.
func connectNATSLater(settings config.NATS, name string, log *slog.Logger) (*nats.Conn, error) {
	return connectNATS(settings, name, log, nats.RetryOnFailedConnect(true))
}

// connectNATS connects now; a connection that is lost later is tried again for ever. Nothing is buffered meanwhile: a publish
// without a connection fails at once, and cdc goes on from the stream's end.
func connectNATS(settings config.NATS, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	options := append(network.NATSOptions(),
		nats.Name(name),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to NATS was lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to NATS again", "url", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", "error", err) }),
	)
	if settings.Credentials != "" {
		options = append(options, nats.UserCredentials(settings.Credentials))
	}
	conn, err := nats.Connect(settings.URL, append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w (NATS_URL says where it is: does it run there?)", withoutUser(settings.URL), err)
	}
	return conn, nil
}

// quiet drops what the driver would print by itself, in a form of its own: each of those errors is returned too.
type quiet struct{}

// Printf does nothing.
func (quiet) Printf(context.Context, string, ...any) {}

// Redis answers in well under a millisecond; when it does not, a read is better off with Postgres. Who can do nothing without Redis
// is patient: a path that is slow is better than none.
const (
	redisDialTimeout = time.Second
	redisTimeout     = 500 * time.Millisecond
	redisPatience    = 1500 * time.Millisecond
)

// connectRedis makes a client. required says that Redis must answer now, and that nothing can be done without it later either.
func connectRedis(ctx context.Context, settings config.Redis, name string, required bool) (*redis.Client, error) {
	redis.SetLogger(quiet{})
	options, err := redis.ParseURL(settings.URL)
	if err != nil {
		return nil, fmt.Errorf("read the Redis URL: %w", err)
	}
	options.ClientName = name
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = redisDialTimeout, redisTimeout, redisTimeout
	if required {
		options.ReadTimeout, options.WriteTimeout = redisPatience, redisPatience
	}
	options.MaxRetries, options.DialerRetries = 1, 1
	network.DialRedis(options)
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
