package testenv

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/servers"
)

// reconnectWait is short: a test that restarts its server is waiting.
const reconnectWait = 10 * time.Millisecond

// NATSServer is a NATS server with JetStream of one test.
type NATSServer struct {
	URL    string
	Server *servers.NATS
}

// NATS starts a NATS server for this test, in this process; edit may change how.
func NATS(tb testing.TB, edit ...func(*servers.NATSOptions)) *NATSServer {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	log := newOutput()
	log.showIfFailed(tb, "NATS")
	options := servers.NATSOptions{
		Dir:      filepath.Join(dirFor(tb), "nats"),
		MaxStore: 4 << 30,
		Log:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, e := range edit {
		e(&options)
	}
	server, err := servers.StartNATS(ctx, options)
	if err != nil {
		tb.Fatalf("testenv: start NATS: %v", err)
	}
	stopAtEnd(tb, "NATS", server.Stop)
	return &NATSServer{URL: server.URL(), Server: server}
}

// Conn is a new connection, closed at the end of the test. It reconnects for ever, quickly.
func (n *NATSServer) Conn(tb testing.TB) *nats.Conn {
	tb.Helper()
	return natsConn(tb, n.URL)
}

// JetStream is JetStream on a new connection, closed at the end of the test.
func (n *NATSServer) JetStream(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	return natsJetStream(tb, n.URL)
}

// natsConn is Conn for an address.
func natsConn(tb testing.TB, url string) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		tb.Fatalf("testenv: connect to NATS: %v", err)
	}
	tb.Cleanup(func() {
		conn.Close()
		<-closed // the last of its goroutines calls it
	})
	return conn
}

// natsJetStream is JetStream for an address.
func natsJetStream(tb testing.TB, url string) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(natsConn(tb, url))
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	return js
}
