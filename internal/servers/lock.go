package servers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// FolderLock is the right to run a server on a folder. It is flock(2) on a file beside the folder: the kernel releases
// it when its owner dies, so it tells a server that somebody is using from one that a killed process left behind.
type FolderLock struct{ file *os.File }

// LockFolder takes the lock of dir, or returns a *FolderInUseError.
func LockFolder(dir string) (*FolderLock, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", dir, err)
	}
	file, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner, _ := io.ReadAll(io.LimitReader(file, 20)) // who it is only makes the message better
		_ = file.Close()
		return nil, &FolderInUseError{Dir: dir, Owner: strings.TrimSpace(string(owner))}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	if err := errors.Join(file.Truncate(0), writeAt(file, strconv.Itoa(os.Getpid()))); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write %s: %w", file.Name(), err)
	}
	return &FolderLock{file: file}, nil
}

// writeAt replaces the start of the file.
func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text+"\n"), 0)
	return err
}

// Release gives the lock up; the file stays, because removing a lock file lets two owners in. Nil is allowed.
func (l *FolderLock) Release() {
	if l != nil {
		_ = l.file.Close() // closing is what unlocks; an error leaves nothing to do
	}
}
