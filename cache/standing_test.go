package cache

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// The clock of Postgres is set back again and again, so that by it a watermark that nobody moves stays young for ever.
func TestStandingWatermarkGrowsOldWhateverTheClockSays(t *testing.T) {
	r := newRig(t, byID)
	var now atomic.Int64
	now.Store(r.state.At.UnixNano())
	r.reader = r.newReader(func(cfg *ReaderConfig) { cfg.Now = func() time.Time { return time.Unix(0, now.Load()) } })
	req := blog("1")
	req.MaxStaleness = 200 * time.Millisecond
	r.get(req, "first")
	testenv.Eventually(t, 10*time.Second, func() (bool, string) {
		return r.get(req, "second").Reason == ReasonStale, "the watermark is still held to be young"
	})

	r.apply(Batch{})
	now.Store(r.state.At.UnixNano())
	require.NotEqual(t, Bypass, r.get(req, "third").Status, "it moves again")
}
