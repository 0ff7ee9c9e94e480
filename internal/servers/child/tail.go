package child

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"syscall"
)

const (
	tailLines = 12   // lines that an exit error shows
	tailBytes = 4096 // output kept to find them in
)

// tail passes output on and remembers the end of it.
type tail struct {
	mu   sync.Mutex
	next io.Writer // may be nil
	kept []byte
}

// Write remembers and passes on. It never fails: a child must not die of SIGPIPE because a log cannot be written.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	if t.next != nil {
		_, _ = t.next.Write(b)
	}
	return len(b), nil
}

// String is the last lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(string(bytes.TrimSpace(t.kept)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// credential is the account as the system call wants it; it drops all supplementary groups.
func credential(a *Account) *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.UID, Gid: a.GID}
}
