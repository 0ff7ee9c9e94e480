package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"freshet/internal/servers/child"
)

// unprivileged are the users to become when we are root, best first.
var unprivileged = []string{"postgres", "nobody"}

// postgresAccount is the account to run Postgres as, which refuses to be root: nil (our own) unless we are root; then
// the owner of the cluster, if there is a cluster, so that a `sudo` now and then changes nothing; else one of
// unprivileged.
func postgresAccount(dir string) (*child.Account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return &child.Account{Name: strconv.Itoa(int(st.Uid)), UID: st.Uid, GID: st.Gid}, nil
		}
	}
	for _, name := range unprivileged {
		account, err := lookupAccount(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			continue
		}
		return account, err
	}
	return nil, fmt.Errorf("postgres cannot run as root, and there is none of the users %v to run it as", unprivileged)
}

// lookupAccount finds a user's ids.
func lookupAccount(name string) (*child.Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &child.Account{Name: name, UID: uint32(uid), GID: uint32(gid)}, nil
}

// mayEnter tells whether the account may pass through the folder and all those above it. It looks at the permission
// bits only and knows nothing of supplementary groups and access lists: it may say no too often.
func mayEnter(account *child.Account, dir string) bool {
	if account == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return false
		}
		execute := fs.FileMode(0o001)
		switch {
		case st.Uid == account.UID:
			execute = 0o100
		case st.Gid == account.GID:
			execute = 0o010
		}
		if info.Mode()&execute == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// giveTo makes the account the owner of the folder and all that is in it.
func giveTo(account *child.Account, dir string) error {
	if account == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(account.UID), int(account.GID))
	})
}

// MkdirTemp makes a new temporary folder in which any server of this package can run, also Postgres when we are root:
// below os.TempDir, or below /var/tmp if that is closed to Postgres's user. The caller removes it.
func MkdirTemp(pattern string) (string, error) {
	account, err := postgresAccount("")
	if err != nil {
		return "", err
	}
	base := os.TempDir()
	if !mayEnter(account, base) {
		base = stableBase
	}
	dir, err := os.MkdirTemp(base, pattern)
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp's 0700 keeps Postgres's user out
		return "", fmt.Errorf("open %s to the servers: %w", dir, err)
	}
	return dir, nil
}
