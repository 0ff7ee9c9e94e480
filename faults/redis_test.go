package faults

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var redisFaults = []fault{
	{name: "FLUSHALL, ten times", short: true, strike: func(s *site) {
		client := s.redis.Client(s.t)
		for range 10 {
			require.NoError(s.t, client.FlushAll(s.ctx).Err())
			s.hold(shortly / 10)
		}
	}},
	{name: "random keys deleted", strike: func(s *site) { s.deleteKeys(2*shortly, time.Millisecond, "") }},
	// The watermark stands still, and what is read again is newer than it: it must not be shown together with what is older.
	{name: "random keys deleted while cdc is paused", strike: func(s *site) {
		s.cdc.Signal(syscall.SIGSTOP)
		s.deleteKeys(patientBound-time.Second, 10*time.Millisecond, "freshet:public.registers:")
		s.cdc.Signal(syscall.SIGCONT)
	}},
	{name: "the watermark deleted, ten times", strike: func(s *site) {
		client := s.redis.Client(s.t)
		for range 10 {
			require.NoError(s.t, client.Del(s.ctx, "freshet:watermark").Err())
			s.hold(shortly / 10)
		}
	}},
	{name: "maxmemory with allkeys-random", strike: func(s *site) {
		client := s.redis.Client(s.t)
		set := func(name, value string) { require.NoError(s.t, client.ConfigSet(s.ctx, name, value).Err()) }
		used, evicted := redisInfo(s, client, "used_memory"), redisInfo(s, client, "evicted_keys")
		set("maxmemory-policy", "allkeys-random")
		set("maxmemory", strconv.FormatInt(used-used/50, 10))
		s.hold(2 * shortly)
		s.until("keys are evicted", func() bool { return redisInfo(s, client, "evicted_keys") > evicted+100 })
		set("maxmemory", "0")
	}},
	{name: "no memory, and nothing may be evicted", strike: func(s *site) {
		client := s.redis.Client(s.t)
		set := func(name, value string) { require.NoError(s.t, client.ConfigSet(s.ctx, name, value).Err()) }
		set("maxmemory-policy", "noeviction")
		set("maxmemory", "1")
		s.hold(shortly)
		set("maxmemory", "0")
	}},
	{name: "an old dump restored", strike: func(s *site) {
		old := s.redis.Dump(s.t)
		s.hold(shortly)
		s.redis.Restore(s.t, old)
	}},
	{name: "paused", strike: func(s *site) {
		require.NoError(s.t, s.redis.Client(s.t).Do(s.ctx, "CLIENT", "PAUSE", shortly.Milliseconds(), "ALL").Err())
		s.hold(shortly)
	}},
}

// deleteKeys deletes a random key again and again, of those that begin so.
func (s *site) deleteKeys(d, pace time.Duration, prefix string) {
	s.t.Helper()
	client := s.redis.Client(s.t)
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	for ctx.Err() == nil {
		key, err := client.RandomKey(ctx).Result()
		if err == nil && strings.HasPrefix(key, prefix) {
			err = client.Unlink(ctx, key).Err()
		}
		if err != nil && !errors.Is(err, redis.Nil) && ctx.Err() == nil {
			require.NoError(s.t, err)
		}
		pause(ctx, pace)
	}
}

// redisInfo is a number of INFO.
func redisInfo(s *site, client *redis.Client, name string) int64 {
	s.t.Helper()
	info, err := client.Info(s.ctx).Result()
	require.NoError(s.t, err)
	_, rest, found := strings.Cut(info, "\n"+name+":")
	require.True(s.t, found, name)
	text, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(s.t, err)
	return n
}
