// Package child runs programs as child processes that do not outlive this process.
//
// It owns three things that os/exec leaves to its users: the child ends when this process ends, however that happens
// (on Linux, where the kernel can be asked for it); the child is out of reach of a Ctrl-C in the terminal, so that its
// owner decides the order in which things stop; and the last lines that it printed are part of its exit error.
//
// It must never know which program it runs: what means "ready" or "stop" belongs to the caller.
package child

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// outputDelay bounds the wait for the output of a child that has exited: grandchildren may hold its pipe open.
	outputDelay = time.Second
	// killDelay is how long a child has for a harsh signal before it gets SIGKILL.
	killDelay = 5 * time.Second
)

// Options say what to run.
type Options struct {
	Path string    // program; looked up in PATH if it has no slash
	Args []string  // arguments, without the program's name
	Env  []string  // whole environment; nil means that of this process
	Dir  string    // working folder; empty means that of this process
	As   *Account  // account to run as; nil means that of this process
	Out  io.Writer // receives standard output and standard error; nil discards them

	// DeathSignal is what the child gets from the kernel when this process dies (Linux only); 0 means SIGKILL.
	DeathSignal syscall.Signal
}

// Account is a user of the operating system.
type Account struct {
	Name     string
	UID, GID uint32
}

// Process is a child process that was started.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{}
	err  error // set before done is closed
}

// ExitError says that a child ended other than by status 0, with the last lines that it printed.
type ExitError struct {
	Name string // program
	Tail string // its last lines, may be empty
	Err  error  // usually an *exec.ExitError
}

// Error names the program, its status and its last lines.
func (e *ExitError) Error() string {
	if e.Tail == "" {
		return fmt.Sprintf("%s ended: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("%s ended: %v; its last lines:\n%s", e.Name, e.Err, e.Tail)
}

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Start runs a program. The child is waited for in the background, until Done.
func Start(o Options) (*Process, error) {
	if o.DeathSignal == 0 {
		o.DeathSignal = syscall.SIGKILL
	}
	tail := &tail{next: o.Out}
	cmd := exec.Command(o.Path, o.Args...) //nolint:noctx // Stop ends its life, in the way that it wants, not a context
	cmd.Env, cmd.Dir = o.Env, o.Dir
	cmd.Stdout, cmd.Stderr = tail, tail
	cmd.WaitDelay = outputDelay
	cmd.SysProcAttr = attributes(o)

	p := &Process{name: filepath.Base(o.Path), cmd: cmd, tail: tail, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// run starts the child and waits for it, both on one thread: the death signal of prctl(2) is sent when the thread that
// forked ends, not the process, and Go ends threads that it has no use for.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	if err := p.cmd.Wait(); err != nil {
		p.err = p.ExitError(err)
	}
	close(p.done)
}

// PID is the process id of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal. A child that has ended gives os.ErrProcessDone.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Done is closed when the child has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil until Done, and for a child that ended with status 0; otherwise it is an *ExitError.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// ExitError makes an *ExitError of a cause that only the caller knows.
func (p *Process) ExitError(cause error) error {
	return &ExitError{Name: p.name, Tail: p.Tail(), Err: cause}
}

// ExitCode is the child's exit status; -1 while it runs, and for one that a signal ended.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Tail is the last lines that the child has printed, joined by newlines.
func (p *Process) Tail() string { return p.tail.String() }

// Stop asks the child to end with the gentle signal and waits for that. When ctx ends first the child gets the harsh
// signal, a few seconds later SIGKILL, and the error wraps that of ctx. The child has ended when Stop returns; how it
// ended is what Err says. Stopping twice is safe.
func (p *Process) Stop(ctx context.Context, gentle, harsh syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.send(gentle)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.send(harsh)
	kill := time.NewTimer(killDelay)
	defer kill.Stop()
	select {
	case <-p.done:
	case <-kill.C:
		p.send(syscall.SIGKILL)
		<-p.done
	}
	return fmt.Errorf("%s did not stop in time and was ended by %v: %w", p.name, harsh, ctx.Err())
}

// send signals the child and wakes it if it is paused: a paused process acts on no signal but SIGKILL. An error means
// that it has just ended, which the caller sees on done.
func (p *Process) send(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
}
