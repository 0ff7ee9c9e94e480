package servers

import (
	"errors"
	"fmt"
)

// What can be wrong before a server is started; match with errors.Is.
var (
	ErrPortInUse    = errors.New("port in use")
	ErrFolderInUse  = errors.New("folder in use")
	ErrNotInstalled = errors.New("not installed")
)

// PortInUseError says that another program listens on the port. It is ErrPortInUse.
type PortInUseError struct {
	Server string // "Postgres", "Redis" or "NATS"
	Port   int
	Hint   string // how to choose another port, may be empty
}

// Error is one line that says what to do.
func (e *PortInUseError) Error() string {
	msg := fmt.Sprintf("port %d, meant for %s, is in use by another program", e.Port, e.Server)
	if e.Hint == "" {
		return msg
	}
	return msg + ": stop that program or choose another port with " + e.Hint
}

// Is makes errors.Is(err, ErrPortInUse) true.
func (e *PortInUseError) Is(target error) bool { return target == ErrPortInUse }

// FolderInUseError says that a live process runs a server on the folder. It is ErrFolderInUse.
type FolderInUseError struct {
	Dir   string
	Owner string // process id of the owner, empty if unknown
}

// Error is one line that says what to do.
func (e *FolderInUseError) Error() string {
	owner := "another process"
	if e.Owner != "" {
		owner = "process " + e.Owner
	}
	return fmt.Sprintf("%s is in use by %s: stop it or choose another folder", e.Dir, owner)
}

// Is makes errors.Is(err, ErrFolderInUse) true.
func (e *FolderInUseError) Is(target error) bool { return target == ErrFolderInUse }

// NotInstalledError says that a server's programs were not found. It is ErrNotInstalled.
type NotInstalledError struct {
	Server  string
	Where   string // where they were looked for
	Install string // commands that install them
}

// Error is one line that says what to do.
func (e *NotInstalledError) Error() string {
	return fmt.Sprintf("%s not found (looked in %s); install it with: %s", e.Server, e.Where, e.Install)
}

// Is makes errors.Is(err, ErrNotInstalled) true.
func (e *NotInstalledError) Is(target error) bool { return target == ErrNotInstalled }
