package testenv

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"freshet/internal/servers/child"
)

// Process is a program that a test runs.
type Process struct {
	name string
	proc *child.Process
	out  *output
	seen int // output that WaitForLine has passed
}

// StartProcess runs a program with arguments; env ("NAME=value") is added to the test's own environment. What it prints
// is shown if the test fails. It is killed at the end of the test, and when the test itself is killed.
func StartProcess(tb testing.TB, name string, env []string, args ...string) *Process {
	tb.Helper()
	out := newOutput()
	out.showIfFailed(tb, name)
	proc, err := child.Start(child.Options{Path: name, Args: args, Env: append(os.Environ(), env...), Out: out})
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	p := &Process{name: name, proc: proc, out: out}
	tb.Cleanup(p.Kill)
	return p
}

// PID is its process id.
func (p *Process) PID() int { return p.proc.PID() }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.proc.Done() }

// ExitCode is its exit status; -1 while it runs, and after a signal that ended it.
func (p *Process) ExitCode() int { return p.proc.ExitCode() }

// Output is all that it has printed so far, standard output and standard error.
func (p *Process) Output() string {
	text, _, _ := p.out.from(0)
	return text
}

// Signal sends a signal; to a program that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) { _ = p.proc.Signal(sig) }

// Kill sends SIGKILL and waits until the program is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.proc.Done()
}

// Wait waits until the program has ended. The error is nil for status 0, a *child.ExitError for others, and that of
// ctx if it ends first; the program then runs on.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.proc.Done():
		return p.proc.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitForLine waits for a line that contains the text and returns it. It goes on after the line that the last call
// returned, so that the same text can be waited for again. The test fails if the program ends without it, or the time
// is over. One goroutine at a time.
func (p *Process) WaitForLine(tb testing.TB, text string, timeout time.Duration) string {
	tb.Helper()
	over := time.NewTimer(timeout)
	defer over.Stop()
	ended := false
	for {
		printed, end, more := p.out.from(p.seen)
		if found, rest, ok := cutLine(printed, text); ok {
			p.seen = end - len(rest)
			return found
		}
		if ended {
			tb.Fatalf("testenv: %s ended without printing %q: %v", p.name, text, p.proc.Err())
		}
		select {
		case <-more:
		case <-p.proc.Done():
			ended = true // one more look: its last lines may have come just before
		case <-over.C:
			tb.Fatalf("testenv: %s did not print %q within %v", p.name, text, timeout)
		}
	}
}
