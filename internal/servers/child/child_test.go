package child

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// helperVariable makes this binary start a child, tell its pid and wait to be killed.
const helperVariable = "FRESHET_CHILD_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		p, err := Start(Options{Path: "sh", Args: []string{"-c", "while :; do sleep 60; done"}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// output is a writer that tells when a text has been written.
type output struct {
	mu     sync.Mutex
	text   strings.Builder
	want   string
	signal chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := strings.Contains(o.text.String(), o.want)
	o.text.Write(b)
	if !before && strings.Contains(o.text.String(), o.want) {
		close(o.signal)
	}
	return len(b), nil
}

func start(t *testing.T, script, want string) *Process {
	t.Helper()
	out := &output{want: want, signal: make(chan struct{})}
	p, err := Start(Options{Path: "sh", Args: []string{"-c", script}, Out: out})
	require.NoError(t, err)
	<-out.signal
	return p
}

func TestExitErrorShowsTheLastLines(t *testing.T) {
	p := start(t, "for i in $(seq 3000); do echo line $i; done; exit 7", "line 3000")
	<-p.Done()
	exit := &ExitError{}
	require.ErrorAs(t, p.Err(), &exit)
	require.Equal(t, 7, p.ExitCode())
	require.True(t, strings.HasSuffix(exit.Tail, "line 2999\nline 3000"), exit.Tail)
	require.ErrorContains(t, exit, "sh ended: exit status 7; its last lines:\n")
	require.NoError(t, p.Stop(t.Context(), syscall.SIGTERM, syscall.SIGKILL), "stopping what has ended is safe")
}

func TestStartFailsForAMissingProgram(t *testing.T) {
	_, err := Start(Options{Path: "/no/such/program"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestStop(t *testing.T) {
	t.Run("a gentle signal is enough", func(t *testing.T) {
		p := start(t, "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", "up")
		require.Equal(t, -1, p.ExitCode())
		require.NoError(t, p.Stop(t.Context(), syscall.SIGTERM, syscall.SIGKILL))
		require.NoError(t, p.Err())
		require.Zero(t, p.ExitCode())
	})
	t.Run("a harsh one follows when the time is over", func(t *testing.T) {
		p := start(t, "trap '' TERM; echo up; while :; do sleep 0.01; done", "up")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, p.Stop(ctx, syscall.SIGTERM, syscall.SIGKILL), context.DeadlineExceeded)
		require.Error(t, p.Err())
	})
	t.Run("a paused child stops too", func(t *testing.T) {
		p := start(t, "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", "up")
		require.NoError(t, p.Signal(syscall.SIGSTOP))
		require.NoError(t, p.Stop(t.Context(), syscall.SIGTERM, syscall.SIGKILL))
	})
}
