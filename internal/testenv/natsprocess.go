package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/servers"
)

const (
	natsServerProgram = "github.com/nats-io/nats-server/v2"
	// ballast is the file, or the stream, that fills a server's disk.
	ballast = "BALLAST"
	// ballastChunk is written at once while there is room for it, then less and less.
	ballastChunk = 512 << 10
)

// NATSProgram is a nats-server with JetStream of one test, in a process of its own: it can be killed.
//
// What becomes of the process is a matter of Server: Kill, Restart on the same port and store, Stop, PID.
type NATSProgram struct {
	URL    string
	Server *servers.NATSProcess

	disk int64 // size, 0 means all there is
	real bool  // the disk is a file system of its own
}

// NATSProcess starts nats-server for this test; edit may change how.
func NATSProcess(tb testing.TB, edit ...func(*servers.NATSProcessOptions)) *NATSProgram {
	tb.Helper()
	return startNATSProcess(tb, &NATSProgram{}, edit)
}

// NATSOnSmallDisk is NATSProcess with a store that has room for so many bytes, for tests that fill it. It is a file
// system of its own where the test may mount one (root, on Linux); for others JetStream is given that limit, which
// looks much the same to those who publish.
func NATSOnSmallDisk(tb testing.TB, bytes int64, edit ...func(*servers.NATSProcessOptions)) *NATSProgram {
	tb.Helper()
	return startNATSProcess(tb, &NATSProgram{disk: bytes}, edit)
}

func startNATSProcess(tb testing.TB, n *NATSProgram, edit []func(*servers.NATSProcessOptions)) *NATSProgram {
	tb.Helper()
	log := newOutput()
	log.showIfFailed(tb, "nats-server")
	options := servers.NATSProcessOptions{
		Program:  tool(tb, natsServerProgram, "nats-server"),
		Dir:      filepath.Join(dirFor(tb), "nats"),
		MaxStore: 4 << 30,
		Log:      log,
	}
	if n.disk > 0 {
		n.mount(tb, filepath.Join(options.Dir, "store"))
		if !n.real {
			options.MaxStore = n.disk
		}
	}
	for _, e := range edit {
		e(&options)
	}
	ctx, cancel := bounded(tb)
	defer cancel()
	server, err := servers.StartNATSProcess(ctx, options)
	if err != nil {
		tb.Fatalf("testenv: start nats-server: %v", err)
	}
	stopAtEnd(tb, "nats-server", server.Stop)
	n.URL, n.Server = server.URL(), server
	return n
}

// mount puts the store on a disk of its own, if we may.
func (n *NATSProgram) mount(tb testing.TB, store string) {
	tb.Helper()
	if err := os.MkdirAll(store, 0o755); err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	var err error
	if n.real, err = mountDisk(store, n.disk); err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	if n.real {
		tb.Cleanup(func() {
			if err := unmountDisk(store); err != nil {
				tb.Errorf("testenv: %v", err)
			}
		})
	}
}

// Conn is a new connection, closed at the end of the test. It reconnects for ever, quickly.
func (n *NATSProgram) Conn(tb testing.TB) *nats.Conn {
	tb.Helper()
	return natsConn(tb, n.URL)
}

// JetStream is JetStream on a new connection, closed at the end of the test.
func (n *NATSProgram) JetStream(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	return natsJetStream(tb, n.URL)
}

// Backup copies the store and returns the copy's folder. The server must be stopped: a copy of files that are being
// written would be a fault of another kind.
func (n *NATSProgram) Backup(tb testing.TB) string {
	tb.Helper()
	backup := filepath.Join(dirFor(tb), "store")
	if err := os.CopyFS(backup, os.DirFS(n.Server.StoreDir())); err != nil {
		tb.Fatalf("testenv: copy the store of NATS: %v", err)
	}
	return backup
}

// BackupRunning is Backup of a server that runs: it is held up meanwhile, in the middle of whatever it does. The copy is what a server
// that is killed now leaves behind.
func (n *NATSProgram) BackupRunning(tb testing.TB) string {
	tb.Helper()
	signal := func(sig syscall.Signal) {
		if err := syscall.Kill(n.Server.PID(), sig); err != nil {
			tb.Fatalf("testenv: nats-server: %v: %v", sig, err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	return n.Backup(tb)
}

// Restore replaces the store by a copy that Backup made. The server must be stopped or killed.
func (n *NATSProgram) Restore(tb testing.TB, backup string) {
	tb.Helper()
	store := n.Server.StoreDir()
	// The folder itself stays: a disk may be mounted on it.
	entries, err := os.ReadDir(store)
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(store, e.Name())); err != nil {
			tb.Fatalf("testenv: clear the store of NATS: %v", err)
		}
	}
	if err := os.CopyFS(store, os.DirFS(backup)); err != nil {
		tb.Fatalf("testenv: restore the store of NATS: %v", err)
	}
}

// RealDisk tells whether FillDisk makes writes to the disk fail. If not it exhausts JetStream's own limit.
func (n *NATSProgram) RealDisk() bool { return n.real }

// FillDisk leaves no room on the small disk. On a real one a stream that fails to write gives its publishers no answer
// any more, also after FreeDisk, until the server is restarted; at JetStream's own limit publishers get an error, and
// FreeDisk is enough.
func (n *NATSProgram) FillDisk(tb testing.TB) {
	tb.Helper()
	fill := n.fillLimit
	if n.real {
		fill = n.fillFile
	} else if n.disk == 0 {
		tb.Fatalf("testenv: FillDisk needs NATSOnSmallDisk")
	}
	if err := fill(tb); err != nil {
		tb.Fatalf("testenv: fill the disk of NATS: %v", err)
	}
}

// FreeDisk takes away what FillDisk put there.
func (n *NATSProgram) FreeDisk(tb testing.TB) {
	tb.Helper()
	var err error
	if n.real {
		err = os.Remove(n.ballastFile())
	} else {
		ctx, cancel := bounded(tb)
		defer cancel()
		err = n.JetStream(tb).DeleteStream(ctx, ballast)
	}
	if err != nil {
		tb.Fatalf("testenv: free the disk of NATS: %v", err)
	}
}

// ballastFile lies in the root of the store, which the server does not look at.
func (n *NATSProgram) ballastFile() string { return filepath.Join(n.Server.StoreDir(), ballast) }

// fillFile writes a file until there is no room for one more byte.
func (n *NATSProgram) fillFile(tb testing.TB) error {
	tb.Helper()
	file, err := os.Create(n.ballastFile())
	if err != nil {
		return err
	}
	chunk := make([]byte, ballastChunk)
	for len(chunk) > 0 {
		_, err := file.Write(chunk)
		if errors.Is(err, syscall.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
			continue
		}
		if err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return file.Close()
}

// fillLimit publishes to a stream of its own until JetStream refuses the smallest message.
func (n *NATSProgram) fillLimit(tb testing.TB) error {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	js := n.JetStream(tb)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: ballast, Subjects: []string{ballast}}); err != nil {
		return err
	}
	chunk := make([]byte, ballastChunk)
	for len(chunk) > 0 {
		_, err := js.Publish(ctx, ballast, chunk)
		if refused := new(jetstream.APIError); errors.As(err, &refused) {
			chunk = chunk[:len(chunk)/2]
			continue
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
