package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"freshet/internal/servers"
)

// lockData takes the data folder for this process, before anything in it is touched: a second dev would else remove the settings
// file of the first. The kernel gives the lock up when its owner dies.
func lockData(dir string) (release func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "dev.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		owner, _ := io.ReadAll(io.LimitReader(file, 20)) // who it is only makes the message better
		_ = file.Close()                                 // nothing was written
		inUse := &servers.FolderInUseError{Dir: dir, Owner: strings.TrimSpace(string(owner))}
		return nil, fmt.Errorf("%w with --data or FRESHET_DEV_DATA", inUse)
	case err != nil:
		_ = file.Close()
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	release = func() { _ = file.Close() } // closing is what unlocks
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return release, nil
}
