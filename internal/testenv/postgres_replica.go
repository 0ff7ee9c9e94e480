package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"freshet/internal/servers"
)

// replicaDelay is how soon a replica tries again to reach its primary: a test is waiting.
const replicaDelay = "50ms"

// Replica makes a physical replica of a private server, streaming from it through the path, and returns its database of
// the same name; without a path (nil) it streams directly. It is in step with the primary when Replica returns.
//
// What the path does not let pass is lost to a replica that is promoted: Cut or Hang it to have commits that only the
// primary knows. The settings override the primary's. To a synchronous_standby_names its name is "replica".
func (db *Database) Replica(tb testing.TB, path *Path, settings map[string]string) *Database {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	log := newOutput()
	log.showIfFailed(tb, "Postgres's replica")
	dir := filepath.Join(dirFor(tb), "postgres")
	if err := db.baseBackup(ctx, dir); err != nil {
		tb.Fatalf("testenv: copy the primary: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600); err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	source := db.Server.URL("postgres")
	if path != nil {
		source = path.URL(source)
	}
	follow := map[string]string{
		"primary_conninfo":             source + "&application_name=replica",
		"wal_retrieve_retry_interval":  replicaDelay,
		"wal_receiver_status_interval": "1s",
	}
	server, err := servers.StartPostgres(ctx, servers.PostgresOptions{
		Dir: dir, Settings: merged(unsafe, db.settings, follow, settings), Log: log,
	})
	if err != nil {
		tb.Fatalf("testenv: start the replica: %v", err)
	}
	stopPrivateAtEnd(tb, server)
	replica := newDatabase(tb, server, db.Name)
	replica.settings = merged(db.settings, settings)
	db.AwaitReplica(tb, replica)
	return replica
}

// baseBackup copies the server's cluster to a new folder, with the log that it takes to make it consistent.
func (db *Database) baseBackup(ctx context.Context, dir string) error {
	program, err := clientProgram("pg_basebackup")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "--pgdata", dir, "--dbname", db.Server.URL("postgres"),
		"--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// clientProgram finds a program of the version of Postgres that the servers have: beside theirs, or where a link to
// theirs leads.
func clientProgram(name string) (string, error) {
	bin, err := servers.FindPostgres("")
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres"))
	if err != nil {
		return "", err
	}
	for _, dir := range []string{bin, filepath.Dir(target)} {
		if program, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return program, nil
		}
	}
	return exec.LookPath(name)
}

// AwaitReplica waits until the replica shows all that the primary has committed, and flushed, by now.
func (db *Database) AwaitReplica(tb testing.TB, replica *Database) {
	tb.Helper()
	// Not the insert position: at the beginning of a page that is past the page's header, where nothing is yet to be sent.
	end := Value[string](tb, db, "SELECT pg_current_wal_flush_lsn()::text")
	Eventually(tb, patience, func() (bool, string) {
		at := Value[string](tb, replica, "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')::text")
		return Value[bool](tb, replica, "SELECT $1::text::pg_lsn >= $2::text::pg_lsn", at, end),
			"the replica is at " + at + ", the primary at " + end
	})
}

// AwaitConnected waits until the replica receives the primary's log, or until it no longer does.
func (db *Database) AwaitConnected(tb testing.TB, connected bool) {
	tb.Helper()
	Eventually(tb, patience, func() (bool, string) {
		is := Value[bool](tb, db, "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')")
		return is == connected, fmt.Sprintf("the replica receives the log: %v", is)
	})
}

// Promote makes the replica a primary, on a timeline of its own, and returns when it takes writes.
func (db *Database) Promote(tb testing.TB) {
	tb.Helper()
	if !Value[bool](tb, db, "SELECT pg_promote(true, $1)", int(patience/time.Second)) {
		tb.Fatalf("testenv: the replica was not promoted within %v", patience)
	}
	Eventually(tb, patience, func() (bool, string) {
		return !Value[bool](tb, db, "SELECT pg_is_in_recovery()"), "the replica is in recovery still"
	})
}
