package cache_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/testenv"
)

// Who only looks changes nothing, whatever is there.
func TestPeek(t *testing.T) {
	client := testenv.Redis(t).Client(t)
	store := cache.NewRedis(client, cache.DefaultPrefix)
	peek := func() (cache.State, bool) {
		t.Helper()
		state, found, err := store.Peek(t.Context())
		require.NoError(t, err)
		return state, found
	}
	_, found := peek()
	require.False(t, found)
	require.NoError(t, client.HSet(t.Context(), "freshet:watermark", "sequence", "none").Err())
	_, found = peek()
	require.False(t, found)
	require.EqualValues(t, 1, client.Exists(t.Context(), "freshet:watermark").Val())
	require.NoError(t, client.Set(t.Context(), "freshet:watermark", "x", 0).Err())
	_, found = peek()
	require.False(t, found)
	require.Equal(t, "x", client.Get(t.Context(), "freshet:watermark").Val())
	require.NoError(t, client.Del(t.Context(), "freshet:watermark").Err())

	narrow := cache.NewShape("public", "blogs", "id").Reading([]string{"title"})
	wide := narrow.Reading([]string{"title", "views"})
	want := cache.State{
		Source: "main", Chain: "c", Session: "s", Sequence: 7, Mark: cache.Mark{Timeline: 1, Position: 0x10}, Stamp: cache.NewToken(),
		Generations: map[string]string{narrow.String(): wide.NewGeneration()},
	}
	ok, err := store.Begin(t.Context(), cache.State{}, want)
	require.NoError(t, err)
	require.True(t, ok)
	got, found := peek()
	require.True(t, found)
	require.Equal(t, want, got)
	require.True(t, narrow.ActiveIn(got), "by more columns than it reads")
	require.True(t, wide.ActiveIn(got))
	require.False(t, narrow.Reading(nil).ActiveIn(got))
	require.False(t, cache.NewShape("public", "blogs").ActiveIn(got))
}
