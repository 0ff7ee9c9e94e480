package testenv

import (
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet/internal/servers"
)

// RedisServer is a Redis of one test.
type RedisServer struct {
	URL    string
	Server *servers.Redis
}

// Redis starts a Redis server for this test, with further arguments like "--maxmemory", "10mb".
func Redis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	log := newOutput()
	log.showIfFailed(tb, "Redis")
	server, err := servers.StartRedis(ctx, servers.RedisOptions{
		Dir: filepath.Join(dirFor(tb), "redis"), Args: args, Log: log,
	})
	if err != nil {
		tb.Fatalf("testenv: start Redis: %v", err)
	}
	stopAtEnd(tb, "Redis", server.Stop)
	return &RedisServer{URL: server.URL(), Server: server}
}

// Client is a new client of the server, closed at the end of the test.
func (r *RedisServer) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	options, err := redis.ParseURL(r.URL)
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Errorf("testenv: close Redis client: %v", err)
		}
	})
	return client
}
