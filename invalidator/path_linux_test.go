package invalidator

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
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

// pathFault is something that befalls a path: how to make the path, and what begins and ends the fault.
type pathFault struct {
	name  string
	lasts time.Duration
	make  func(t *testing.T, upstream string) (addr string, begin, end func())
}

// proxied is a fault that a proxy makes.
func proxied(begin func(*testenv.Path, *testing.T)) func(*testing.T, string) (string, func(), func()) {
	return func(t *testing.T, upstream string) (string, func(), func()) {
		t.Helper()
		p := testenv.Toxiproxy(t).Proxy(t, "path", upstream)
		return p.Addr(), func() { begin(p, t) }, func() { p.Heal(t) }
	}
}

var pathFaults = []pathFault{
	{"cut", faultLasts, proxied(func(p *testenv.Path, t *testing.T) { p.Cut(t) })},
	{"hung proxy", faultLasts, proxied(func(p *testenv.Path, t *testing.T) { p.Hang(t) })},
	{"500 ms of latency", faultLasts, proxied(func(p *testenv.Path, t *testing.T) { p.Delay(t, 500*time.Millisecond, 0) })},
	{"10 KB/s", faultLasts, proxied(func(p *testenv.Path, t *testing.T) { p.Trickle(t, 10_000) })},
	{"black hole", faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		t.Helper()
		p := blackhole.New(t, upstream)
		return p.Addr(), p.Vanish, p.Heal
	}},
	{"black hole, and the connections dead", faultLasts, func(t *testing.T, upstream string) (string, func(), func()) {
		t.Helper()
		p := blackhole.New(t, upstream)
		return p.Addr(), p.Vanish, p.Forget
	}},
	{"connections dead at once", 0, func(t *testing.T, upstream string) (string, func(), func()) {
		t.Helper()
		p := blackhole.New(t, upstream)
		return p.Addr(), func() {}, p.Forget
	}},
}

func TestBackAfterAFaultOfAPath(t *testing.T) {
	for _, server := range []string{"nats", "redis"} {
		for _, fault := range pathFaults {
			t.Run(server+", "+fault.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, byID)
				cfg := r.config()
				var begin, end func()
				through := func(original string) string {
					u, err := url.Parse(original)
					require.NoError(t, err)
					u.Host, begin, end = fault.make(t, u.Host)
					return u.String()
				}
				if server == "nats" {
					cfg.JetStream = natsOver(t, through(r.js.Conn().ConnectedUrl()))
				} else {
					cfg.Store = redisOver(t, through(r.redis.URL))
				}
				start(t, cfg)
				r.caughtUp()
				begin()
				r.writeFor(fault.lasts)
				end()
				r.requireBack()
			})
		}
	}
}

// natsOver and redisOver are connections as the program makes them.
func natsOver(t *testing.T, addr string) jetstream.JetStream {
	t.Helper()
	closed := make(chan struct{})
	conn, err := nats.Connect(addr, append(network.NATSOptions(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}

func redisOver(t *testing.T, addr string) *cache.Redis {
	t.Helper()
	redis.SetLogger(quiet{})
	options, err := redis.ParseURL(addr)
	require.NoError(t, err)
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = time.Second, 1500*time.Millisecond, 1500*time.Millisecond
	options.MaxRetries, options.DialerRetries = 1, 1
	options.ContextTimeoutEnabled = true
	network.DialRedis(options)
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return cache.NewRedis(client, cache.DefaultPrefix)
}

// writeFor writes the log as cdc would, some times a second.
func (r *rig) writeFor(d time.Duration) {
	r.t.Helper()
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	for {
		select {
		case <-pace.C:
			r.update("1")
			r.watermark()
		case <-ctx.Done():
			return
		}
	}
}

// requireBack requires that what is written now is applied in time.
func (r *rig) requireBack() {
	r.t.Helper()
	began := time.Now()
	r.update("1")
	at := r.watermark()
	var s cache.State
	testenv.Eventually(r.t, 3*patience, func() (bool, string) {
		s, _ = r.state()
		return s.Sequence >= at && s.Session == r.session, fmt.Sprintf("the state is %v, the log ends at %d", s, at)
	})
	took := time.Since(began)
	r.t.Logf("BACK after %.2f s", took.Seconds())
	require.Less(r.t, took, back)
}

// Another stream takes the place of the one that everybody was connected to.
func TestStreamIsDeletedUnderItsEyes(t *testing.T) {
	r := newRig(t, byID)
	v := r.start()
	first := r.caughtUp()
	for i := range 3 {
		r.writeFor(200 * time.Millisecond)
		r.fill("old", "1", "2")
		require.NoError(t, r.js.DeleteStream(t.Context(), events.StreamName(source)))
		r.create()
		r.reset(fmt.Sprint("next", i))
		r.requireBack()
		s := r.caughtUp()
		require.NotEqual(t, first.Chain, s.Chain)
		first = s
		r.miss("2")
	}
	require.GreaterOrEqual(t, len(v.reasons()), 4)
}

// The connection to NATS breaks with messages on their way: they are lost, and the log has no gap.
func TestMessagesLostOnTheirWay(t *testing.T) {
	r := newRig(t, byID)
	u, err := url.Parse(r.js.Conn().ConnectedUrl())
	require.NoError(t, err)
	path := testenv.Toxiproxy(t).Proxy(t, "nats", u.Host)
	u.Host = path.Addr()
	cfg := r.config()
	cfg.JetStream = natsOver(t, u.String())
	v := start(t, cfg)
	first := r.caughtUp()
	r.fill("old", "2")
	for range 3 {
		path.Hang(t) // it swallows what comes, and at its end closes the connections
		r.writeFor(500 * time.Millisecond)
		path.Heal(t)
		r.requireBack()
	}
	require.Equal(t, first.Chain, r.caughtUp().Chain)
	require.Len(t, v.reasons(), 1)
	r.hit("2", "old")
}
