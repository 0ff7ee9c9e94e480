package servers

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// startTime bounds the start or stop of a server on a machine that is busy.
const startTime = time.Minute

// TestMain runs this binary as the helper that a test kills, if asked to; otherwise the tests.
func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		if err := runHelper(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// testContext bounds a test's use of servers; unlike t.Context it lives until the cleanups are done.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	t.Cleanup(cancel)
	return ctx
}

// testDir is a folder that Postgres's user can enter.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := MkdirTemp("freshet-servers-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// stopper is what the three servers have in common.
type stopper interface {
	Stop(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// stopAtEnd stops a server at the end of the test.
func stopAtEnd(t *testing.T, s stopper) {
	t.Helper()
	t.Cleanup(func() {
		require.NoError(t, s.Stop(testContext(t)))
		<-s.Done()
		require.NoError(t, s.Err())
	})
}
