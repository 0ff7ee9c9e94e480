package servers

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedisLife(t *testing.T) {
	ctx := testContext(t)
	dir := filepath.Join(testDir(t), "redis")
	r, err := StartRedis(ctx, RedisOptions{Dir: dir, Args: []string{"--maxmemory", "12mb", "--appendonly", "yes"}})
	require.NoError(t, err)
	stopAtEnd(t, r)
	options, err := redis.ParseURL(r.URL())
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()

	t.Run("arguments override the defaults", func(t *testing.T) {
		require.Equal(t, map[string]string{"maxmemory": "12582912"}, client.ConfigGet(ctx, "maxmemory").Val())
		require.Equal(t, map[string]string{"save": ""}, client.ConfigGet(ctx, "save").Val())
	})
	t.Run("a restart on the append-only file keeps the data", func(t *testing.T) {
		require.NoError(t, client.Set(ctx, "kept", "here", 0).Err())
		require.NoError(t, r.Restart(ctx))
		require.Equal(t, "here", client.Get(ctx, "kept").Val())
	})
	t.Run("a paused server can be killed and restarted", func(t *testing.T) {
		require.NoError(t, r.Signal(syscall.SIGSTOP))
		require.NoError(t, r.Kill())
		require.NoError(t, r.Restart(ctx))
		require.NoError(t, client.Ping(ctx).Err())
	})
	t.Run("its owner hears of a death that nobody asked for", func(t *testing.T) {
		require.NoError(t, r.Signal(syscall.SIGKILL))
		require.ErrorContains(t, r.Wait(), "killed")
		require.NoError(t, r.Restart(ctx))
	})
	t.Run("a folder in use is refused", func(t *testing.T) {
		_, err := StartRedis(ctx, RedisOptions{Dir: dir})
		require.ErrorIs(t, err, ErrFolderInUse)
	})
	t.Run("a server that wants a password counts as ready", func(t *testing.T) {
		dir := filepath.Join(testDir(t), "data")
		closed, err := StartRedis(ctx, RedisOptions{Dir: dir, Args: []string{"--requirepass", "x"}})
		require.NoError(t, err)
		require.NoError(t, closed.Stop(ctx))
	})
}

func TestRedisRefusesBeforeItStarts(t *testing.T) {
	ctx := testContext(t)
	t.Run("port in use", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		_, err = StartRedis(ctx, RedisOptions{Dir: filepath.Join(testDir(t), "data"), Port: taken.Addr().(*net.TCPAddr).Port})
		inUse := &PortInUseError{}
		require.ErrorAs(t, err, &inUse)
		require.Equal(t, "Redis", inUse.Server)
	})
	t.Run("no program", func(t *testing.T) {
		t.Setenv("PATH", testDir(t))
		_, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(testDir(t), "data")})
		require.ErrorIs(t, err, ErrNotInstalled)
	})
	t.Run("an argument that the server rejects is in the error", func(t *testing.T) {
		_, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(testDir(t), "data"), Args: []string{"--no-such", "1"}})
		require.ErrorContains(t, err, "no-such")
	})
}
