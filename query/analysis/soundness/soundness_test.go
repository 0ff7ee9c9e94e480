package soundness_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis/soundness"
)

var (
	pairs = flag.Int("pairs", 5000, "pairs of a query and a write that TestSoundness tries")
	seed  = flag.Uint64("seed", 1, "seed of TestSoundness")
)

// No write may leave a result standing that it has changed.
func TestSoundness(t *testing.T) {
	db := testenv.Postgres(t)
	report, err := soundness.Run(t.Context(), db.Conn(t), soundness.Options{Seed: *seed, Pairs: *pairs})
	require.NoError(t, err)
	t.Log("\n" + report.String())
}
