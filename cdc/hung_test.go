package cdc_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/internal/testenv"
)

// hanging is a proxy in front of Postgres that stops passing on what its connections say, for ever, while it keeps them and goes on
// acknowledging: TCP finds nothing wrong. New connections work.
type hanging struct {
	listener net.Listener
	upstream string
	log      string // of connections for replication, if not upstream
	all      sync.WaitGroup

	mu    sync.Mutex
	links []*link
}

type link struct {
	replication    bool
	client, server net.Conn

	mu   sync.Mutex
	hung bool
}

func newHanging(t *testing.T, upstream string) *hanging {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &hanging{listener: listener, upstream: upstream}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close() // accept ends
		p.mu.Lock()
		for _, l := range p.links {
			_, _ = l.client.Close(), l.server.Close() // copying ends
		}
		p.mu.Unlock()
		p.all.Wait()
	})
	return p
}

// hang hangs the connections that there are, or only those for replication.
func (p *hanging) hang(onlyReplication bool) (hung int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if l.replication || !onlyReplication {
			l.mu.Lock()
			l.hung = true
			l.mu.Unlock()
			hung++
		}
	}
	return hung
}

func (p *hanging) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		// The first message names the parameters of the session.
		startup := make([]byte, 4096)
		n, err := client.Read(startup)
		if err != nil {
			_ = client.Close() // it has ended already
			continue
		}
		l := &link{client: client, replication: bytes.Contains(startup[:n], []byte("replication\x00"))}
		upstream := p.upstream
		if l.replication && p.log != "" {
			upstream = p.log
		}
		if l.server, err = net.Dial("tcp", upstream); err != nil {
			_ = client.Close() // as if nobody had listened
			continue
		}
		if _, err = l.server.Write(startup[:n]); err != nil {
			_, _ = client.Close(), l.server.Close()
			continue
		}
		p.mu.Lock()
		p.links = append(p.links, l)
		p.mu.Unlock()
		p.all.Go(func() { l.copy(l.server, client) })
		p.all.Go(func() { l.copy(client, l.server) })
	}
}

func (l *link) copy(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		hung := l.hung
		l.mu.Unlock()
		switch {
		case hung && err == nil: // swallowed
		case hung:
			return // the other side does not hear of it
		case err == nil:
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close() // whatever it was, both have an end
			return
		}
	}
}

// awaitFarewells waits, when everything else of the test has ended, until the driver has parted from the connections that it gave
// up: it tells the server in the background (asyncClose in pgconn), which takes a while where nobody answers.
func awaitFarewells(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		stacks := make([]byte, 4<<20)
		testenv.Eventually(t, patience, func() (bool, string) {
			all := stacks[:runtime.Stack(stacks, true)]
			return !bytes.Contains(all, []byte("(*PgConn).asyncClose")), "the driver still parts from connections"
		})
	})
}

// lines is a log that can be looked through.
type lines struct {
	out io.Writer
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(b)
	return l.out.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A connection that neither ends nor says anything is given up, and what the server keeps for it is taken from it: the slot.
func TestConnectionsThatHang(t *testing.T) {
	for _, tt := range []struct {
		name            string
		onlyReplication bool
		hung            int
		want            string
		within          time.Duration
	}{
		// The barrier asks once a second and is not answered; then the slot still has its walsender.
		{"all of them", false, 3, "it was ended", 5 * time.Second},
		// The walsender is asked for a sign of life first.
		{"only that of the replication", true, 1, "the walsender has been silent", 8 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			awaitFarewells(t)
			h := newHarness(t, testenv.Postgres(t))
			u, err := url.Parse(h.cfg.DatabaseURL)
			require.NoError(t, err)
			proxy := newHanging(t, u.Host)
			u.Host = proxy.listener.Addr().String()
			log := &lines{out: testWriter{t}}
			c := h.run(t, func(c *cdc.Config) {
				c.DatabaseURL = u.String()
				c.Log = slog.New(slog.NewTextHandler(log, nil))
			})
			c.awaitStreaming()
			h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
			h.publish(t, "t")
			h.reader(t).watermark(h.position(t))
			require.Equal(t, tt.hung, proxy.hang(tt.onlyReplication))
			began := time.Now()
			c.awaitStreaming()
			h.db.Exec(t, "INSERT INTO t VALUES (1)")
			h.reader(t).watermark(h.position(t))
			took := time.Since(began)
			t.Logf("BACK after %.2f s", took.Seconds())
			require.Less(t, took, tt.within)
			require.Contains(t, log.String(), tt.want)
		})
	}
}

// An idle database is no dead connection: the walsender answers.
func TestSilenceOfAnIdleDatabase(t *testing.T) {
	t.Parallel()
	h := newHarness(t, testenv.Postgres(t))
	c := h.run(t)
	c.awaitStreaming()
	r := h.reader(t)
	for range 8 { // one a second
		r.next()
	}
	require.Empty(t, c.streaming, "the session began anew")
}
