package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Inspection is what a look at an entry tells somebody who wants to know whether the cache keeps its promise.
type Inspection struct {
	// Answer is what a reader would get from the cache, were the watermark young enough; nil if there is no valid entry.
	Answer *Answer
	// Reason says why a reader would not use the cache now; "" if it would.
	Reason string
	// Identity tells entries apart: two looks that found the same one found the result of one fill. "" without an entry.
	Identity string
	// Filled and Expires are those of the entry, by the clock of the process that filled it. Seen is a mark that nothing in it is
	// later than.
	Filled, Expires time.Time
	Seen            Mark
	// Watermark is how far the log was applied when the entry was still valid: it was read before the buckets. Age is how long ago
	// that was true, by the clock of the Postgres server.
	Watermark Mark
	Age       time.Duration
	// Bound is what an entry would be bound to now: the chain, the generations of the shapes and the tokens of the buckets.
	Bound []string
}

// Inspect looks an entry up exactly as Get does for a request that wants nothing but the cache, and tells what it saw. The
// freshness that the request asks for beyond MaxStaleness is not looked at.
func (r *Reader) Inspect(ctx context.Context, req Request) (*Inspection, error) {
	g := &get{Reader: r, req: req, arrived: time.Now()}
	l, err := g.lookup(ctx)
	if err != nil {
		return nil, err
	}
	age, _ := r.age(l)
	i := &Inspection{Reason: r.unusable(l, req), Watermark: l.mark, Age: age, Bound: l.bound}
	if i.Answer = r.hit(l); i.Answer == nil {
		return i, nil
	}
	e, err := decodeEntry(l.entry) // hit has just read it, and found it valid
	if err != nil {
		return nil, err
	}
	i.Filled, i.Expires, i.Seen = e.Filled, e.Expires, e.Seen
	i.Identity = strconv.FormatInt(e.Filled.UnixMicro(), 36) + " " + e.ETag + " " + strings.Join(e.Bound, " ")
	return i, nil
}

// Place is where an entry is stored.
type Place struct {
	// Tag is the name of the bucket's tag, Field that of the entry.
	Tag, Field string
}

// EntryName is the name that is kept with an entry (Request.Name); "" if it has none, or is gone.
func (r *Redis) EntryName(ctx context.Context, p Place) (string, error) {
	data, err := r.client.HGet(ctx, r.prefix+p.Tag, p.Field).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("read an entry: %w", err)
	}
	if e, err := decodeEntry(data); err == nil {
		return e.Name, nil
	}
	return "", nil // none, or one of another version
}

const (
	// sampleStep is how many keys Redis looks at before it answers one step of a scan, at first and at most.
	sampleStep, maxSampleStep = 16, 1024
	// sampleSteps bounds a search: in a server with few of our keys among many others it ends without any.
	sampleSteps = 200
)

// Sample draws entries from random buckets: one each from a few of them that lie side by side in the server's hash table, whose
// order has nothing to do with what they hold. It begins where draw says. done is true if it has seen every key and there is no entry
// at all.
func (r *Redis) Sample(ctx context.Context, draw *rand.Rand) (places []Place, done bool, err error) {
	// The server takes the lowest bits of a cursor for the place in its table, and any place is a good one to begin at (dictScan in
	// Redis's src/dict.c).
	cursor, begun := draw.Uint64(), false
	count := int64(sampleStep)
	for range sampleSteps {
		keys, next, err := r.client.Scan(ctx, cursor, globEscape(r.prefix)+"*", count).Result()
		if err != nil {
			return nil, false, fmt.Errorf("sample Redis: %w", err)
		}
		if places, err = r.drawEntries(ctx, keys); err != nil || len(places) > 0 {
			return places, false, err
		}
		if cursor = next; next == 0 {
			if begun { // once round from the beginning of the table
				return nil, true, nil
			}
			begun = true
		}
		count = min(2*count, maxSampleStep)
	}
	return nil, false, nil
}

// drawEntries draws an entry of each bucket.
func (r *Redis) drawEntries(ctx context.Context, keys []string) (places []Place, err error) {
	pipe := r.client.Pipeline()
	var tags []string
	var draws []*redis.StringSliceCmd
	for _, key := range keys {
		if key == r.watermark() {
			continue
		}
		tags = append(tags, strings.TrimPrefix(key, r.prefix))
		draws = append(draws, pipe.HRandField(ctx, key, 2)) // two different ones: one may be the token
	}
	if len(draws) == 0 {
		return nil, nil
	}
	// The error of a single command, such as that a key is no hash, is no reason to stop.
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		if _, ok := errors.AsType[redis.Error](err); !ok {
			return nil, fmt.Errorf("sample Redis: %w", err)
		}
	}
	for i, cmd := range draws {
		for _, field := range cmd.Val() {
			if field != fieldToken {
				places = append(places, Place{tags[i], field})
				break
			}
		}
	}
	return places, nil
}

// Evicted counts the keys that the server has evicted since it was started, for want of memory.
func (r *Redis) Evicted(ctx context.Context) (int64, error) {
	info, err := r.client.InfoMap(ctx, "stats").Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis for its statistics: %w", err)
	}
	n, err := strconv.ParseInt(info["Stats"]["evicted_keys"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read Redis's statistics: %w", err)
	}
	return n, nil
}
