package testenv

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedisFailsOverToAReplicaThatLags(t *testing.T) {
	server := Redis(t)
	ctx := t.Context()
	require.NoError(t, server.Client(t).Set(ctx, "k", "before", 0).Err())
	proxies := Toxiproxy(t)
	replication := proxies.Proxy(t, "replication", server.Server.Addr())
	clients := proxies.Proxy(t, "clients", server.Server.Addr())
	replica := server.Replica(t, replication)
	options, err := redis.ParseURL(clients.URL(server.URL))
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()

	require.NoError(t, client.Set(ctx, "k", "old", 0).Err())
	server.AwaitReplica(t, replica)
	replication.Hold(t)
	require.NoError(t, client.Set(ctx, "k", "new", 0).Err())
	require.Equal(t, "new", client.Get(ctx, "k").Val())

	replica.Promote(t)
	clients.Retarget(t, replica.Server.Addr())
	Eventually(t, 10*time.Second, func() (bool, string) {
		value, err := client.Get(ctx, "k").Result()
		return err == nil && value == "old", value
	})
	require.NoError(t, client.Set(ctx, "k", "written after", 0).Err())
	replication.Heal(t)

	require.NoError(t, replica.Server.Restart(ctx))
	require.Zero(t, replica.Client(t).DBSize(ctx).Val(), "what it received is not on its disk")
}

func TestRedisIsRestoredFromADump(t *testing.T) {
	server := Redis(t)
	ctx := t.Context()
	client := server.Client(t)
	require.NoError(t, client.Set(ctx, "k", "old", 0).Err())
	dump := server.Dump(t)
	require.NoError(t, client.Set(ctx, "k", "new", 0).Err())
	require.NoError(t, server.Server.Restart(ctx))
	require.Zero(t, client.DBSize(ctx).Val(), "a dump that was taken is not what a restart finds")

	server.Restore(t, dump)
	require.Equal(t, "old", server.Client(t).Get(ctx, "k").Val())

	require.NoError(t, server.Server.Restart(ctx))
	require.Zero(t, server.Client(t).DBSize(ctx).Val(), "a restart is empty still")
}
