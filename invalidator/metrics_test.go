package invalidator

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/telemetry"
	"freshet/internal/testenv"
)

// startMeasured is start with metrics.
func (r *rig) startMeasured() (*running, *telemetry.Invalidator) {
	r.t.Helper()
	cfg := r.config()
	cfg.Metrics = telemetry.NewInvalidator("test", time.Now, time.Now)
	return start(r.t, cfg), cfg.Metrics
}

// shows waits until the metrics have these values; 0 also stands for a series that is not there.
func shows(t *testing.T, m *telemetry.Invalidator, want map[string]float64) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		got := testenv.Scrape(t, m.Handler())
		for series, value := range want {
			if got["freshet_"+series] != value {
				return false, fmt.Sprintf("%s is %g, not %g", series, got["freshet_"+series], value)
			}
		}
		return true, ""
	})
}

// What is applied is counted: the changes, those that belong to a shape, the buckets that were there, by table, and how long it took.
func TestAppliedChangesAreMeasured(t *testing.T) {
	r := newRig(t, byID, users)
	_, m := r.startMeasured()
	r.caughtUp()
	shows(t, m, map[string]float64{`invalidator_clears_total{reason="no-watermark"}`: 1})
	r.fill("x", "1", "2")
	usersTable := events.Table{Schema: "public", Name: "users", Identity: "full"}
	r.update("1")                                                                                                  // the bucket is there
	r.update("3")                                                                                                  // this one is not
	r.change(blogTable, events.Change{Op: events.Insert, New: row("id", null)})                                    // of no tag
	r.change(blogTable, events.Change{Op: events.Delete, Old: row("id", "2")})                                     // there
	r.change(usersTable, events.Change{Op: events.Insert, New: row("id", "1")})                                    // not there
	r.change(events.Table{Schema: "public", Name: "other"}, events.Change{Op: events.Insert, New: row("id", "1")}) // of no shape
	r.change(usersTable, events.Change{Op: events.Truncate})                                                       // the whole shape
	r.change(events.Everything, events.Change{Op: events.Clear})                                                   // everything
	r.change(events.Everything, events.Change{Op: events.Define})                                                  // and anything may be another
	r.watermark()
	r.caughtUp()
	shows(t, m, map[string]float64{
		// What status a blog has is of no shape here: it reads all, so that any update counts.
		`invalidator_changes_total{op="update",table="public.blogs"}`:   2,
		`invalidator_changes_total{op="insert",table="public.blogs"}`:   1,
		`invalidator_changes_total{op="delete",table="public.blogs"}`:   1,
		`invalidator_changes_total{op="insert",table="public.users"}`:   1,
		`invalidator_changes_total{op="truncate",table="public.users"}`: 1,
		`invalidator_changes_total{op="insert",table="public.other"}`:   1,
		`invalidator_changes_total{op="clear",table="freshet.shapes"}`:  1,
		`invalidator_matched_total{table="public.blogs"}`:               3,
		`invalidator_matched_total{table="public.users"}`:               2,
		`invalidator_matched_total{table="public.other"}`:               0,
		`invalidator_buckets_cleared_total{table="public.blogs"}`:       2,
		`invalidator_buckets_cleared_total{table="public.users"}`:       0,
		`invalidator_commit_to_cleared_seconds_count`:                   5,
		`invalidator_clears_total{reason="asked"}`:                      1,
		`invalidator_clears_total{reason="definition"}`:                 1,
		`invalidator_chain_breaks_total`:                                0,
		`invalidator_lag_messages`:                                      0,
	})
	got := testenv.Scrape(t, m.Handler())
	require.Positive(t, got["freshet_invalidator_apply_duration_seconds_count"])
	require.Positive(t, got["freshet_invalidator_commit_to_cleared_seconds_sum"])
	require.Less(t, got["freshet_invalidator_commit_to_cleared_seconds_sum"], 5*patience.Seconds())
	require.Less(t, got["freshet_invalidator_lag_seconds"], patience.Seconds())
	require.Less(t, got["freshet_watermark_age_seconds"], patience.Seconds())
}

