package invalidator

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/testenv"
)

func TestChangesClearTheirBuckets(t *testing.T) {
	r := newRig(t, byID, users)
	v := r.start()
	first := r.caughtUp()
	require.Len(t, first.Generations, 3, "byID, users and the catalog's")
	require.Equal(t, r.position, first.Position, "the last watermark of the log is applied at once")
	r.fill("old", "1", "2", "3")
	r.update("2")
	r.change(blogTable, events.Change{Op: events.Delete, Old: row("id", "3")})
	r.watermark()
	s := r.caughtUp()
	r.hit("1", "old")
	r.miss("2")
	r.miss("3")
	require.Equal(t, r.position, s.Position)
	require.WithinDuration(t, time.Now(), s.At, patience)
	require.Equal(t, first.Chain, s.Chain)
	require.Equal(t, first.Generations, s.Generations)

	// A whole shape: what the old row was is not known.
	r.change(blogTable, events.Change{Op: events.Update, New: row("id", "9")})
	r.caughtUp()
	r.miss("1")
	r.change(blogTable, events.Change{Op: events.Truncate})
	s = r.caughtUp()
	r.miss("1")
	require.Equal(t, first.Generations[users.String()], s.Generations[users.String()])
	require.NoError(t, v.stop())
	require.Len(t, v.reasons(), 1)
}

func TestRestartGoesOnFromTheStoredState(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	first := r.caughtUp()
	r.fill("old", "1", "2")
	require.NoError(t, v.stop())
	r.update("1")
	r.watermark()
	v = r.start()
	s := r.caughtUp()
	r.miss("1")
	r.hit("2", "old")
	require.Equal(t, first.Chain, s.Chain)
	require.Empty(t, v.reasons())
}

// dump is all of a Redis at one moment.
type dump map[string]string

func (r *rig) dump() dump {
	r.t.Helper()
	return dumpOf(r.t, r.client)
}

func dumpOf(t *testing.T, client *redis.Client) dump {
	t.Helper()
	// One step, as the test must not see a bucket and a watermark of two times.
	all, err := client.Eval(t.Context(), `local out = {}
		for _, key in ipairs(redis.call('KEYS', '*')) do
			out[#out + 1] = key
			out[#out + 1] = redis.call('DUMP', key)
		end
		return out`, nil).StringSlice()
	require.NoError(t, err)
	d := dump{}
	for i := 0; i < len(all); i += 2 {
		d[all[i]] = all[i+1]
	}
	return d
}

// restore makes the server what it was, as a failover to a replica that lags does.
func (d dump) restore(t *testing.T, client *redis.Client) {
	t.Helper()
	_, err := client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.FlushAll(t.Context())
		for key, value := range d {
			p.Restore(t.Context(), key, time.Hour, value)
		}
		return nil
	})
	require.NoError(t, err)
}

// Rule 4: a Redis that lost writes is replayed from its own watermark. Without the comparison in the script, blog 1 stays old.
func TestOlderStateIsReplayed(t *testing.T) {
	for name, more := range map[string]int{"one message behind": 1, "many steps behind": 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, byID)
			v := r.start()
			r.caughtUp()
			r.fill("old", "1", "2")
			before := r.dump()
			first, _ := r.state()

			r.update("1")
			for range more {
				r.watermark()
				r.caughtUp()
			}
			r.miss("1")
			before.restore(t, r.client)
			r.hit("1", "old") // as of the watermark that is there again
			r.watermark()
			s := r.caughtUp()
			r.miss("1")
			r.hit("2", "old")
			require.Equal(t, first.Chain, s.Chain, "it replayed rather than clearing everything")
			require.Len(t, v.reasons(), 1)
		})
	}
}

// The same while nothing of the invalidator's memory is left.
func TestOlderStateIsReplayedAfterARestart(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	r.caughtUp()
	r.fill("old", "1", "2")
	before := r.dump()
	r.update("1")
	r.watermark()
	r.caughtUp()
	require.NoError(t, v.stop())
	before.restore(t, r.client)
	v = r.start()
	r.caughtUp()
	r.miss("1")
	r.hit("2", "old")
	require.Empty(t, v.reasons())
}

func TestWatermarkOnlyIsOlder(t *testing.T) {
	r := newRig(t, byID)
	r.start()
	r.caughtUp()
	old, err := r.client.HGetAll(t.Context(), watermarkKey).Result()
	require.NoError(t, err)
	r.update("1")
	r.update("2")
	r.watermark()
	r.caughtUp()
	r.fill("new", "1", "3")
	require.NoError(t, r.client.HSet(t.Context(), watermarkKey, old).Err())
	r.watermark()
	r.caughtUp()
	r.miss("1") // cleared again, which costs a miss
	r.hit("3", "new")
}

