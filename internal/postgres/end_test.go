package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
)

// A commit of synchronous_commit = off is acknowledged, and can be seen, before it is flushed: the end must have it. And it is on no
// timeline before a log follows the server.
func TestEndHasWhatIsNotFlushed(t *testing.T) {
	db := testenv.PrivatePostgres(t, map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"})
	db.Migrate(t, migrations.Freshet)
	db.Exec(t, "CREATE TABLE t (n int); INSERT INTO t VALUES (0)")
	conn := db.Conn(t)
	wal, err := postgres.ReadWALGeometry(t.Context(), conn)
	require.NoError(t, err)
	look := func() (end, flushed uint64, timeline uint32) {
		var position, tli string
		var flush int64
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT "+postgres.EndColumns("main")+", (pg_current_wal_flush_lsn() - '0/0')::bigint",
			pgx.QueryExecModeSimpleProtocol).Scan(&position, &tli, &flush))
		end, timeline, err := wal.ParseEnd(position, tli)
		require.NoError(t, err)
		return end, uint64(flush), timeline
	}
	testenv.Eventually(t, 10*time.Second, func() (bool, string) { // now and then the server flushes just then
		before, _, _ := look()
		_, err := conn.Exec(t.Context(), "UPDATE t SET n = n + 1")
		require.NoError(t, err)
		end, flushed, timeline := look()
		require.Greater(t, end, before)
		require.Equal(t, uint32(postgres.NoTimeline), timeline)
		return end > flushed, "all is flushed"
	})
	db.Exec(t, "INSERT INTO freshet.incarnation (source, session) VALUES ('main', 's')")
	_, _, timeline := look()
	require.Equal(t, uint32(1), timeline)
}
