package servers

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"freshet/internal/servers/child"
)

// NATSProcessOptions say how to run nats-server with JetStream as a process of its own.
type NATSProcessOptions struct {
	Program      string        // path of nats-server
	Dir          string        // folder of its configuration and of its store
	Port         int           // on 127.0.0.1; 0 means a free one
	PortHint     string        // how to choose another port, for the message when it is taken
	SyncInterval time.Duration // how often the store is synced to disk; 0 means the server's default, 2 minutes
	SyncAlways   bool          // sync before each acknowledgement
	MaxStore     int64         // bytes that JetStream may store; 0 means what the server makes of the disk
	Log          io.Writer     // receives the server's log; nil discards it
}

// NATSProcess is a nats-server that can be killed, which NATS, who lives in this process, cannot.
type NATSProcess struct {
	server
	options NATSProcessOptions
	port    int
}

// StartNATSProcess starts nats-server and returns when it accepts connections, with JetStream recovered from its store.
// ctx bounds the start only.
//
// Errors to match: ErrFolderInUse, ErrPortInUse, *child.ExitError.
func StartNATSProcess(ctx context.Context, o NATSProcessOptions) (*NATSProcess, error) {
	n := &NATSProcess{options: o}
	var err error
	if n.dir, err = cleanDir(o.Dir); err != nil {
		return nil, err
	}
	if n.lock, err = LockFolder(n.dir); err != nil {
		return nil, err
	}
	if err := n.prepare(ctx); err != nil {
		n.lock.Release()
		return nil, fmt.Errorf("nats-server on %s: %w", o.Dir, err)
	}
	n.launch = n.run
	n.gentle, n.harsh, n.crash = syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL
	if err := n.begin(ctx); err != nil {
		return nil, fmt.Errorf("nats-server on %s: %w", o.Dir, err)
	}
	return n, nil
}

// prepare makes the folders, stops what a killed process left there, finds the port and writes the configuration.
func (n *NATSProcess) prepare(ctx context.Context) error {
	if err := os.MkdirAll(n.StoreDir(), 0o755); err != nil {
		return fmt.Errorf("make the folder of the store: %w", err)
	}
	left := leftover{
		pidFile:  filepath.Join(n.dir, "nats.pid"),
		programs: []string{filepath.Base(n.options.Program)},
		dir:      n.dir,
		marks:    []string{n.configFile()},
		gentle:   syscall.SIGTERM,
		harsh:    syscall.SIGKILL,
	}
	if err := left.stop(ctx); err != nil {
		return err
	}
	var err error
	if n.port, err = choosePort("NATS", n.options.Port, n.options.PortHint); err != nil {
		return err
	}
	if err := os.WriteFile(n.configFile(), []byte(n.config()), 0o644); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// config is the configuration: JetStream's sync interval and limit have no flag.
func (n *NATSProcess) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: freshet\nlisten: %q\n", address(n.port))
	fmt.Fprintf(&b, "pid_file: %q\nports_file_dir: %q\n", filepath.Join(n.dir, "nats.pid"), n.dir)
	fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n", n.StoreDir())
	if n.options.MaxStore > 0 {
		fmt.Fprintf(&b, "  max_file_store: %d\n", n.options.MaxStore)
	}
	switch {
	case n.options.SyncAlways:
		b.WriteString("  sync_interval: always\n")
	case n.options.SyncInterval > 0:
		fmt.Fprintf(&b, "  sync_interval: %q\n", n.options.SyncInterval.String())
	}
	b.WriteString("}\n")
	return b.String()
}

// run starts the process and waits until it accepts connections.
func (n *NATSProcess) run(ctx context.Context) (*child.Process, error) {
	proc, err := child.Start(child.Options{
		Path:        n.options.Program,
		Args:        []string{"--config", n.configFile()},
		Dir:         n.dir,
		Out:         n.options.Log,
		DeathSignal: syscall.SIGKILL,
	})
	if err != nil {
		return nil, err
	}
	// The server writes this file once its listeners are there (logPorts in its server.go). Its name has the process's
	// id: what a killed server left behind is not taken for it.
	ports := filepath.Join(n.dir, filepath.Base(n.options.Program)+"_"+strconv.Itoa(proc.PID())+".ports")
	return proc, awaitReady(ctx, proc, func(ctx context.Context) (bool, error) {
		return n.accepts(ctx, ports), nil
	})
}

// accepts tells whether the file says that the server listens, and it does.
func (n *NATSProcess) accepts(ctx context.Context, ports string) bool {
	if _, err := os.Stat(ports); err != nil {
		return false
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.Addr())
	if err != nil {
		return false
	}
	_ = conn.Close() // it only showed that somebody listens
	return true
}

func (n *NATSProcess) configFile() string { return filepath.Join(n.dir, "nats.conf") }

// URL is the address for clients.
func (n *NATSProcess) URL() string { return "nats://" + n.Addr() }

// Addr is host and port.
func (n *NATSProcess) Addr() string { return address(n.port) }

// Port is the port that the server listens on.
func (n *NATSProcess) Port() int { return n.port }

// StoreDir is the folder of JetStream's store. Its content may be changed while the server is stopped or killed.
func (n *NATSProcess) StoreDir() string { return filepath.Join(n.dir, "store") }
