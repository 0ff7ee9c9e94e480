package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Info is what the server says of itself, as INFO prints it.
func (r *Redis) Info(ctx context.Context) (string, error) {
	info, err := r.client.Info(ctx).Result() // all sections: a server before 7.0 takes no list of them
	if err != nil {
		return "", fmt.Errorf("ask Redis for its statistics: %w", err)
	}
	return info, nil
}

// Client is the client of the store, for questions about the server.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Contents says how much is cached. It is of all keys, or of a sample: Keys are all there are in the database, SampledKeys those that
// were looked at, and everything else is reckoned up from these.
type Contents struct {
	Keys        int64
	SampledKeys int64
	// Whole is true if every key was looked at: then nothing is an estimate.
	Whole                   bool
	Buckets, Entries, Bytes float64
	// BytesKnown is false where the server does not say how much memory a key takes.
	BytesKnown bool
	// Tables has the buckets, entries and bytes by table (schema.table).
	Tables map[string]TableContents
}

// TableContents is the part of Contents that is of one table.
type TableContents struct{ Buckets, Entries, Bytes float64 }

// The bounds of Contents: below wholeKeys all are looked at, else some keys at each of a few random places.
const (
	wholeKeys    = 2000
	samplePlaces = 10
	placeKeys    = 100
)

// Contents samples what is cached. It costs the server a few hundred small commands at most. random gives the places to look at.
func (r *Redis) Contents(ctx context.Context, random func() uint64) (Contents, error) {
	c := Contents{BytesKnown: true, Tables: map[string]TableContents{}}
	var err error
	if c.Keys, err = r.client.DBSize(ctx).Result(); err != nil {
		return c, fmt.Errorf("sample Redis: %w", err)
	}
	seen := map[string]bool{}
	look := func(cursor uint64) (uint64, error) {
		keys, next, err := r.client.Scan(ctx, cursor, "*", placeKeys).Result()
		if err != nil {
			return 0, fmt.Errorf("sample Redis: %w", err)
		}
		fresh := keys[:0]
		for _, key := range keys {
			if !seen[key] { // SCAN may return a key twice
				seen[key] = true
				fresh = append(fresh, key)
			}
		}
		c.SampledKeys += int64(len(fresh))
		return next, r.weigh(ctx, &c, fresh)
	}
	if c.Keys <= wholeKeys {
		c.Whole = true
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			if cursor, err = look(cursor); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	for range samplePlaces {
		if _, err := look(random()); err != nil {
			return c, err
		}
	}
	c.scale()
	return c, nil
}

// weigh adds keys to the contents.
func (r *Redis) weigh(ctx context.Context, c *Contents, keys []string) error {
	pipe := r.client.Pipeline()
	type bucket struct {
		table       string
		token       *redis.BoolCmd
		size, bytes *redis.IntCmd
	}
	var buckets []bucket
	for _, key := range keys {
		name, ours := strings.CutPrefix(key, r.prefix)
		if !ours || !isBucket(name) {
			continue
		}
		table, _, _ := strings.Cut(name, ":")
		buckets = append(buckets, bucket{table, pipe.HExists(ctx, key, fieldToken), pipe.HLen(ctx, key), pipe.MemoryUsage(ctx, key, 5)})
	}
	if len(buckets) == 0 {
		return nil
	}
	// That of a single command is no reason to stop: a key that is gone by now, or is no hash.
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) && !isReply(err) {
		return fmt.Errorf("sample Redis: %w", err)
	}
	for _, b := range buckets {
		fields := b.size.Val()
		if fields == 0 {
			continue
		}
		if b.token.Val() {
			fields--
		}
		if err := b.bytes.Err(); err != nil && !errors.Is(err, redis.Nil) {
			c.BytesKnown = false
		}
		c.add(b.table, float64(fields), float64(b.bytes.Val()))
	}
	return nil
}

func isReply(err error) bool {
	_, is := errors.AsType[redis.Error](err)
	return is
}

// maxContentsTables bounds the tables that are told apart.
const maxContentsTables = 200

func (c *Contents) add(table string, entries, bytes float64) {
	c.Buckets++
	c.Entries += entries
	c.Bytes += bytes
	t, known := c.Tables[table]
	if !known && len(c.Tables) >= maxContentsTables {
		return
	}
	c.Tables[table] = TableContents{t.Buckets + 1, t.Entries + entries, t.Bytes + bytes}
}

// scale reckons from the sample to all keys.
func (c *Contents) scale() {
	if c.SampledKeys == 0 {
		return
	}
	by := float64(c.Keys) / float64(c.SampledKeys)
	c.Buckets, c.Entries, c.Bytes = c.Buckets*by, c.Entries*by, c.Bytes*by
	for table, t := range c.Tables {
		c.Tables[table] = TableContents{t.Buckets * by, t.Entries * by, t.Bytes * by}
	}
}
