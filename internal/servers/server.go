// Package servers starts and stops private Postgres, Redis and NATS servers: those of `freshet dev` and of the tests.
//
// A server listens on 127.0.0.1 only, keeps its data in one folder, belongs to the process that started it and ends
// with it, even if that process is killed. Starting fails fast, in one clear line, when a program is missing, the
// folder belongs to a live process or the port is taken; a server that a killed process left behind is stopped first.
//
// The package must never touch a server that it did not start on its own folder: what runs on a port or in a folder of
// somebody else is an error, never a thing to be stopped.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"freshet/internal/servers/child"
)

// killPatience is how long Kill waits for a server's immediate shutdown before it sends SIGKILL.
const killPatience = 10 * time.Second

// errStatusZero is the cause when a server that nobody stopped ends as if it had been.
var errStatusZero = errors.New("exit status 0")

// server is the life of one child process on one folder: what Postgres and Redis have in common.
// Its methods may be called at once from several goroutines.
type server struct {
	dir    string // as the caller named it; the lock is beside it
	launch func(context.Context) (*child.Process, error)
	// gentle ends it in order, harsh at once, crash as a crash would.
	gentle, harsh, crash syscall.Signal

	change sync.Mutex // held by Stop, Kill and Restart from beginning to end
	mu     sync.Mutex // guards what follows
	proc   *child.Process
	asked  bool // proc was told to end: that it ended is no error
	lock   *FolderLock
}

// begin takes the folder's lock, if it is not held, and launches the process.
func (s *server) begin(ctx context.Context) error {
	if s.lock == nil {
		lock, err := LockFolder(s.dir)
		if err != nil {
			return err
		}
		s.lock = lock
	}
	proc, err := s.launch(ctx)
	if err != nil {
		s.lock.Release()
		s.lock = nil
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.asked = proc, false
	return nil
}

// current is the process, and marks it as asked to end if the caller is about to do that.
func (s *server) current(asked bool) *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = s.asked || asked
	return s.proc
}

// PID is the server's process id.
func (s *server) PID() int { return s.current(false).PID() }

// Signal sends the server a signal; SIGSTOP and SIGCONT pause it and let it go on.
func (s *server) Signal(sig syscall.Signal) error { return s.current(false).Signal(sig) }

// Done is closed when the server has ended, for whatever reason. Restart begins another life: ask again after it.
func (s *server) Done() <-chan struct{} { return s.current(false).Done() }

// Err is nil while the server runs and after Stop or Kill. If it ended by itself it says how, with the last lines of
// its log.
func (s *server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.proc.Done():
	default:
		return nil
	}
	if s.asked {
		return nil
	}
	if err := s.proc.Err(); err != nil {
		return err
	}
	// Postgres does that after an immediate shutdown.
	return s.proc.ExitError(errStatusZero)
}

// Wait blocks until the server has ended and returns Err.
func (s *server) Wait() error {
	<-s.Done()
	return s.Err()
}

// Stop shuts the server down in order, so that nothing is lost and no recovery is needed, and gives its folder up.
// When ctx ends first the server is ended at once, and the error wraps that of ctx. Stopping twice is safe.
func (s *server) Stop(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	err := s.current(true).Stop(ctx, s.gentle, s.harsh)
	s.lock.Release()
	s.lock = nil
	return err
}

// Kill ends the server as a crash would and waits until it is gone. Its folder stays reserved for Restart.
func (s *server) Kill() error {
	s.change.Lock()
	defer s.change.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	return s.current(true).Stop(ctx, s.crash, syscall.SIGKILL)
}

// Restart stops the server in order, unless it has ended already, and starts it again on the same folder and port.
func (s *server) Restart(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	if err := s.current(true).Stop(ctx, s.gentle, s.harsh); err != nil {
		return err
	}
	return s.begin(ctx)
}

// awaitReady polls until the process answers. If that fails the process is gone when awaitReady returns.
func awaitReady(ctx context.Context, proc *child.Process, ready func(context.Context) (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := ready(ctx)
		if ok {
			return nil
		}
		if err != nil {
			return errors.Join(err, proc.Stop(ctx, syscall.SIGQUIT, syscall.SIGQUIT))
		}
		select {
		case <-proc.Done():
			if err := proc.Err(); err != nil {
				return err
			}
			return proc.ExitError(errStatusZero)
		case <-ctx.Done():
			_ = proc.Stop(ctx, syscall.SIGQUIT, syscall.SIGQUIT) // its error is that of ctx
			return fmt.Errorf("not ready in time: %w; its last lines:\n%s", ctx.Err(), proc.Tail())
		case <-tick.C:
		}
	}
}

// cleanDir is dir without symbolic links above it, so that one folder has one name.
func cleanDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("a server needs a folder for its data")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder %s: %w", dir, err)
	}
	parent := filepath.Dir(abs)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", dir, err)
	}
	if parent, err = filepath.EvalSymlinks(parent); err != nil {
		return "", fmt.Errorf("folder %s: %w", dir, err)
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
