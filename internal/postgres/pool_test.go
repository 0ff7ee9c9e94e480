package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

// A fill from a standby would put an old row under a living token: the pool takes only the primary.
func TestPoolRefusesAStandby(t *testing.T) {
	db := testenv.PrivatePostgres(t, nil)
	settings := config.Database{URL: db.URL, MaxConnections: 2, ConnectionTimeout: 10 * time.Second, CommandTimeout: 10 * time.Second}
	pool, err := postgres.NewPool(t.Context(), settings, "test")
	require.NoError(t, err)
	pool.Close()

	require.NoError(t, db.Server.Stop(t.Context()))
	require.NoError(t, os.WriteFile(filepath.Join(db.Server.DataDir(), "standby.signal"), nil, 0o600))
	require.NoError(t, os.Chmod(filepath.Join(db.Server.DataDir(), "standby.signal"), 0o666))
	require.NoError(t, db.Server.Restart(t.Context()))
	require.True(t, testenv.Value[bool](t, db, "SELECT pg_is_in_recovery()"), "it answers, as a standby")
	_, err = postgres.NewPool(t.Context(), settings, "test")
	require.ErrorContains(t, err, "standby")
}
