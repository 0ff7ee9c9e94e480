package advice_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/advice"
	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/testenv"
)

// What the rules about a full Redis say is so: with noeviction the watermark cannot advance, with what they propose it can.
func TestFullRedisStopsTheWatermark(t *testing.T) {
	server := testenv.Redis(t, "--maxmemory-policy", "noeviction")
	client := server.Client(t)
	store := cache.NewRedis(client, "")
	first := cache.State{Source: "main", Stamp: "1", Chain: "c", Session: "s"}
	ok, err := store.Begin(t.Context(), cache.State{}, first)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, client.Set(t.Context(), "large", strings.Repeat("x", 2<<20), 0).Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1mb").Err())

	next := first
	next.Stamp = "2"
	_, _, err = store.Apply(t.Context(), first, cache.Batch{Next: next})
	require.ErrorContains(t, err, "OOM")
	r, err := advice.GatherRedis(t.Context(), client)
	require.NoError(t, err)
	e := &advice.Evidence{Redis: r}
	assert.Equal(t, advice.Critical, find(t, e, "redis.memory").Severity)

	command := strings.Fields(find(t, e, "redis.memory").Remedy.Code)
	require.NoError(t, client.Do(t.Context(), command[0], command[1], command[2], command[3]).Err())
	_, ok, err = store.Apply(t.Context(), first, cache.Batch{Next: next})
	require.NoError(t, err)
	assert.True(t, ok)
}

// The settings that remedies name are settings of the api.
func TestSettingsThatRemediesName(t *testing.T) {
	f := find(t, &advice.Evidence{Pool: &advice.Pool{InUse: 50, Max: 50}}, "pool.busy")
	name, value, ok := strings.Cut(f.Remedy.Code, "=")
	require.True(t, ok)
	var db config.Database
	set := config.New(pflag.NewFlagSet("api", pflag.ContinueOnError), func(variable string) (string, bool) {
		values := map[string]string{name: value, "DATABASE_URL": "postgres://localhost/x"}
		v, ok := values[variable]
		return v, ok
	})
	db.Register(set)
	require.NoError(t, set.Check())
	assert.Equal(t, 84, db.MaxConnections)
}