const watermarkKey = "freshet:watermark"

func TestWatermarkLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(r *rig)
	}{
		{"deleted", func(r *rig) { require.NoError(r.t, r.client.Del(r.t.Context(), watermarkKey).Err()) }},
		{"without a stamp", func(r *rig) { require.NoError(r.t, r.client.HDel(r.t.Context(), watermarkKey, "stamp").Err()) }},
		{"of another type", func(r *rig) { require.NoError(r.t, r.client.Set(r.t.Context(), watermarkKey, "x", 0).Err()) }},
		{"with a sequence that is none, and no stamp", func(r *rig) {
			require.NoError(r.t, r.client.HSet(r.t.Context(), watermarkKey, "sequence", "x", "stamp", "").Err())
		}},
		{"with a sequence that is none yet, and another stamp", func(r *rig) {
			require.NoError(r.t, r.client.HSet(r.t.Context(), watermarkKey, "sequence", "1000000", "stamp", "x").Err())
		}},
		{"everything flushed", func(r *rig) { require.NoError(r.t, r.client.FlushAll(r.t.Context()).Err()) }},
		{"Redis restarted empty", func(r *rig) {
			require.NoError(r.t, r.redis.Server.Kill())
			require.NoError(r.t, r.redis.Server.Restart(r.t.Context()))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, byID)
			v := r.start()
			first := r.caughtUp()
			r.fill("old", "1", "2")
			tt.do(r)
			r.update("1")
			r.watermark()
			s := r.newChain(first)
			r.miss("1")
			r.miss("2")
			require.Equal(t, r.position, s.Position)
			require.GreaterOrEqual(t, len(v.reasons()), 2)

			// It goes on.
			r.update("2")
			r.watermark()
			r.caughtUp()
			r.miss("2")
			testenv.Eventually(t, patience, func() (bool, string) { // the sweep that follows a new chain may take what was filled meanwhile
				got := r.get("1", "from the database")
				require.Equal(t, "from the database", string(got.Body))
				return got.Status == cache.Hit, got.Reason
			})
		})
	}
}

func TestRedisDownForAWhile(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	first := r.caughtUp()
	r.fill("old", "1", "2")
	require.NoError(t, r.redis.Server.Kill())
	for range 5 {
		r.update("1")
		r.watermark()
	}
	// It tries again for ever, with nothing to write to.
	testenv.Eventually(t, patience, func() (bool, string) { return r.get("1", "x").Reason != "", "reads should bypass the cache" })
	require.NoError(t, r.redis.Server.Restart(t.Context()))
	r.newChain(first)
	testenv.Eventually(t, patience, func() (bool, string) { return r.get("1", "new").Reason == "", "the cache should be used again" })
	r.hit("1", "new")
	r.update("1")
	r.watermark()
	r.caughtUp()
	r.miss("1")
	require.NoError(t, v.stop())
}

// Whoever loses the race for the first chain goes on in the other's.
func TestInvalidatorsThatBeginTogether(t *testing.T) {
	const processes = 4
	r := newRig(t, byID)
	var all []*running
	for range processes {
		all = append(all, r.start())
	}
	r.caughtUp()
	begun(t, 1, all...)
	// Each of them can be the last one.
	for _, v := range all {
		r.fill("old", "1")
		r.update("1")
		r.watermark()
		r.caughtUp()
		r.miss("1")
		require.NoError(t, v.stop())
	}
}

// A field that other hands have spoiled, while the stamp says that nothing was lost, is put right with the next batch, unless
// somebody who reads it has begun a new chain before; until then nothing is served.
func TestWatermarkSpoiled(t *testing.T) {
	for _, field := range []string{"chain", "position", "sequence", "at"} {
		t.Run(field, func(t *testing.T) {
			r := newRig(t, byID)
			r.start()
			r.caughtUp()
			r.fill("old", "1", "2")
			require.NoError(t, r.client.HDel(t.Context(), watermarkKey, field).Err())
			require.Equal(t, cache.ReasonNoWatermark, r.get("2", "x").Reason)
			at := r.update("1")
			// To look at a spoiled watermark is to drop it, also if that comes to be after the next one was stored. cdc never stops.
			testenv.Eventually(t, patience, func() (bool, string) {
				r.watermark()
				s, found := r.state()
				return found && s.Sequence > at, fmt.Sprintf("the state is %v", s)
			})
			r.caughtUp()
			r.miss("1")
		})
	}
}
