package config

import (
	"net"
	"strconv"
)

// Redis is the cache's server. URL is what a process uses: it is given, or built
// from Host and Port, the two variables that many deployments have already.
type Redis struct {
	URL  string // redis://, rediss:// or unix://
	Host string
	Port int
}

// Register adds the settings to s.
func (r *Redis) Register(s *Set) {
	s.String(&r.Host, "redis-host", "REDIS_HOST", "127.0.0.1",
		"where Redis is, when there is no Redis URL")
	s.Int(&r.Port, "redis-port", "REDIS_PORT", 6379,
		"port of Redis, when there is no Redis URL", Between(1, 65535))
	s.URL(&r.URL, "redis-url", "REDIS_URL", "",
		"where Redis is", []string{"redis", "rediss", "unix"},
		DefaultFrom("redis://$REDIS_HOST:$REDIS_PORT/0", func() string {
			return "redis://" + net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) + "/0"
		}))
}
