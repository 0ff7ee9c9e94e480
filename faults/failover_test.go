package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// redisPath lets everybody reach Redis by a path that can lead to another server.
func redisPath(t *testing.T) options {
	o := networkOptions(t)
	between := o.between
	o.between = func(process, server, url string) string {
		if server != "redis" {
			return url
		}
		return between("all", server, url)
	}
	return o
}

var redisFailovers = []fault{
	{name: "to a replica that lags by a second", strike: func(s *site) {
		behind := s.network.proxies.Proxy(s.group, "replication", s.redis.Server.Addr())
		replica := s.redis.Replica(s.group, behind)
		behind.Delay(s.t, time.Second, 0)
		s.hold(shortly)
		s.failOverRedis(replica)
	}},
	{name: "to a replica that has missed the last two seconds", short: true, strike: func(s *site) {
		behind := s.network.proxies.Proxy(s.group, "replication of the second", s.redis.Server.Addr())
		replica := s.redis.Replica(s.group, behind)
		behind.Hang(s.t)
		s.hold(shortly)
		s.failOverRedis(replica)
	}},
}

// failOverRedis makes a replica the server that everybody uses.
func (s *site) failOverRedis(replica *testenv.RedisServer) {
	s.t.Helper()
	require.NoError(s.t, s.redis.Server.Kill())
	replica.Promote(s.t)
	s.network.paths["all to redis"].Retarget(s.t, replica.Server.Addr())
	s.redis = replica
}

// withReplica gives the database a replica, and everybody the addresses of both.
func withReplica(synchronous bool) func(t *testing.T) options {
	return func(t *testing.T) options {
		o := options{network: &network{proxies: testenv.Toxiproxy(t), paths: map[string]*testenv.Path{}}}
		o.replicas = func(s *site) string {
			path := o.network.proxies.Proxy(t, "replication", s.db.Server.Addr())
			o.network.paths["replication"] = path
			s.replica = s.db.Replica(t, path, nil)
			if synchronous {
				s.synchronous("replica")
			}
			return "postgres://postgres@" + s.db.Server.Addr() + "," + s.replica.Server.Addr() + "/" + s.db.Name + "?sslmode=disable&target_session_attrs=primary"
		}
		return o
	}
}

var synchronousFaults = []fault{
	{name: "the replica hangs for 5 s", strike: func(s *site) {
		s.network.paths["replication"].Hang(s.t)
		s.hold(5 * time.Second)
		s.network.paths["replication"].Heal(s.t)
	}},
	{name: "failover", fails: true, strike: func(s *site) { s.failOverPostgres() }},
}

var asynchronousFaults = []fault{
	{
		name: "failover, and the newest transactions are lost", fails: true, short: true,
		before: func(s *site) {
			s.network.paths["replication"].Hang(s.t)
			s.hold(shortly)
		},
		strike: func(s *site) { s.failOverPostgres() },
	},
}

// failOverPostgres makes the replica the primary.
func (s *site) failOverPostgres() {
	s.t.Helper()
	// It is gone in any case: a walsender whose client is silent may have to be killed by force.
	_ = s.db.Server.Kill()
	<-s.db.Server.Done()
	s.replica.Promote(s.t)
	s.db = s.replica
}
