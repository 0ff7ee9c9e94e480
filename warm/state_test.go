package warm

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

// What was kept is found again, to the pair; a warm-up that is done leaves nothing.
func TestState(t *testing.T) {
	pairs := numbered(t, "q", 5)
	queries := []*query.Query{pairs[0].Query}
	path := filepath.Join(t.TempDir(), "made", "state.json")
	asked := Asked{Since: "2h", Tables: []string{"t"}}
	require.NoError(t, asked.Fix(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)))
	require.Equal(t, "2026-02-03T02:05:06Z", asked.Since)

	_, _, err := (&State{Path: path}).Resume()
	require.ErrorIs(t, err, ErrNoState)
	s := &State{Path: path}
	require.NoError(t, s.Begin(asked))
	again, read, err := (&State{Path: path}).Resume()
	require.NoError(t, err)
	require.False(t, read, "the log was not read")
	require.Equal(t, asked, again)

	require.NoError(t, s.SavePairs(&Found{Pairs: pairs, More: true}))
	require.NoError(t, s.Save(3, Tally{Filled: 2, Failed: map[string]int64{"x": 1}}))
	resumed := &State{Path: path}
	_, read, err = resumed.Resume()
	require.NoError(t, err)
	require.True(t, read)
	kept, err := resumed.Kept(queries)
	require.NoError(t, err)
	require.Equal(t, &Kept{Found{Pairs: pairs, More: true}, 3, Tally{Filled: 2, Failed: map[string]int64{"x": 1}}}, kept)

	_, err = resumed.Kept(nil)
	require.ErrorIs(t, err, ErrNoState)
	require.ErrorContains(t, err, "a query q, which there is not any more")

	info, err := os.Stat(path + ".pairs")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "parameters can be confidential")
	require.NoError(t, resumed.Forget())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, files)
	require.NoError(t, resumed.Forget())
}

// The pairs of one warm-up are not gone on with by the state of another, as there would be if a process were killed between two writes.
func TestStateOfAnotherWarmUp(t *testing.T) {
	pairs := numbered(t, "q", 5)
	path := filepath.Join(t.TempDir(), "state.json")
	first := &State{Path: path}
	require.NoError(t, first.Begin(Asked{}))
	require.NoError(t, first.SavePairs(&Found{Pairs: pairs}))
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	second := &State{Path: path}
	require.NoError(t, second.Begin(Asked{}))
	require.NoError(t, second.SavePairs(&Found{Pairs: pairs[:2]}))
	require.NoError(t, os.WriteFile(path, kept, 0o600))
	_, _, err = second.Resume()
	require.NoError(t, err)
	_, err = second.Kept([]*query.Query{pairs[0].Query})
	require.ErrorIs(t, err, ErrNoState)
	require.ErrorContains(t, err, "of another warm-up")

	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, _, err = second.Resume()
	require.ErrorIs(t, err, ErrNoState)
	require.NoError(t, os.WriteFile(path, []byte(`{"version":7}`), 0o600))
	_, _, err = second.Resume()
	require.ErrorContains(t, err, "another version")
}

// What is asked for is checked before anything is done.
func TestAsked(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		asked Asked
		want  string
	}{
		{Asked{Since: "soon"}, `since: "soon" is neither a duration (90m, 2h) nor a time (2026-02-03T04:05:06Z), or oldest`},
		{Asked{FromPosition: "x"}, "from-position: "},
		{Asked{Since: "1h", FromSequence: 3}, "exclude one another"},
		{Asked{Top: -1}, "top must be 1 to 1000000"},
		{Asked{Top: MaxTop + 1}, "top must be 1 to 1000000"},
	} {
		require.ErrorContains(t, tt.asked.Fix(now), tt.want)
	}
	fine := Asked{Since: oldest}
	require.NoError(t, fine.Fix(now))
	require.Equal(t, Asked{Since: oldest, Top: DefaultTop}, fine)
}

// The first ranking comes first, each pair once.
func TestMerge(t *testing.T) {
	a, b := numbered(t, "a", 4), numbered(t, "b", 4)
	require.Equal(t, []Pair{a[1], b[0], a[0], a[2]}, Merge(4, []Pair{a[1], b[0]}, []Pair{a[0], a[1], a[2], b[0], b[1]}))
	require.Empty(t, Merge(4))
}
