package servers

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/servers/child"
)

var unsafe = map[string]string{"fsync": "off"}

// query runs a statement that returns one text.
func query(t *testing.T, pg *Postgres, sql string) string {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, pg.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	var text string
	require.NoError(t, conn.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&text))
	return text
}

// keep writes the row that must outlive restarts.
func keep(t *testing.T, pg *Postgres) {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, pg.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE TABLE kept AS SELECT 'here'::text AS v")
	require.NoError(t, err)
}

func TestPostgresLife(t *testing.T) {
	ctx := testContext(t)
	dir := filepath.Join(testDir(t), "pg")
	pg, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Password: "s e/c@ret", Settings: map[string]string{
		"fsync": "off", "max_connections": "33", "listen_addresses": "*",
	}})
	require.NoError(t, err)
	stopAtEnd(t, pg)

	t.Run("settings are ours, then the caller's, but never open to the network", func(t *testing.T) {
		require.Equal(t, "logical", query(t, pg, "SHOW wal_level"))
		require.Equal(t, "33", query(t, pg, "SHOW max_connections"))
		require.Equal(t, "127.0.0.1", query(t, pg, "SHOW listen_addresses"))
		require.Empty(t, query(t, pg, "SHOW unix_socket_directories"))
	})
	t.Run("the password is asked", func(t *testing.T) {
		config, err := pgx.ParseConfig(pg.URL("postgres"))
		require.NoError(t, err)
		config.Password = "wrong"
		_, err = pgx.ConnectConfig(ctx, config)
		require.Error(t, err)
	})
	t.Run("a restart and a crash keep the data and the port", func(t *testing.T) {
		port := pg.Port()
		keep(t, pg)
		require.NoError(t, pg.Restart(ctx))
		require.Equal(t, "here", query(t, pg, "SELECT v FROM kept"))

		require.NoError(t, pg.Kill())
		<-pg.Done()
		require.NoError(t, pg.Err(), "it was asked to end")
		require.NoError(t, pg.Restart(ctx))
		require.Equal(t, "here", query(t, pg, "SELECT v FROM kept"))
		require.Equal(t, port, pg.Port())
	})
	t.Run("its owner hears of a death that nobody asked for", func(t *testing.T) {
		require.NoError(t, pg.Signal(syscall.SIGQUIT))
		err := pg.Wait()
		exit := &child.ExitError{}
		require.ErrorAs(t, err, &exit)
		require.Contains(t, exit.Tail, "immediate shutdown")
		require.NoError(t, pg.Restart(ctx))
		require.NoError(t, pg.Err())
	})
	t.Run("a folder in use is refused", func(t *testing.T) {
		_, err := StartPostgres(ctx, PostgresOptions{Dir: dir})
		require.ErrorIs(t, err, ErrFolderInUse)
		require.Equal(t, "here", query(t, pg, "SELECT v FROM kept"))
	})
	t.Run("another password than the cluster's fails at once", func(t *testing.T) {
		require.NoError(t, pg.Stop(ctx))
		require.NoError(t, pg.Stop(ctx), "stopping twice is safe")
		_, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Password: "other", Settings: unsafe})
		require.ErrorContains(t, err, "another password")
	})
}

func TestPostgresRefusesBeforeItStarts(t *testing.T) {
	ctx := testContext(t)
	t.Run("port in use", func(t *testing.T) {
		dir := filepath.Join(testDir(t), "pg")
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		port := taken.Addr().(*net.TCPAddr).Port
		_, err = StartPostgres(ctx, PostgresOptions{Dir: dir, Port: port, PortHint: "--postgres-port"})
		require.ErrorIs(t, err, ErrPortInUse)
		require.ErrorContains(t, err, "choose another port with --postgres-port")
		require.NoDirExists(t, dir)
	})
	t.Run("no programs", func(t *testing.T) {
		_, err := StartPostgres(ctx, PostgresOptions{Dir: filepath.Join(testDir(t), "pg"), BinDir: testDir(t)})
		require.ErrorIs(t, err, ErrNotInstalled)
		require.ErrorContains(t, err, "apt-get install postgresql")
	})
	t.Run("a folder that holds something else", func(t *testing.T) {
		dir := filepath.Join(testDir(t), "pg")
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "letter"), nil, 0o600))
		_, err := StartPostgres(ctx, PostgresOptions{Dir: dir})
		require.ErrorContains(t, err, "holds no cluster")
		require.FileExists(t, filepath.Join(dir, "letter"))
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		dir := filepath.Join(testDir(t), "pg")
		_, err := StartPostgres(ended, PostgresOptions{Dir: dir})
		require.ErrorIs(t, err, context.Canceled)
		require.NoDirExists(t, dir, "no half cluster")
	})
	t.Run("a setting that the server rejects is in the error", func(t *testing.T) {
		dir := filepath.Join(testDir(t), "pg")
		_, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Settings: map[string]string{"no_such": "1"}})
		require.ErrorContains(t, err, "no_such")
	})
}

// Only root becomes another user; for others each folder that they can enter will do.
func TestPostgresInAFolderClosedToItsUser(t *testing.T) {
	ctx := testContext(t)
	closed := testDir(t)
	require.NoError(t, os.Chmod(closed, 0o700))
	dir := filepath.Join(closed, "pg")

	pg, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Settings: unsafe})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(pg.DataDir())) })
	stopAtEnd(t, pg)
	keep(t, pg)
	require.FileExists(t, filepath.Join(dir, "PG_VERSION"), "the data is to be found at Dir")
	require.NoError(t, pg.Stop(ctx))

	pg, err = StartPostgres(ctx, PostgresOptions{Dir: dir, Settings: unsafe})
	require.NoError(t, err)
	require.Equal(t, "here", query(t, pg, "SELECT v FROM kept"))
	require.NoError(t, pg.Stop(ctx))

	require.NoError(t, os.RemoveAll(dir))
	pg, err = StartPostgres(ctx, PostgresOptions{Dir: dir, Settings: unsafe})
	require.NoError(t, err)
	require.Equal(t, "true", query(t, pg, "SELECT (to_regclass('kept') IS NULL)::text"), "a removed Dir begins afresh")
	require.NoError(t, pg.Stop(ctx))
}
