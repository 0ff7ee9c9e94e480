package faults

import (
	"context"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// shortly is how long things last that a client may notice.
const shortly = 2 * time.Second

var processFaults = []fault{
	{name: "cdc killed", short: true, strike: func(s *site) {
		s.cdc.Kill()
		s.untilOutOfDate()
		s.cdc.start()
	}},
	{name: "invalidator killed", strike: func(s *site) {
		s.invalidator.Kill()
		s.untilOutOfDate()
		s.invalidator.start()
	}},
	{name: "cdc and invalidator killed at once, ten times", strike: func(s *site) {
		for range 10 {
			s.cdc.Kill()
			s.invalidator.Kill()
			s.invalidator.start()
			s.cdc.start()
			s.hold(shortly / 10)
		}
	}},
	{name: "api killed", fails: true, strike: func(s *site) {
		s.apis[0].Kill()
		s.hold(shortly)
		s.apis[0].start()
	}},
	{name: "NATS killed", strike: func(s *site) {
		s.killed(s.nats.Server, shortly)
	}},
	{name: "Redis killed, and started empty", strike: func(s *site) {
		s.killed(s.redis.Server, shortly)
	}},
	{name: "Postgres shut down at once", fails: true, strike: func(s *site) {
		s.killed(s.db.Server, shortly)
	}},
	{name: "all processes and servers but the api and Postgres killed", strike: func(s *site) {
		s.cdc.Kill()
		s.invalidator.Kill()
		require.NoError(s.t, s.redis.Server.Kill())
		s.killed(s.nats.Server, shortly)
		s.restarted(s.redis.Server)
		s.cdc.start()
		s.invalidator.start()
	}},
}

// A process that is stopped in the middle of whatever it does, and goes on later as if nothing had been.
var pausedFaults = []fault{
	{name: "cdc", strike: func(s *site) { s.paused(s.cdc, shortly) }},
	{name: "invalidator", strike: func(s *site) { s.paused(s.invalidator, shortly) }},
	{name: "api", strike: func(s *site) { s.paused(s.apis[0], shortly) }},
	{name: "api, again and again", short: true, strike: func(s *site) {
		for range 20 {
			s.paused(s.apis[0], shortly/20)
			s.hold(shortly / 20)
		}
	}},
	{name: "cdc, while another takes over", strike: func(s *site) {
		second := s.cdc.second()
		second.WaitForLine(s.t, "standing by", patience)
		s.cdc.Signal(syscall.SIGSTOP)
		s.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", slot)
		second.WaitForLine(s.t, s.cdc.ready, patience)
		s.hold(shortly / 2)
		s.cdc.Signal(syscall.SIGCONT)
		s.hold(shortly / 2)
		second.Kill()
	}},
	{name: "invalidator, while another works", strike: func(s *site) {
		second := s.invalidator.second()
		s.hold(shortly / 2)
		for range 10 {
			s.paused(s.invalidator, shortly/10)
			s.hold(shortly / 10)
		}
		second.Kill()
	}},
}

// paused stops a process for a while.
func (s *site) paused(p *process, d time.Duration) {
	p.Signal(syscall.SIGSTOP)
	s.hold(d)
	p.Signal(syscall.SIGCONT)
}

// server is one that a test has started.
type server interface {
	Kill() error
	Restart(ctx context.Context) error
}

// killed is a server that is not there for a while.
func (s *site) killed(server server, d time.Duration) {
	s.t.Helper()
	require.NoError(s.t, server.Kill())
	s.hold(d)
	s.restarted(server)
}

func (s *site) restarted(server server) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, server.Restart(ctx))
}

var stopFaults = []fault{
	{name: "cdc", strike: func(s *site) {
		s.stopped(s.cdc)
		s.cdc.start()
	}},
	{name: "invalidator", strike: func(s *site) {
		s.stopped(s.invalidator)
		s.invalidator.start()
	}},
	{name: "api, behind a load balancer", short: true, strike: func(s *site) {
		s.apis[0].Signal(syscall.SIGTERM)
		s.until("the api says that it will be gone", func() bool {
			a, err := s.do(s.ctx, "GET", s.all[0]+"/health/ready", nil)
			return a == nil && err != nil
		})
		s.urls.Store(&[]string{s.all[1]})
		s.ended(s.apis[0])
		s.apis[0].start()
		s.apis[0].WaitForLine(s.t, s.apis[0].ready, patience)
		s.urls.Store(&s.all)
	}},
}

// stopped tells a process to stop, and waits until it has.
func (s *site) stopped(p *process) {
	s.t.Helper()
	p.Signal(syscall.SIGTERM)
	s.ended(p)
}

func (s *site) ended(p *process) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, p.Wait(ctx), p.Output())
}

// Two of each at once: whoever is first works, and the other takes over.
var pairFaults = []fault{
	{name: "two cdc, of which the working one is killed", strike: func(s *site) {
		second := s.cdc.second()
		second.WaitForLine(s.t, "standing by", patience)
		s.cdc.Kill()
		second.WaitForLine(s.t, s.cdc.ready, patience)
		s.hold(shortly)
		s.cdc.start()
		s.cdc.WaitForLine(s.t, "standing by", patience)
		second.Kill()
	}},
	{name: "two invalidators, of which one is killed", short: true, strike: func(s *site) {
		second := s.invalidator.second()
		s.hold(shortly)
		s.invalidator.Kill()
		s.hold(shortly)
		s.invalidator.start()
		s.hold(shortly)
		second.Kill()
	}},
}
