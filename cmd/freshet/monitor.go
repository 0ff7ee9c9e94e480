package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/cdc"
	"freshet/internal/config"
	"freshet/internal/health"
	"freshet/invalidator"
)

// monitored are the parts of a process that has a port for its operators.
type monitored struct {
	process string
	health  config.Health
	source  string
	secrets []string
	pool    *pgxpool.Pool
	nats    *nats.Conn
	js      jetstream.JetStream
	// slot, if not nil, is told what the check of the replication slot has seen.
	slot func(health.Slot)
}

// monitor makes a process's Monitor: what all of them look at, and more.
func (m monitored) monitor(ready func(*health.Monitor) health.Readiness, clock *cache.Clock, notKnown map[string]string, more ...health.Check) *health.Monitor {
	checks := append([]health.Check{
		health.Postgres(m.pool, clock), m.lookAtSlot(), health.NATS(m.nats), health.StreamOf(m.js, m.source),
	}, more...)
	return health.New(health.Config{
		Process: m.process, Version: version, Interval: m.health.Interval, Checks: checks, Ready: ready,
		Live:     map[string]func() any{"pool": func() any { return health.PoolUse(m.pool) }},
		NotKnown: notKnown, Secrets: m.secrets, AdminToken: m.health.AdminToken, Open: m.health.Open,
	})
}

// lookAtSlot is the check of the slot. That nobody streams from it makes it fail, and is no reason not to tell of the slot.
func (m monitored) lookAtSlot() health.Check {
	check := health.ReplicationSlot(m.pool, m.health.SlotName)
	if m.slot == nil {
		return check
	}
	look := check.Look
	check.Look = func(ctx context.Context) (any, error) {
		details, err := look(ctx)
		if s, ok := details.(health.Slot); ok {
			m.slot(s)
		}
		return details, err
	}
	return check
}

// runWithHealth runs a process with its monitor and its port, until ctx ends or one of them fails. further are routes beside those of
// the monitor.
func runWithHealth(ctx context.Context, run func(context.Context) error, m *health.Monitor, o ops, log *slog.Logger, further ...route) error {
	listener, err := listenOps(ctx, o, log)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return run(ctx) })
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error {
		return serveOps(ctx, listener, log, append([]route{{"/health", m.Handler()}, {"/health/", m.Handler()}}, further...)...)
	})
	return g.Wait()
}

// session is what the check of a session shows of a cdc.
type session struct {
	Phase             cdc.Phase `json:"phase"`
	Since             time.Time `json:"since,omitzero"`
	Session           string    `json:"session,omitempty"`
	PublishedPosition string    `json:"published_position,omitempty"`
}

// checkCDC shows how a cdc stands; one that neither streams nor stands by fails.
func checkCDC(status func() cdc.Status) health.Check {
	return health.Check{Name: health.CheckSession, Look: func(context.Context) (any, error) {
		now := status()
		s := session{Phase: now.Phase, Since: now.Since.UTC(), Session: now.Session}
		if now.Published != 0 {
			s.PublishedPosition = now.Published.String()
		}
		switch {
		case working(now):
			return s, nil
		case now.Err != nil:
			return s, now.Err
		}
		return s, errors.New("it has not begun to stream yet")
	}}
}

func working(s cdc.Status) bool { return s.Phase == cdc.Streaming || s.Phase == cdc.StandingBy }

// cdcReady says whether a cdc streams, or could at once. ctx ends when it is told to stop.
func cdcReady(ctx context.Context, status func() cdc.Status) func(*health.Monitor) health.Readiness {
	return func(*health.Monitor) health.Readiness {
		now := status()
		r := health.Readiness{OK: true, Status: "ready", Parts: map[string]string{"session": string(now.Phase)}}
		switch {
		case ctx.Err() != nil:
			r.OK, r.Draining, r.Status = false, true, "draining"
		case !working(now):
			r.OK, r.Status = false, "not ready: it neither streams nor stands by"
		}
		return r
	}
}

// appliedWithin is how long nothing may be applied until the invalidator is not ready: cdc publishes a watermark every second.
const appliedWithin = 10 * time.Second

// applying is what the check of a session shows of an invalidator.
type applying struct {
	Session   string    `json:"session,omitempty"` // of cdc, of the last message
	AppliedAt time.Time `json:"applied_at,omitzero"`
}

// checkInvalidator shows when an invalidator has applied something last.
func checkInvalidator(status func() invalidator.Status) health.Check {
	return health.Check{Name: health.CheckSession, Look: func(context.Context) (any, error) {
		now := status()
		s := applying{Session: now.State.Session, AppliedAt: now.Applied.UTC()}
		switch since := time.Since(now.Applied); {
		case now.Err != nil:
			return s, now.Err
		case now.Applied.IsZero():
			return applying{}, errors.New("nothing was applied yet: is cdc running?")
		case since > appliedWithin:
			return s, fmt.Errorf("nothing was applied for %s: is cdc running?", since.Round(time.Second))
		}
		return s, nil
	}}
}

// invalidatorReady says whether an invalidator applies the log. ctx ends when it is told to stop.
func invalidatorReady(ctx context.Context, status func() invalidator.Status) func(*health.Monitor) health.Readiness {
	return func(*health.Monitor) health.Readiness {
		r := health.Readiness{OK: true, Status: "ready", Parts: map[string]string{"applied": "ok"}}
		now := status()
		if since := time.Since(now.Applied); now.Applied.IsZero() || since > appliedWithin {
			r.OK, r.Status, r.Parts["applied"] = false, "not ready: it does not apply the log", "never"
			if !now.Applied.IsZero() {
				r.Parts["applied"] = fmt.Sprintf("not for %s", since.Round(time.Second))
			}
		}
		if ctx.Err() != nil {
			r.OK, r.Draining, r.Status = false, true, "draining"
		}
		return r
	}
}

// applied is how far an invalidator has come, for the check of its lag.
func applied(status func() invalidator.Status) func() health.Applied {
	return func() health.Applied {
		now := status().State
		return health.Applied{Sequence: now.Sequence, Mark: now.Mark, At: now.At}
	}
}
