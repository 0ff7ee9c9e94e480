package servers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// NATSOptions say how to run an embedded NATS server with JetStream.
type NATSOptions struct {
	Dir          string        // store of JetStream
	Port         int           // on 127.0.0.1; 0 means a free one
	PortHint     string        // how to choose another port, for the message when it is taken
	SyncInterval time.Duration // how often the store is synced to disk; 0 means the server's default, 2 minutes
	SyncAlways   bool          // sync before each acknowledgement
	MaxStore     int64         // bytes that JetStream may store; 0 means what the server makes of the disk
	Log          *slog.Logger  // receives the server's log, notices as debug; nil discards it
}

// NATS is a NATS server in this process. Its methods may be called at once from several goroutines.
type NATS struct {
	options NATSOptions
	dir     string
	port    int

	change sync.Mutex // held by Stop and Restart from beginning to end
	mu     sync.Mutex // guards what follows
	live   *natsLife
	lock   *FolderLock
}

// natsLife is one server object: it cannot be started twice.
type natsLife struct {
	server *natsserver.Server
	log    *natsLog
	done   chan struct{}
}

// StartNATS starts a server in this process that also listens on 127.0.0.1, and returns when it accepts connections.
// It installs no signal handlers. ctx bounds the start only.
//
// Errors to match: ErrFolderInUse, ErrPortInUse.
func StartNATS(ctx context.Context, o NATSOptions) (*NATS, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &NATS{options: o}
	var err error
	if n.dir, err = cleanDir(o.Dir); err != nil {
		return nil, err
	}
	if n.port, err = choosePort("NATS", o.Port, o.PortHint); err != nil {
		return nil, fmt.Errorf("nats on %s: %w", o.Dir, err)
	}
	if err := n.begin(ctx); err != nil {
		return nil, fmt.Errorf("nats on %s: %w", o.Dir, err)
	}
	return n, nil
}

// begin takes the folder's lock and runs a server.
func (n *NATS) begin(ctx context.Context) error {
	lock, err := LockFolder(n.dir)
	if err != nil {
		return err
	}
	live, err := n.run(ctx)
	if err != nil {
		lock.Release()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live, n.lock = live, lock
	return nil
}

// run makes a server and waits until it is ready.
func (n *NATS) run(ctx context.Context) (*natsLife, error) {
	server, err := natsserver.NewServer(&natsserver.Options{
		ServerName:        "freshet",
		Host:              "127.0.0.1",
		Port:              n.port,
		JetStream:         true,
		StoreDir:          n.dir,
		SyncInterval:      n.options.SyncInterval,
		SyncAlways:        n.options.SyncAlways,
		JetStreamMaxStore: n.options.MaxStore,
		NoSigs:            true,
	})
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	live := &natsLife{server: server, log: &natsLog{to: n.options.Log}, done: make(chan struct{})}
	server.SetLoggerV2(live.log, false, false, false)
	go func() {
		defer close(live.done)
		server.Start()
		server.WaitForShutdown()
	}()
	for !server.ReadyForConnections(pollInterval) {
		if err := errors.Join(live.log.failure(), ctx.Err()); err != nil {
			live.end()
			return nil, fmt.Errorf("start: %w", err)
		}
	}
	return live, nil
}

// end shuts the server down; the store is synced and closed when it returns.
func (l *natsLife) end() {
	l.server.Shutdown()
	<-l.done
}

func (n *NATS) current() *natsLife {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live
}

// Stop shuts the server down and gives its folder up. Stopping twice is safe. The server cannot be hurried: when ctx
// ends first, Stop returns its error and the server goes on stopping.
func (n *NATS) Stop(ctx context.Context) error {
	n.change.Lock()
	defer n.change.Unlock()
	live := n.current()
	go live.server.Shutdown() // ends with done
	select {
	case <-live.done:
	case <-ctx.Done():
		return fmt.Errorf("nats did not stop in time: %w", ctx.Err())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lock.Release()
	n.lock = nil
	return nil
}

// Restart stops the server, unless it is stopped, and starts it again on the same port and store.
func (n *NATS) Restart(ctx context.Context) error {
	if err := n.Stop(ctx); err != nil {
		return err
	}
	n.change.Lock()
	defer n.change.Unlock()
	return n.begin(ctx)
}

// Done is closed when the server has shut down. Restart begins another life: ask again after it.
func (n *NATS) Done() <-chan struct{} { return n.current().done }

// Err is what the server gave up on, nil if it did not.
func (n *NATS) Err() error { return n.current().log.failure() }

// URL is the address for clients.
func (n *NATS) URL() string { return "nats://" + address(n.port) }

// Port is the port that the server listens on.
func (n *NATS) Port() int { return n.port }

// natsLog passes the server's log to slog. Its notices tell what an operator of a NATS server wants to know, which is
// more than a user of Freshet does: they are debug.
type natsLog struct {
	to *slog.Logger

	mu    sync.Mutex
	fatal error
}

func (l *natsLog) Noticef(format string, v ...any) { l.to.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *natsLog) Warnf(format string, v ...any)   { l.to.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l *natsLog) Errorf(format string, v ...any)  { l.to.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l *natsLog) Debugf(format string, v ...any)  { l.to.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *natsLog) Tracef(format string, v ...any)  { l.to.Debug("nats: " + fmt.Sprintf(format, v...)) }

// Fatalf remembers the first reason that the server gives for giving up. An embedded one does not end the process.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, v...)
	}
}

// failure is why the server gave up.
func (l *natsLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
