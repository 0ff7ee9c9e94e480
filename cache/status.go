package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// InvalidatorStatus is what an invalidator says of itself, for those who have no connection to NATS. Its counters count since Began.
type InvalidatorStatus struct {
	Instance string `json:"instance"`
	Source   string `json:"source"`
	// Began and At are by the clock of the invalidator's machine: when it was started, and when it said this.
	Began time.Time `json:"began"`
	At    time.Time `json:"at"`
	// Log is nil while NATS does not answer; Problem says why.
	Log     *LogStatus `json:"log"`
	Problem string     `json:"problem,omitempty"`
	// Applied is the stored watermark.
	Applied AppliedStatus `json:"applied"`
	// ClearsByTable counts the buckets that changes of a table have cleared, ClearsByReason how often everything was cleared.
	ClearsByTable  map[string]uint64 `json:"clears_by_table"`
	ClearsByReason map[string]uint64 `json:"clears_by_reason"`
	ChainBreaks    uint64            `json:"chain_breaks"`
	// CommitToCleared is the time from commits until what they change was cleared, in the last minutes.
	CommitToCleared LatencyStatus `json:"commit_to_cleared"`
	// TopTags are the tags that changes have touched most often, whether their buckets were there or not.
	TopTags []TagCount `json:"top_tags"`
	// Verify is what the auditor has counted; nil if the process verifies nothing.
	Verify *VerifyStatus `json:"verify"`
}

// LogStatus is about the log's stream, and how far the invalidator is behind its end.
type LogStatus struct {
	Stream       string `json:"stream"`
	Messages     uint64 `json:"messages"`
	Bytes        uint64 `json:"bytes"`
	LastSequence uint64 `json:"last_sequence"`
	// LastPosition is that of the last watermark in the stream; "" if there is none.
	LastPosition string  `json:"last_position"`
	LagMessages  uint64  `json:"lag_messages"`
	LagBytes     uint64  `json:"lag_bytes"` // of WAL
	LagSeconds   float64 `json:"lag_seconds"`
}

// AppliedStatus is a watermark.
type AppliedStatus struct {
	Sequence uint64 `json:"sequence"`
	Position string `json:"position"`
	// At is by the clock of Postgres; zero if no watermark message has been applied.
	At time.Time `json:"at,omitzero"`
}

// LatencyStatus are quantiles, interpolated within the buckets of a histogram.
type LatencyStatus struct {
	// Seconds is the time that it is about.
	Seconds float64 `json:"seconds"`
	Count   uint64  `json:"count"`
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
}

// TagCount is how often a tag was counted: at most Error too often.
type TagCount struct {
	Tag   string `json:"tag"`
	Count uint64 `json:"count"`
	Error uint64 `json:"error"`
}

// VerifyStatus are counters of the auditor.
type VerifyStatus struct {
	Checked int64 `json:"checked"`
	Stale   int64 `json:"stale"`
	// Cleared are watched entries that were cleared, Overcleared those of them whose refill was the same.
	Cleared     int64 `json:"cleared"`
	Overcleared int64 `json:"overcleared"`
}

const (
	// StatusInterval is how often a status is written.
	StatusInterval = 2 * time.Second
	// StatusLife is how long it stays.
	StatusLife = 7 * time.Second
	// statusKey begins the key of each, behind the prefix. No bucket's key begins so: there is no dot before the colon.
	statusKey = "status:invalidator:"
	// statusIndex is a sorted set of the instances: to search all keys for those that begin with statusKey would take the server time.
	statusIndex = "status:invalidators"
	// maxStatuses bounds how many are read, and maxStatusBytes how large each may be.
	maxStatuses    = 32
	maxStatusBytes = 256 << 10
)

// WriteStatus tells others how an invalidator is. Like anything in Redis it may get lost: then it is there again after StatusInterval.
func (r *Redis) WriteStatus(ctx context.Context, s *InvalidatorStatus) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	if len(body) > maxStatusBytes {
		return fmt.Errorf("the status takes %d bytes, more than %d", len(body), maxStatusBytes)
	}
	now := time.Now()
	pipe := r.client.Pipeline()
	pipe.Set(ctx, r.prefix+statusKey+s.Instance, body, StatusLife)
	pipe.ZAdd(ctx, r.prefix+statusIndex, redis.Z{Score: float64(now.UnixMilli()), Member: s.Instance})
	// Long enough for clocks that differ; a name whose status is gone is passed over anyway.
	pipe.ZRemRangeByScore(ctx, r.prefix+statusIndex, "-inf", strconv.FormatInt(now.Add(-time.Hour).UnixMilli(), 10))
	pipe.PExpire(ctx, r.prefix+statusIndex, StatusLife)
	_, err = pipe.Exec(ctx)
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // overwritten by other hands; the next one is written anew
		return errors.Join(err, r.client.Unlink(ctx, r.prefix+statusIndex).Err())
	}
	if err != nil {
		return fmt.Errorf("write the status to Redis: %w", err)
	}
	return nil
}

// RemoveStatus takes back what an instance has said, when it stops.
func (r *Redis) RemoveStatus(ctx context.Context, instance string) error {
	pipe := r.client.Pipeline()
	pipe.Unlink(ctx, r.prefix+statusKey+instance)
	pipe.ZRem(ctx, r.prefix+statusIndex, instance)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("remove the status from Redis: %w", err)
	}
	return nil
}

// Statuses are those of the invalidators that have said something within StatusLife, in the order of their instances. What cannot be
// read is not there.
func (r *Redis) Statuses(ctx context.Context) ([]InvalidatorStatus, error) {
	instances, err := r.client.ZRevRange(ctx, r.prefix+statusIndex, 0, maxStatuses-1).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the invalidators' status: %w", err)
	}
	if len(instances) == 0 {
		return nil, nil
	}
	keys := make([]string, len(instances))
	for i, instance := range instances {
		keys[i] = r.prefix + statusKey + instance
	}
	bodies, err := r.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, fmt.Errorf("read the invalidators' status: %w", err)
	}
	var all []InvalidatorStatus
	for i, body := range bodies {
		var s InvalidatorStatus
		if json.Unmarshal([]byte(text(body)), &s) == nil && s.Instance == instances[i] {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b InvalidatorStatus) int { return strings.Compare(a.Instance, b.Instance) })
	return all, nil
}
