package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// helperVariable makes this binary start servers on the folder that it names, and wait to be killed.
const helperVariable = "FRESHET_SERVERS_HELPER"

// runHelper starts all three servers, writes a row, says so and waits for the end of standard input.
func runHelper(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	pg, err := StartPostgres(ctx, PostgresOptions{Dir: filepath.Join(dir, "pg"), Settings: unsafe})
	if err != nil {
		return err
	}
	redis, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		return err
	}
	nats, err := StartNATS(ctx, NATSOptions{Dir: filepath.Join(dir, "nats")})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, pg.URL("postgres"))
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE kept AS SELECT 'here'::text AS v"); err != nil {
		return err
	}
	fmt.Println(pg.Port(), redis.Port(), nats.Port())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return errors.Join(err, errors.New("the test that killed nobody is over"))
}

func TestStartAfterAKill(t *testing.T) {
	ctx := testContext(t)
	dir := testDir(t)
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"="+dir)
	helper.Stderr = os.Stderr
	stdin, err := helper.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	var pgPort, redisPort, natsPort int
	_, err = fmt.Fscan(stdout, &pgPort, &redisPort, &natsPort)
	require.NoError(t, err)

	// A folder whose owner is alive is refused, and its servers live on.
	_, err = StartPostgres(ctx, PostgresOptions{Dir: filepath.Join(dir, "pg"), Port: pgPort})
	inUse := &FolderInUseError{}
	require.ErrorAs(t, err, &inUse)
	require.Equal(t, strconv.Itoa(helper.Process.Pid), inUse.Owner)

	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait())

	// The same ports: what was left behind must be gone, not merely dodged.
	pg, err := StartPostgres(ctx, PostgresOptions{Dir: filepath.Join(dir, "pg"), Port: pgPort, Settings: unsafe})
	require.NoError(t, err)
	stopAtEnd(t, pg)
	redis, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "redis"), Port: redisPort})
	require.NoError(t, err)
	stopAtEnd(t, redis)
	nats, err := StartNATS(ctx, NATSOptions{Dir: filepath.Join(dir, "nats"), Port: natsPort})
	require.NoError(t, err)
	stopAtEnd(t, nats)
	require.Equal(t, "here", query(t, pg, "SELECT v FROM kept"))
}

// Where the kernel sends no death signal a server outlives its killed owner. A lock that is given up while the server
// runs on makes the same situation.
func TestStartOnAServerThatLivesOn(t *testing.T) {
	ctx := testContext(t)
	dir := testDir(t)
	t.Run("postgres", func(t *testing.T) {
		orphan, err := StartPostgres(ctx, PostgresOptions{Dir: filepath.Join(dir, "pg"), Settings: unsafe})
		require.NoError(t, err)
		orphan.lock.Release()
		pg, err := StartPostgres(ctx, PostgresOptions{
			Dir: filepath.Join(dir, "pg"), Port: orphan.Port(), Settings: unsafe,
		})
		require.NoError(t, err)
		stopAtEnd(t, pg)
		<-orphan.Done()
	})
	t.Run("redis", func(t *testing.T) {
		orphan, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "redis")})
		require.NoError(t, err)
		orphan.lock.Release()
		redis, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "redis"), Port: orphan.Port()})
		require.NoError(t, err)
		stopAtEnd(t, redis)
		<-orphan.Done()
	})
	t.Run("a pid that now belongs to somebody else is left alone", func(t *testing.T) {
		dir := filepath.Join(dir, "reused")
		require.NoError(t, os.Mkdir(dir, 0o755))
		pidFile := filepath.Join(dir, "redis.pid")
		require.NoError(t, os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600))
		redis, err := StartRedis(ctx, RedisOptions{Dir: dir})
		require.NoError(t, err)
		stopAtEnd(t, redis)
	})
}

func TestFreePortNeverRepeats(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := FreePort()
		require.NoError(t, err)
		require.False(t, seen[port])
		seen[port] = true
	}
}
