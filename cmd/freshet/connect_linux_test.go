package main

import (
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
	"freshet/internal/network/blackhole"
	"freshet/internal/testenv"
)

// back is how soon after the end of a fault everything works again: the promise.
const back = 5 * time.Second

// All connections that there are die at once, as when a firewall loses its state, those that are idle and those that are not.
func TestRedisIsBackWhenItsConnectionsAreDead(t *testing.T) {
	for name, required := range map[string]bool{"api": false, "invalidator": true} {
		for _, lasts := range []time.Duration{0, 10 * time.Second} {
			t.Run(name+", after "+lasts.String(), func(t *testing.T) {
				t.Parallel()
				u, err := url.Parse(testenv.Redis(t).URL)
				require.NoError(t, err)
				path := blackhole.New(t, u.Host)
				u.Host = path.Addr()
				client, err := connectRedis(t.Context(), config.Redis{URL: u.String()}, "test", required)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, client.Close()) })
				pingAll(t, client)
				path.Vanish()
				for over := time.Now().Add(lasts); time.Now().Before(over); {
					pingAll(t, client)
				}
				path.Forget()
				began := time.Now()
				testenv.Eventually(t, 12*back, func() (bool, string) { // as long as one does not work
					err := client.Ping(t.Context()).Err()
					return err == nil, "Redis does not answer"
				})
				took := time.Since(began)
				t.Logf("BACK after %.2f s", took.Seconds())
				require.Less(t, took, back)
			})
		}
	}
}

// pingAll uses many connections at once.
func pingAll(t *testing.T, client *redis.Client) {
	t.Helper()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			_ = client.Ping(t.Context()).Err() // in the middle of a fault
		})
	}
	all.Wait()
}

func TestNATSIsBackWhenItsConnectionIsDead(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testenv.NATS(t).URL)
	require.NoError(t, err)
	path := blackhole.New(t, u.Host)
	u.Host = path.Addr()
	conn, err := connectNATS(config.NATS{URL: u.String()}, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	path.Forget()
	began := time.Now()
	testenv.Eventually(t, 12*back, func() (bool, string) { return conn.Stats().Reconnects > 0, "no new connection" })
	require.NoError(t, conn.FlushTimeout(back))
	took := time.Since(began)
	t.Logf("BACK after %.2f s", took.Seconds())
	require.Less(t, took, back)
}
