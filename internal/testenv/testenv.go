// Package testenv gives tests real servers: Postgres, Redis, NATS, and our own program as a process; and what makes them
// suffer: paths between them that can be cut, stalled and slowed down, replicas that lag, disks that are full, backups.
//
// A package that uses it hands its TestMain to Main. Its tests then share one Postgres cluster, each with a database of
// its own, and have Redis and NATS servers of their own; all of it is gone when the tests end, also when they fail or
// are killed. What goes wrong in here fails the test at once: no function returns an error.
//
// The package is for tests only, never imported by anything else, and never replaces a server by an imitation.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/internal/servers"
)

const (
	// patience bounds each single thing that this package does with a server, on a machine that is busy.
	patience = time.Minute
	// dirPattern names the folder of one test package's servers.
	dirPattern = "freshet-test-*"
	// staleAfter is the age at which the folder of a killed test is removed. It spares folders that are being made.
	staleAfter = time.Hour
)

// pkg is what the tests of one package share. Main makes it.
var pkg *shared

// shared is the state of one test package.
type shared struct {
	dir      string   // folder of all its servers
	lock     *os.File // held while the package runs: its folder is not stale
	postgres cluster
	binary   binary

	mu    sync.Mutex
	next  int
	tools map[string]*binary // by name
}

// Main runs the tests of a package, stops what they shared, fails the package if it leaves goroutines behind, and
// exits. A package with goroutines of others that cannot be ended says so with options, each with its reason.
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
func Main(m *testing.M, options ...goleak.Option) {
	code, err := run(m, options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run is Main without the exit, which would skip what is deferred.
func run(m *testing.M, options []goleak.Option) (code int, err error) {
	if pkg, err = newShared(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, pkg.remove()) }()
	code = m.Run()
	if err := pkg.postgres.stop(); err != nil {
		return code, err
	}
	// Connections that net/http keeps for the next request are no leak.
	http.DefaultClient.CloseIdleConnections()
	return code, goleak.Find(options...)
}

// newShared makes the package's folder, after removing those of tests that were killed.
func newShared() (*shared, error) {
	dir, err := servers.MkdirTemp(dirPattern)
	if err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("make lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return &shared{dir: dir, lock: lock, tools: map[string]*binary{}}, removeStale(filepath.Dir(dir))
}

// removeStale removes the folders of test packages that were killed: nobody holds their lock.
func removeStale(base string) error {
	dirs, err := filepath.Glob(filepath.Join(base, dirPattern))
	if err != nil {
		return fmt.Errorf("look for folders of killed tests: %w", err)
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue // somebody else's, or just being removed
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = errors.Join(unmountBelow(dir), os.RemoveAll(dir)) // what another user owns stays
		}
		_ = lock.Close()
	}
	return nil
}

// remove removes the package's folder.
func (s *shared) remove() error {
	return errors.Join(os.RemoveAll(s.dir), s.lock.Close())
}

// newName is a name that no other call in this package has got: lower case letters, digits and underscores, made from
// the test's name for those who look at a server while it runs.
func (s *shared) newName(tb testing.TB) string {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(tb.Name()))
	// Postgres cuts names at 63 bytes.
	return fmt.Sprintf("t%d_%s", s.next, name[:min(len(name), 40)])
}

// state returns what the package shares; a test of a package without Main fails.
func state(tb testing.TB) *shared {
	tb.Helper()
	if pkg == nil {
		tb.Fatal("testenv: the package needs func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	return pkg
}

// dirFor makes a folder for a server of this test, removed at its end. Unlike t.TempDir Postgres's user can enter it.
func dirFor(tb testing.TB) string {
	tb.Helper()
	s := state(tb)
	dir := filepath.Join(s.dir, s.newName(tb))
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("testenv: %v", err)
		}
	})
	return dir
}

// bounded is a context for one thing that is done with a server. Unlike t.Context it is good in cleanups too.
func bounded(tb testing.TB) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
}

// stopAtEnd stops a server at the end of the test.
func stopAtEnd(tb testing.TB, what string, stop func(context.Context) error) {
	tb.Helper()
	tb.Cleanup(func() {
		ctx, cancel := bounded(tb)
		defer cancel()
		if err := stop(ctx); err != nil {
			tb.Errorf("testenv: stop %s: %v", what, err)
		}
	})
}
