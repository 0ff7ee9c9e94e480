package testenv

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Replica starts a replica of the server that follows it through the path, and waits until it is in step; without a path
// (nil) it follows directly. A path with a Delay makes it lag, one with Hold or Hang makes it miss what comes. When it is
// restarted it begins empty and follows nobody.
func (r *RedisServer) Replica(tb testing.TB, path *Path, args ...string) *RedisServer {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	// The server would wait for more replicas to come before it sends the first its data.
	if err := r.Client(tb).ConfigSet(ctx, "repl-diskless-sync-delay", "0").Err(); err != nil {
		tb.Fatalf("testenv: configure Redis: %v", err)
	}
	addr := r.Server.Addr()
	if path != nil {
		addr = path.Addr()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	// What it receives goes over its disk, and must not come back when it restarts.
	replica := Redis(tb, append([]string{"--rdb-del-sync-files", "yes"}, args...)...)
	if err := replica.Client(tb).ReplicaOf(ctx, host, port).Err(); err != nil {
		tb.Fatalf("testenv: make a replica of Redis: %v", err)
	}
	r.AwaitReplica(tb, replica)
	return replica
}

// AwaitReplica waits until the replica has all that the server has by now.
func (r *RedisServer) AwaitReplica(tb testing.TB, replica *RedisServer) {
	tb.Helper()
	ours, theirs := r.Client(tb), replica.Client(tb)
	end := replicationInfo(tb, ours)["master_repl_offset"]
	Eventually(tb, patience, func() (bool, string) {
		at := replicationInfo(tb, theirs)
		// An offset means something only within one history, which has an id. A server takes a new one when its first
		// replica comes.
		return at["master_replid"] == replicationInfo(tb, ours)["master_replid"] && at["master_link_status"] == "up" &&
				offset(at["master_repl_offset"]) >= offset(end),
			fmt.Sprintf("the replica is at %s (link %s), the server at %s",
				at["master_repl_offset"], at["master_link_status"], end)
	})
}

// Promote makes a replica a server of its own, which takes writes.
func (r *RedisServer) Promote(tb testing.TB) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	if err := r.Client(tb).ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		tb.Fatalf("testenv: promote the replica of Redis: %v", err)
	}
}

// replicationInfo is what INFO says of the replication, as names and values.
func replicationInfo(tb testing.TB, client *redis.Client) map[string]string {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	text, err := client.Info(ctx, "replication").Result()
	if err != nil {
		tb.Fatalf("testenv: ask Redis about its replication: %v", err)
	}
	info := map[string]string{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			info[name] = value
		}
	}
	return info
}

// offset is a position in a history; -1 if it is none.
func offset(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// Dump is all that the server holds at this moment, as Redis writes it to disk.
func (r *RedisServer) Dump(tb testing.TB) []byte {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	if err := r.Client(tb).Save(ctx).Err(); err != nil {
		tb.Fatalf("testenv: save Redis: %v", err)
	}
	dump, err := os.ReadFile(r.dumpFile())
	if err != nil {
		tb.Fatalf("testenv: read the dump of Redis: %v", err)
	}
	r.forgetDump(tb)
	return dump
}

// Restore restarts the server with what a dump holds, and nothing else.
func (r *RedisServer) Restore(tb testing.TB, dump []byte) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	if err := r.Server.Kill(); err != nil {
		tb.Fatalf("testenv: stop Redis: %v", err)
	}
	if err := os.WriteFile(r.dumpFile(), dump, 0o644); err != nil {
		tb.Fatalf("testenv: put the dump of Redis in place: %v", err)
	}
	if err := r.Server.Restart(ctx); err != nil {
		tb.Fatalf("testenv: start Redis on a dump: %v", err)
	}
	r.forgetDump(tb)
}

// forgetDump removes the dump from the server's folder: a server that finds one loads it, and a restart is to be empty.
func (r *RedisServer) forgetDump(tb testing.TB) {
	tb.Helper()
	if err := os.Remove(r.dumpFile()); err != nil {
		tb.Fatalf("testenv: remove the dump of Redis: %v", err)
	}
}

func (r *RedisServer) dumpFile() string { return filepath.Join(r.Server.Dir(), "dump.rdb") }
