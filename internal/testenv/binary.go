package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildPatience bounds the build of a program from nothing, with the race detector, on a machine that is busy.
const buildPatience = 10 * time.Minute

// binary is our program, built by the first test of a package that wants it.
type binary struct {
	once sync.Once
	path string
	err  error
}

// Binary builds the freshet program, once for the package's tests, and returns its path. It has the race detector if
// the tests have it.
func Binary(tb testing.TB) string {
	tb.Helper()
	s := state(tb)
	b := &s.binary
	b.once.Do(func() {
		b.path = filepath.Join(s.dir, "freshet")
		ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
		defer cancel()
		b.err = build(ctx, "./cmd/freshet", b.path, raceEnabled)
	})
	if b.err != nil {
		tb.Fatalf("testenv: %v", b.err)
	}
	return b.path
}

// tool builds a program of another module, one of the tools in our go.mod, once for the package's tests, and returns its
// path. It never has the race detector: it is not our code, and has its own speed.
func tool(tb testing.TB, program, name string) string {
	tb.Helper()
	s := state(tb)
	s.mu.Lock()
	b, found := s.tools[name]
	if !found {
		b = &binary{path: filepath.Join(s.dir, name)}
		s.tools[name] = b
	}
	s.mu.Unlock()
	b.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
		defer cancel()
		b.err = build(ctx, program, b.path, false)
	})
	if b.err != nil {
		tb.Fatalf("testenv: %v", b.err)
	}
	return b.path
}

// build builds a program: one of this module, named by its folder below the module's root, or one of a module that
// go.mod requires, named by its import path.
func build(ctx context.Context, program, output string, race bool) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	args := []string{"build", "-o", output}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, program)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// moduleRoot asks the go command, which the test was most likely run by, in the folder that it runs tests in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("find the module: the test does not run in a module's folder")
	}
	return filepath.Dir(file), nil
}
