package network

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// natsTimeout bounds the greeting of a new connection, TLS included.
	natsTimeout = 3 * time.Second
	// natsPing is the time between two pings; the connection is given up when natsPings of them are not answered, and the next is due.
	natsPing  = time.Second
	natsPings = 2
	// natsWrite bounds a write that the server, or the path to it, does not take. It must be shorter than what the pings allow: they
	// have to wait for it.
	natsWrite = 3 * time.Second
)

// NATSOptions make a connection notice within about 4 seconds that it is dead, and then try for ever to be made again, some times a
// second. Nothing is buffered meanwhile: a publish without a connection fails at once.
func NATSOptions() []nats.Option {
	return []nats.Option{
		nats.Timeout(natsTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(natsPing),
		nats.MaxPingsOutstanding(natsPings),
		nats.FlusherTimeout(natsWrite),
		nats.SetCustomDialer(natsDialer{}),
	}
}

type natsDialer struct{}

// Dial connects.
func (natsDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := Dialer().DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return allOrNothing{conn}, nil
}

// allOrNothing is a connection that ends with the first write that fails. A part of it may have been sent, and the client goes on
// with other messages (natsWriter in nats.go): the server would take their beginnings for the rest.
type allOrNothing struct{ net.Conn }

// Write writes all of b, or ends the connection.
func (c allOrNothing) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close() // it failed; the error tells
	}
	return n, err
}

// ErrNATSLost says that there is no connection to NATS.
var ErrNATSLost = errors.New("there is no connection to NATS")

// WhileConnected returns a context that ends, with ErrNATSLost as its cause, when the connection to NATS is lost: what was asked over
// it before will not be answered. Call stop when that does not matter any more.
func WhileConnected(ctx context.Context, conn *nats.Conn) (connected context.Context, stop func()) {
	connected, cancel := context.WithCancelCause(ctx)
	lost := conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	if !conn.IsConnected() { // it was lost before
		cancel(ErrNATSLost)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-lost:
			cancel(ErrNATSLost)
		case <-connected.Done():
		}
	})
	return connected, func() {
		cancel(nil)
		conn.RemoveStatusListener(lost)
		watching.Wait()
	}
}
