package advice

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisTimeout bounds the question to Redis.
const redisTimeout = 2 * time.Second

// GatherRedis asks the server how it is doing: one INFO, which takes it no noticeable time.
func GatherRedis(ctx context.Context, client redis.UniversalClient) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	// All sections: a server before 7.0 takes no list of them.
	info, err := client.Info(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("gather statistics of Redis: %w", err)
	}
	return readInfo(info), nil
}

// keyspace is db0:keys=12,expires=10,avg_ttl=1234 and so on, a line for each database.
var keyspace = regexp.MustCompile(`^keys=(\d+),expires=(\d+),avg_ttl=(\d+)`)

// readInfo reads what INFO prints; what a server does not say is 0.
func readInfo(info string) *Redis {
	r := &Redis{}
	numbers := map[string]*int64{
		"used_memory": &r.Used, "maxmemory": &r.Max, "total_system_memory": &r.Host, "evicted_keys": &r.Evicted,
	}
	var weighted float64 // time to live by key, in milliseconds
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if at := numbers[name]; at != nil {
			*at, _ = strconv.ParseInt(value, 10, 64)
		}
		switch {
		case name == "maxmemory_policy":
			r.Policy = value
		case name == "uptime_in_seconds":
			s, _ := strconv.ParseInt(value, 10, 64)
			r.Uptime = time.Duration(s) * time.Second
		case strings.HasPrefix(name, "db"):
			if m := keyspace.FindStringSubmatch(value); m != nil {
				keys, _ := strconv.ParseInt(m[1], 10, 64)
				expiring, _ := strconv.ParseInt(m[2], 10, 64)
				ttl, _ := strconv.ParseInt(m[3], 10, 64)
				r.Keys, r.Expiring = r.Keys+keys, r.Expiring+expiring
				weighted += float64(ttl) * float64(expiring)
			}
		}
	}
	if r.Expiring > 0 {
		r.MeanTTL = time.Duration(weighted / float64(r.Expiring) * float64(time.Millisecond))
	}
	return r
}
