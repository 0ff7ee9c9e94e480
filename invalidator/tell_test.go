package invalidator

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/telemetry"
	"freshet/internal/testenv"
)

// While an invalidator runs, it tells what it knows of the log and of itself; when it has stopped, it tells nothing.
func TestTellsStatus(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Metrics = telemetry.NewInvalidator("test", time.Now, time.Now)
	cfg.Verified = func() *cache.VerifyStatus { return &cache.VerifyStatus{Cleared: 3, Overcleared: 1} }
	run := start(t, cfg)
	var s cache.InvalidatorStatus
	testenv.Eventually(t, patience, func() (bool, string) {
		all, err := r.store.Statuses(t.Context())
		require.NoError(t, err)
		if len(all) == 1 {
			s = all[0]
		}
		return s.Log != nil && s.Log.LagMessages == 0 && s.Applied.Sequence == s.Log.LastSequence, fmt.Sprintf("%+v", s)
	})
	require.Equal(t, source, s.Source)
	require.Empty(t, s.Problem)
	require.Equal(t, cfg.Verified(), s.Verify)
	require.EqualValues(t, 1, s.ClearsByReason[clearNoWatermark])
	require.Positive(t, s.Log.Messages)
	run.stop()
	all, err := r.store.Statuses(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

// A quantile is interpolated within its bucket.
func TestQuantile(t *testing.T) {
	bounds := []float64{1, 2, 4}
	for _, test := range []struct {
		below []uint64
		count uint64
		q     float64
		want  float64
	}{
		{[]uint64{0, 0, 0}, 0, 0.5, 0},
		{[]uint64{10, 10, 10}, 10, 0.5, 0.5},
		{[]uint64{0, 10, 10}, 10, 0.5, 1.5},
		{[]uint64{5, 5, 10}, 10, 0.99, 3.96},
		{[]uint64{0, 0, 0}, 10, 0.5, 4}, // all beyond the last bound
	} {
		require.InDelta(t, test.want, quantile(bounds, test.below, test.count, test.q), 1e-9, "%v", test)
	}
}

// Of many tags one in a few is counted, as so many; of few all are.
func TestTouched(t *testing.T) {
	v := &Invalidator{tags: newTags()}
	hot := cache.NewShape("public", "blogs", "id").Tag("1")
	for range 10 {
		v.touched([]cache.Tag{hot})
	}
	require.EqualValues(t, 10, v.tags.Top(1)[0].Count)
	many := make([]cache.Tag, 800)
	for i := range many {
		many[i] = hot
	}
	v.touched(many)
	require.EqualValues(t, 810, v.tags.Top(1)[0].Count)
}

// Latency is that of the last minutes only.
func TestLatencyForgets(t *testing.T) {
	m := telemetry.NewInvalidator("test", time.Now, time.Now)
	v := &teller{Invalidator: &Invalidator{cfg: Config{Metrics: m}}, began: time.Now()}
	tell := func(after time.Duration) cache.LatencyStatus {
		s := &cache.InvalidatorStatus{At: v.began.Add(after), ClearsByTable: map[string]uint64{}, ClearsByReason: map[string]uint64{}}
		v.count(s)
		return s.CommitToCleared
	}
	m.CommitCleared(v.began.Add(-time.Second))
	require.EqualValues(t, 1, tell(time.Second).Count)
	require.EqualValues(t, 1, tell(2*time.Second).Count)
	m.CommitCleared(v.began)
	require.EqualValues(t, 2, tell(3*time.Second).Count)
	require.EqualValues(t, 1, tell(latencySpan+2*time.Second).Count)
	require.EqualValues(t, 0, tell(latencySpan+4*time.Second).Count)
}
