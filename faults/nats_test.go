package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

var natsFaults = []fault{
	{name: "stream deleted", short: true, strike: func(s *site) {
		require.NoError(s.t, s.nats.JetStream(s.t).DeleteStream(s.ctx, events.StreamName(source)))
	}},
	{name: "stream purged", strike: func(s *site) {
		stream, err := s.nats.JetStream(s.t).Stream(s.ctx, events.StreamName(source))
		require.NoError(s.t, err)
		require.NoError(s.t, stream.Purge(s.ctx))
	}},
	{name: "stream purged while the invalidator is away", strike: func(s *site) {
		s.invalidator.Kill()
		s.untilOutOfDate()
		stream, err := s.nats.JetStream(s.t).Stream(s.ctx, events.StreamName(source))
		require.NoError(s.t, err)
		require.NoError(s.t, stream.Purge(s.ctx))
		s.invalidator.start()
	}},
	{name: "storage restored from an older copy", strike: func(s *site) {
		require.NoError(s.t, s.nats.Server.Kill())
		old := s.nats.Backup(s.t)
		s.restarted(s.nats.Server)
		_, err := s.recover(patience)
		require.NoError(s.t, err)
		s.hold(shortly)
		require.NoError(s.t, s.nats.Server.Kill())
		s.nats.Restore(s.t, old)
		s.restarted(s.nats.Server)
	}},
	{name: "storage set back by a tenth of a second, while cdc goes on", strike: func(s *site) { s.setBack(shortly / 20) }},
	// Nobody has applied what is lost then, and cdc has confirmed it to Postgres.
	{name: "storage set back by two seconds, while cdc goes on and the invalidator is paused", strike: func(s *site) {
		s.invalidator.Signal(syscall.SIGSTOP)
		s.setBack(shortly)
		s.invalidator.Signal(syscall.SIGCONT)
	}},
	{name: "storage lost", strike: func(s *site) {
		require.NoError(s.t, s.nats.Server.Kill())
		s.nats.Restore(s.t, s.t.TempDir())
		s.restarted(s.nats.Server)
	}},
	{name: "disk full", strike: func(s *site) {
		s.nats.FillDisk(s.t)
		s.untilOutOfDate()
		s.nats.FreeDisk(s.t)
		// A server that has found no room uses its store again only after a restart.
		require.NoError(s.t, s.nats.Server.Kill())
		s.restarted(s.nats.Server)
	}},
}

// setBack has NATS lose the newest messages within one session of cdc.
func (s *site) setBack(by time.Duration) {
	s.t.Helper()
	old := s.nats.BackupRunning(s.t)
	s.hold(by)
	require.NoError(s.t, s.nats.Server.Kill())
	s.nats.Restore(s.t, old)
	s.restarted(s.nats.Server)
}

// smallDisk is one that can be filled.
func smallDisk(*testing.T) options { return options{disk: 256 << 20} }
