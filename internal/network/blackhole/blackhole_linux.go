// Package blackhole is a path to a server on which packets can vanish, for tests: no byte passes, nothing is acknowledged, and nobody
// is told. That is what a network does that breaks down, or a firewall that has lost its state, and what a proxy cannot imitate, as
// its end of a connection goes on acknowledging. The kernel drops what arrives at a socket with a filter that accepts nothing
// (socket(7), SO_ATTACH_FILTER), before TCP sees it.
package blackhole

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Path leads from Addr to a server.
type Path struct {
	tb       testing.TB
	upstream string
	listener *net.TCPListener
	all      sync.WaitGroup

	mu     sync.Mutex
	change sync.Cond
	gone   bool
	closed bool
	pairs  []*pair
}

// pair is a connection: its two halves.
type pair struct {
	client, server *net.TCPConn
	dead           bool
}

// New makes a path to the server at upstream, host:port.
func New(tb testing.TB, upstream string) *Path {
	tb.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false) // its sockets have no filters
	listener, err := config.Listen(tb.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("blackhole: %v", err)
	}
	p := &Path{tb: tb, upstream: upstream, listener: listener.(*net.TCPListener)}
	p.change.L = &p.mu
	p.all.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is where clients connect: host:port.
func (p *Path) Addr() string { return p.listener.Addr().String() }

// Vanish lets all packets vanish from now on, also those that ask for a new connection.
func (p *Path) Vanish() { p.set(true, false) }

// Heal lets packets pass again. Connections that nobody has given up go on.
func (p *Path) Heal() { p.set(false, false) }

// Forget makes the connections that there are dead for ever; new ones work.
func (p *Path) Forget() { p.set(false, true) }

func (p *Path) set(gone, forget bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = gone
	filter(p.tb, p.listener, gone)
	for _, c := range p.pairs {
		c.dead = c.dead || forget
		for _, half := range []*net.TCPConn{c.client, c.server} {
			drop := gone || c.dead
			if drop {
				flush(half)
			}
			filter(p.tb, half, drop)
		}
	}
	p.change.Broadcast()
}

// flush waits a little until what was sent is acknowledged: the kernel would send it again and again, and whoever gets something is
// not alone. A socket that is closed, or whose other side does not listen any more, is left as it is.
func flush(socket syscall.Conn) {
	const tries = 100
	conn, err := socket.SyscallConn()
	if err != nil {
		return
	}
	for range tries {
		var left int32
		err := conn.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&left))) // fails: left is 0
		})
		if err != nil || left == 0 {
			return
		}
		<-time.After(time.Millisecond)
	}
}

func (p *Path) close() {
	_ = p.listener.Close() // accept ends
	p.mu.Lock()
	p.closed = true
	for _, c := range p.pairs {
		_, _ = c.client.Close(), c.server.Close() // copying ends
	}
	p.change.Broadcast()
	p.mu.Unlock()
	p.all.Wait()
}

func (p *Path) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
		if err != nil {
			_ = client.Close() // as if nobody had listened
			continue
		}
		c := &pair{client: client, server: server.(*net.TCPConn)}
		p.mu.Lock()
		p.pairs = append(p.pairs, c)
		if p.gone {
			filter(p.tb, c.client, true)
			filter(p.tb, c.server, true)
		}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			_, _ = c.client.Close(), c.server.Close() // too late
			return
		}
		p.all.Go(func() { p.copy(c, c.client, c.server) })
		p.all.Go(func() { p.copy(c, c.server, c.client) })
	}
}

// copy passes on what comes, while packets pass. An end passes too.
func (p *Path) copy(c *pair, to, from *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !p.pass(c) {
			return
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close() // whatever it was, both have an end
			return
		}
	}
}

// pass waits until packets of the connection pass; false if they never will.
func (p *Path) pass(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.gone || c.dead) && !p.closed {
		p.change.Wait()
	}
	return !p.closed
}

// filter makes the kernel drop what arrives at the socket, or not any more. A socket that is closed is left alone.
func filter(tb testing.TB, socket syscall.Conn, drop bool) {
	tb.Helper()
	conn, err := socket.SyscallConn()
	if err != nil {
		tb.Fatalf("blackhole: %v", err)
	}
	_ = conn.Control(func(fd uintptr) { // fails if it is closed
		if drop {
			err = syscall.AttachLsf(int(fd), []syscall.SockFilter{*syscall.LsfStmt(syscall.BPF_RET+syscall.BPF_K, 0)}) //nolint:staticcheck // one filter that drops all: no package for that
		} else if err = syscall.DetachLsf(int(fd)); errors.Is(err, syscall.ENOENT) { //nolint:staticcheck // as above
			err = nil // there was none
		}
	})
	if err != nil {
		tb.Errorf("blackhole: filter a socket: %v", err)
	}
}
