package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Live is what an invalidator has applied in one step, for people who watch. It goes over Redis's publish and subscribe, which keeps
// nothing: no key is made, nothing is promised, and nothing of the cache's freshness depends on it.
type Live struct {
	// Reset says why everything was cleared; "" if it was not. A reset has no changes.
	Reset string `json:"reset,omitempty"`
	// Position is that of the watermark after the step, Sequence its place in the log.
	Position string `json:"position"`
	Sequence uint64 `json:"sequence"`
	// Cleared is how many buckets were there, and are gone.
	Cleared int          `json:"cleared"`
	Changes []LiveChange `json:"changes,omitempty"`
	// More is how many further changes the step had.
	More int `json:"more,omitempty"`
	// Dropped is how many steps this invalidator has told nobody of since it began, because the channel was not fast enough.
	Dropped uint64 `json:"dropped,omitempty"`
}

// LiveChange is a change with what it cleared.
type LiveChange struct {
	Table string `json:"table"`
	Op    string `json:"op"`
	// Key are the columns of the replica identity with their values, as text; long ones are cut.
	Key       string    `json:"key,omitempty"`
	Position  string    `json:"position"`
	Committed time.Time `json:"committed"`
	// Milliseconds from the commit until the buckets were gone, by the clock of Postgres as far as it is known.
	Milliseconds float64 `json:"ms"`
	// Buckets are those that the change cleared if they were there, without the prefix of the keys; a shape that was cleared as a whole ends
	// with an asterisk. MoreBuckets is how many further ones there were.
	Buckets     []string `json:"buckets,omitempty"`
	MoreBuckets int      `json:"more_buckets,omitempty"`
}

func (r *Redis) liveChannel() string { return r.prefix + "live" }

// LiveListeners is how many connections listen.
func (r *Redis) LiveListeners(ctx context.Context) (int64, error) {
	counts, err := r.client.PubSubNumSub(ctx, r.liveChannel()).Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis who listens: %w", err)
	}
	return counts[r.liveChannel()], nil
}

// PublishLive tells whoever listens.
func (r *Redis) PublishLive(ctx context.Context, l *Live) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode what is live: %w", err)
	}
	if err := r.client.Publish(ctx, r.liveChannel(), text).Err(); err != nil {
		return fmt.Errorf("publish to Redis: %w", err)
	}
	return nil
}

// SubscribeLive listens. The channel of the subscription has the JSON of a Live in each message; the driver connects again by itself
// after an outage, and what was published meanwhile is lost. Close it.
func (r *Redis) SubscribeLive(ctx context.Context) *redis.PubSub {
	return r.client.Subscribe(ctx, r.liveChannel())
}
