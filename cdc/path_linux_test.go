package cdc_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/network"
	"freshet/internal/network/blackhole"
	"freshet/internal/testenv"
)

const (
	// back is how soon after the end of a fault everything works again: the promise.
	back = 5 * time.Second
	// faultLasts is longer than it takes everybody to notice, and the pauses between attempts to become long.
	faultLasts = 6 * time.Second
)

// pathFault is something that befalls a path: where it leads, and what begins and ends the fault.
type pathFault struct {
	lasts time.Duration
	make  func(t *testing.T, upstream string) (addr string, begin, end func())
}

// pathFaults are what can befall a path.
var pathFaults = map[string]pathFault{
	"cut": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := testenv.Toxiproxy(t).Proxy(t, "path", upstream)
		return p.Addr(), func() { p.Cut(t) }, func() { p.Heal(t) }
	}},
	"black hole": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := blackhole.New(t, upstream)
		return p.Addr(), p.Vanish, p.Heal
	}},
	"black hole, and the connections dead": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := blackhole.New(t, upstream)
		return p.Addr(), p.Vanish, p.Forget
	}},
	"connections dead at once": {0, func(t *testing.T, upstream string) (string, func(), func()) {
		p := blackhole.New(t, upstream)
		return p.Addr(), func() {}, p.Forget
	}},
	"hung proxy": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := testenv.Toxiproxy(t).Proxy(t, "path", upstream)
		return p.Addr(), func() { p.Hang(t) }, func() { p.Heal(t) }
	}},
	"500 ms of latency": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := testenv.Toxiproxy(t).Proxy(t, "path", upstream)
		return p.Addr(), func() { p.Delay(t, 500*time.Millisecond, 0) }, func() { p.Heal(t) }
	}},
	"10 KB/s": {faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		p := testenv.Toxiproxy(t).Proxy(t, "path", upstream)
		return p.Addr(), func() { p.Trickle(t, 10_000) }, func() { p.Heal(t) }
	}},
}

// over makes an address lead over a path.
func over(t *testing.T, original string, through func(upstream string) string) string {
	t.Helper()
	u, err := url.Parse(original)
	require.NoError(t, err)
	u.Host = through(u.Host)
	return u.String()
}

func TestBackAfterAFaultOfAPath(t *testing.T) {
	for _, server := range []string{"postgres", "nats"} {
		for name, fault := range pathFaults {
			t.Run(server+", "+name, func(t *testing.T) {
				t.Parallel()
				awaitFarewells(t)
				h := newHarness(t, testenv.Postgres(t))
				var begin, end func()
				through := func(upstream string) (addr string) {
					addr, begin, end = fault.make(t, upstream)
					return addr
				}
				if server == "postgres" {
					h.cfg.DatabaseURL = over(t, h.cfg.DatabaseURL, through)
				} else {
					h.cfg.NATS = natsOver(t, over(t, h.nats.URL, through))
				}
				h.start(t)
				startWritersAt(t, h, 20*time.Millisecond) // what piles up is not what is measured
				awaitGrowth(t, h, 100)
				begin()
				elapse(t, fault.lasts)
				end()
				h.requireBack(t)
			})
		}
	}
}

// The machine of the cdc that works is gone, and nobody says so to the server, which keeps the slot for it: not for long.
func TestStandbyTakesOverFromALostMachine(t *testing.T) {
	awaitFarewells(t)
	h := newHarness(t, testenv.Postgres(t))
	var path *blackhole.Path
	lost := h.run(t, func(c *cdc.Config) {
		c.DatabaseURL = over(t, c.DatabaseURL, func(upstream string) string {
			path = blackhole.New(t, upstream)
			return path.Addr()
		})
	})
	lost.awaitStreaming()
	next := h.run(t)
	h.awaitStandby(t)
	path.Vanish()
	began := time.Now()
	next.awaitStreaming()
	took := time.Since(began)
	t.Logf("BACK after %.2f s", took.Seconds())
	require.Less(t, took, back+4*time.Second, "wal_sender_timeout would be a minute")
}

// natsOver is a connection as the program makes it.
func natsOver(t *testing.T, addr string) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	conn, err := nats.Connect(addr, append(network.NATSOptions(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	return conn
}

// elapse lets a fault last.
func elapse(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// requireBack requires that what is written now is in the log in time.
func (h *harness) requireBack(t *testing.T) {
	t.Helper()
	began := time.Now()
	h.db.Exec(t, "SELECT pg_logical_emit_message(true, 'test', '')")
	position := h.position(t)
	testenv.Eventually(t, patience, func() (bool, string) {
		reached, err := h.reached(t)
		return err == nil && reached >= position, fmt.Sprintf("the log is at %s, not at %s: %v", reached, position, err)
	})
	took := time.Since(began)
	t.Logf("BACK after %.2f s", took.Seconds())
	require.Less(t, took, back)
}

// reached is the position of the last watermark.
func (h *harness) reached(t *testing.T) (events.Position, error) {
	t.Helper()
	stream, err := h.js.Stream(t.Context(), events.StreamName(source))
	if err != nil {
		return 0, err
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), events.WatermarkSubject(source))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err != nil {
		return 0, err
	}
	w, err := events.DecodeWatermark(m.Data)
	if err != nil {
		return 0, err
	}
	return w.Position, nil
}

// Deleted in the middle of what is published: what was on its way is never answered.
func TestStreamIsDeletedUnderLoad(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	c := h.run(t)
	c.awaitStreaming()
	startWriters(t, h)
	for range 5 {
		awaitGrowth(t, h, 300)
		require.NoError(t, h.js.DeleteStream(t.Context(), events.StreamName(source)))
		h.requireBack(t)
		c.awaitStreaming()
	}
}
