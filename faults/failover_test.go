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

// withReplica gives the database a replica, and everybody the addresses of the primary, and of a path to whoever follows it.
func withReplica(synchronous bool) func(t *testing.T) options {
	return func(t *testing.T) options {
		o := options{network: &network{proxies: testenv.Toxiproxy(t), paths: map[string]*testenv.Path{}}}
		o.replicas = func(s *site) string {
			s.replicate()
			path := o.network.proxies.Proxy(t, "later primaries", s.replica.Server.Addr())
			o.network.paths["later primaries"] = path
			if synchronous {
				s.synchronous("replica")
			}
			return "postgres://postgres@" + s.db.Server.Addr() + "," + path.Addr() + "/" + s.db.Name +
				"?sslmode=disable&target_session_attrs=primary"
		}
		return o
	}
}

// replicate gives the primary a replica.
func (s *site) replicate() {
	s.t.Helper()
	name := "replication of " + s.db.Server.Addr()
	path := s.network.proxies.Proxy(s.group, name, s.db.Server.Addr())
	s.network.paths["replication"] = path
	s.replica = s.db.Replica(s.group, path, nil)
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
		strike: func(s *site) { s.failOverHung() },
	},
	{
		// The log is of a server that nobody writes any more, and is ahead of the new one: it says nothing about what is read now.
		name: "failover, the newest transactions are lost, and cdc is away for a while", fails: true,
		before: func(s *site) {
			if s.replica == nil { // it has become the primary
				s.replicate()
				s.hold(shortly / 4)
			}
			s.network.paths["replication"].Hang(s.t)
			s.hold(shortly / 2)
		},
		strike: func(s *site) {
			s.cdc.Kill()
			s.failOverHung()
		},
		more: func(s *site) {
			s.hold(shortly)
			s.cdc.start()
		},
	},
}

// failOverHung is failOverPostgres with a replica that nothing reaches any more. What was held on the way is lost. A walsender whose
// client is silent would not let its server stop for ten seconds.
func (s *site) failOverHung() {
	s.t.Helper()
	s.network.paths["replication"].Cut(s.t)
	s.failOverPostgres()
}

// failOverPostgres makes the replica the primary.
func (s *site) failOverPostgres() {
	s.t.Helper()
	// It is gone in any case: a walsender whose client is silent may have to be killed by force.
	_ = s.db.Server.Kill()
	<-s.db.Server.Done()
	s.network.paths["later primaries"].Retarget(s.t, s.replica.Server.Addr())
	s.replica.Promote(s.t)
	s.db, s.replica = s.replica, nil
}
