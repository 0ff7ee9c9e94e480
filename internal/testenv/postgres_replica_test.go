package testenv

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgresFailsOverToAReplicaThatLacksTheTail(t *testing.T) {
	primary := PrivatePostgres(t, map[string]string{"max_connections": "30"})
	primary.Exec(t, "CREATE TABLE things (id int)")
	proxies := Toxiproxy(t)
	replication := proxies.Proxy(t, "replication", primary.Server.Addr())
	clients := proxies.Proxy(t, "clients", primary.Server.Addr())
	replica := primary.Replica(t, replication, nil)
	require.Equal(t, "30", Value[string](t, replica, "SHOW max_connections"))

	primary.Exec(t, "INSERT INTO things VALUES (1)")
	primary.AwaitReplica(t, replica)
	require.Equal(t, 1, Value[int](t, replica, "SELECT count(*) FROM things"))

	replication.Cut(t)
	replica.AwaitConnected(t, false)
	primary.Exec(t, "INSERT INTO things VALUES (2)")
	replication.Heal(t)
	replica.AwaitConnected(t, true)
	primary.AwaitReplica(t, replica)

	replication.Hang(t)
	primary.Exec(t, "INSERT INTO things VALUES (3)")
	require.NoError(t, primary.Server.Kill())
	clients.Retarget(t, replica.Server.Addr())
	replica.Promote(t)

	conn, err := pgx.Connect(t.Context(), clients.URL(primary.URL))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "INSERT INTO things VALUES (4)")
	require.NoError(t, err)
	var ids []int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT array_agg(id ORDER BY id) FROM things").Scan(&ids))
	require.Equal(t, []int{1, 2, 4}, ids)
	var timeline int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int").
		Scan(&timeline))
	require.Equal(t, 2, timeline)
}

func TestPostgresSynchronousReplicaHangs(t *testing.T) {
	primary := PrivatePostgres(t, nil)
	path := Toxiproxy(t).Proxy(t, "replication", primary.Server.Addr())
	replica := primary.Replica(t, path, nil)
	primary.Exec(t, "CREATE TABLE things (id int)")
	primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'replica'")
	primary.Exec(t, "SELECT pg_reload_conf()")
	primary.Exec(t, "INSERT INTO things VALUES (1)")

	path.Hold(t)
	done := make(chan error, 1)
	conn := primary.Conn(t)
	go func() {
		_, err := conn.Exec(t.Context(), "INSERT INTO things VALUES (2)")
		done <- err
	}()
	Eventually(t, patience, func() (bool, string) {
		n := Value[int](t, primary, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		return n == 1, fmt.Sprintf("%d commits wait", n)
	})
	path.Heal(t)
	require.NoError(t, <-done)
	primary.AwaitReplica(t, replica)
}