// A lag shows: how much is still to come when a batch is done, and how old what was applied last is.
func TestLagIsMeasured(t *testing.T) {
	r := newRig(t, byID)
	before, _ := r.startMeasured()
	r.caughtUp()
	require.NoError(t, before.stop())
	old := time.Now().Add(-time.Hour)
	message, err := events.Watermark{Source: source, Position: r.position + 16, At: old}.Message(r.session)
	require.NoError(t, err)
	r.publish(message)
	v, m := r.startMeasured()
	r.caughtUp()
	testenv.Eventually(t, patience, func() (bool, string) {
		got := testenv.Scrape(t, m.Handler())
		return got["freshet_invalidator_lag_seconds"] >= 3600 && got["freshet_watermark_age_seconds"] >= 3600, fmt.Sprint(got)
	})
	require.NoError(t, v.stop())

	// More than one batch has, all there before it begins.
	const messages = 3 * batchMessages
	for range messages {
		r.update("1")
	}
	cfg := r.config()
	cfg.Metrics = telemetry.NewInvalidator("test", time.Now, time.Now)
	a := &applier{Invalidator: New(cfg), registry: events.ChangeSubject(source, cache.RegistrySchema, cache.RegistryTable)}
	a.state, _ = r.state()
	a.received = a.state.Sequence
	require.NoError(t, a.load(t.Context()))
	first := r.messages(a.state.Sequence)[:batchMessages]
	require.NoError(t, a.apply(t.Context(), first))
	got := testenv.Scrape(t, a.cfg.Metrics.Handler())
	require.InDelta(t, messages-batchMessages, got["freshet_invalidator_lag_messages"], 0)
}

// A chain that was broken counts where it was found to be, and what is cleared by a gap or a reset under its reason.
func TestBreaksAreMeasured(t *testing.T) {
	r := newRig(t, byID)
	_, m := r.startMeasured()
	before := r.caughtUp()
	require.NoError(t, r.client.HSet(t.Context(), "freshet:watermark", "stamp", "another").Err())
	r.update("1")
	r.caughtUp()
	shows(t, m, map[string]float64{
		`invalidator_chain_breaks_total`: 1, `invalidator_changes_total{op="update",table="public.blogs"}`: 1, // once
	})
	r.session = "s9" // follows nothing
	r.watermark()
	after := r.newChain(before)
	shows(t, m, map[string]float64{`invalidator_clears_total{reason="gap"}`: 1})
	r.reset("s10")
	r.newChain(after)
	shows(t, m, map[string]float64{`invalidator_clears_total{reason="reset"}`: 1, `invalidator_clears_total{reason="no-watermark"}`: 1})
}

// latecomer lets a script go only once another has applied what there is.
type latecomer struct{ r *rig }

// DialHook is part of redis.Hook.
func (latecomer) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook is part of redis.Hook.
func (latecomer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook is part of redis.Hook.
func (l latecomer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			stream, err := l.r.js.Stream(ctx, events.StreamName(source))
			if err != nil {
				return err
			}
			end := stream.CachedInfo().State.LastSeq // what this script applies is no newer
			testenv.Eventually(l.r.t, patience, func() (bool, string) {
				s, found, _ := l.r.store.Load(ctx)
				return ctx.Err() != nil || found && s.Sequence >= end, "the first should apply what there is"
			})
		}
		return next(ctx, cmd)
	}
}

// Of two invalidators one may be nearer to Redis and always the first. The other one is no further behind, and must not say so.
func TestWhoAlwaysComesSecondIsNotBehind(t *testing.T) {
	r := newRig(t, byID)
	r.start()
	r.caughtUp()
	client, store, _ := newCache(t, r.redis)
	client.AddHook(latecomer{r})
	cfg := r.config()
	cfg.Store, cfg.Metrics = store, telemetry.NewInvalidator("test", time.Now, time.Now)
	second := start(t, cfg)
	began := time.Now()
	testenv.Eventually(t, patience, func() (bool, string) {
		r.watermark() // the second may not have begun before
		r.caughtUp()
		got, now := testenv.Scrape(t, cfg.Metrics.Handler()), time.Now()
		for _, name := range []string{"freshet_watermark_age_seconds", "freshet_invalidator_lag_seconds"} {
			if age, known := got[name]; !known || age >= now.Sub(began).Seconds() {
				return false, fmt.Sprintf("%s is %g (%t), and what was published since is %s old", name, age, known, now.Sub(began))
			}
		}
		return true, ""
	})
	require.Zero(t, second.applications())
}
