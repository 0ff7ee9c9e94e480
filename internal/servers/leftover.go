package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// pollInterval is how often a condition of another process is looked at.
const pollInterval = 10 * time.Millisecond

// A leftover gets its gentle signal at once, and these later.
const (
	leftoverHarsh = 3 * time.Second
	leftoverKill  = 8 * time.Second
)

// leftover describes a server that an earlier process may have left running on a folder when it was killed. The caller
// holds the folder's lock, so such a server has no owner any more.
type leftover struct {
	pidFile       string
	programs      []string // base names of the server's program
	dir           string   // folder that the server works in
	marks         []string // where the working folder cannot be asked for: one of these is in its command line
	gentle, harsh syscall.Signal
}

// stop ends the leftover, if there is one, and waits until it is gone. A pid file that names somebody else's process
// (pids are used again) is removed: the server would take it for a rival and refuse to start.
func (l leftover) stop(ctx context.Context) error {
	pid, err := readPID(l.pidFile)
	if err != nil || pid == 0 {
		return err
	}
	if !l.isServer(pid) {
		if alive(pid) {
			return removeFile(l.pidFile)
		}
		return nil
	}
	if err := l.end(ctx, pid); err != nil {
		return fmt.Errorf("stop the server %d that an earlier run left on %s: %w", pid, l.dir, err)
	}
	return nil
}

// end signals the server, harder as time goes by, until it is gone.
func (l leftover) end(ctx context.Context, pid int) error {
	steps := []struct {
		after time.Duration
		sig   syscall.Signal
	}{{0, l.gentle}, {leftoverHarsh, l.harsh}, {leftoverKill, syscall.SIGKILL}}
	begun := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for l.isServer(pid) {
		if len(steps) > 0 && time.Since(begun) >= steps[0].after {
			err := syscall.Kill(pid, steps[0].sig)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			steps = steps[1:]
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// isProgram tells whether a program, given by its path, is the server's.
func (l leftover) isProgram(path string) bool {
	return slices.Contains(l.programs, filepath.Base(path))
}

// alive tells whether there is a process of that id, whoever owns it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// readPID reads the process id in the first line of a file; 0 if there is no such file or no number in it.
func readPID(file string) (int, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read pid file: %w", err)
	}
	first, _, _ := bytes.Cut(content, []byte("\n"))
	// A crash may have cut the number short: the server judges that by itself.
	if pid, err := strconv.Atoi(string(bytes.TrimSpace(first))); err == nil && pid > 1 {
		return pid, nil
	}
	return 0, nil
}

// removeFile removes a file that may be gone.
func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a file of an earlier run: %w", err)
	}
	return nil
}
