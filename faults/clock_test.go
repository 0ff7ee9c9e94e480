package faults

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
)

// The clock of cdc's machine is wrong, and then wrong the other way. cdc is in this process then: a clock can be given to it here.
var clockFaults = []fault{
	{name: "cdc's is ten minutes fast", short: true, strike: func(s *site) { s.withClock(10 * time.Minute) }},
	{name: "cdc's is ten minutes slow", strike: func(s *site) { s.withClock(-10 * time.Minute) }},
}

func (s *site) withClock(off time.Duration) {
	s.t.Helper()
	s.stopped(s.cdc)
	conn, err := nats.Connect(s.nats.URL, nats.MaxReconnects(-1))
	require.NoError(s.t, err)
	defer conn.Close()
	streaming := make(chan struct{})
	wrong, err := cdc.New(cdc.Config{
		DatabaseURL: s.databaseURL, NATS: conn, Source: source, Slot: slot, Publication: slot, NATSSyncInterval: time.Second,
		Stream: events.StreamSettings{}, Log: slog.New(slog.DiscardHandler),
		Now:         func() time.Time { return time.Now().Add(off) },
		OnStreaming: func() { close(streaming) },
	})
	require.NoError(s.t, err)
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- wrong.Run(ctx) }() // ends below
	select {
	case <-streaming:
	case err := <-done:
		require.NoError(s.t, err, "cdc has ended")
	}
	_, err = s.recover(patience) // with the wrong clock everything works
	require.NoError(s.t, err)
	s.hold(2 * shortly)
	stop()
	require.NoError(s.t, <-done)
	s.cdc.start()
}
