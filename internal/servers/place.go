package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"freshet/internal/servers/child"
)

// stableBase holds the clusters of folders that Postgres's user cannot enter; unlike /tmp it survives a reboot.
const stableBase = "/var/tmp"

// placeCluster returns the folder that the cluster named dir is really in. That is dir, unless we are root and the
// account cannot enter the folders above it (/root is 0700): then it is a folder below stableBase, with a name made
// from dir's, and dir is a symbolic link to it.
func placeCluster(ctx context.Context, account *child.Account, dir string) (string, error) {
	away := stableFolder(dir)
	info, err := os.Lstat(dir)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return followLink(account, dir, away)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("folder of the cluster: %w", err)
	case mayEnter(account, filepath.Dir(dir)):
		return dir, nil
	}
	// Only an empty folder gives way to the link: a cluster that is there but out of reach is not ours to move.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("user %s, who is to run Postgres, cannot enter %s: %w", account.Name, dir, err)
	}
	if err := clearAway(ctx, away); err != nil {
		return "", err
	}
	if err := os.Symlink(away, dir); err != nil {
		return "", fmt.Errorf("user %s, who is to run Postgres, cannot enter %s: %w", account.Name, filepath.Dir(dir), err)
	}
	return away, nil
}

// followLink resolves dir, a symbolic link of ours (its target may not exist yet) or of somebody's own making.
func followLink(account *child.Account, dir, away string) (string, error) {
	if target, err := os.Readlink(dir); err == nil && target == away {
		return away, nil
	}
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("folder of the cluster: %w", err)
	}
	if !mayEnter(account, filepath.Dir(target)) {
		return "", fmt.Errorf("user %s, who is to run Postgres, cannot enter %s", account.Name, target)
	}
	return target, nil
}

// stableFolder is the folder that stands in for dir.
func stableFolder(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(stableBase, "freshet-"+hex.EncodeToString(sum[:8]))
}

// clearAway removes a cluster whose link is gone: the link is made first and lives as long as the cluster, so somebody
// has removed the data folder to begin afresh, and half of its data must not come back.
func clearAway(ctx context.Context, away string) error {
	info, err := os.Lstat(away)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stand-in folder: %w", err)
	}
	// Anybody may make a file of that name in /var/tmp.
	if _, err := os.Stat(filepath.Join(away, "PG_VERSION")); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is in the way: remove it", away)
	}
	if err := clusterLeftover(away, 0).stop(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(away); err != nil {
		return fmt.Errorf("remove the cluster of a removed folder: %w", err)
	}
	return nil
}

// checkOwner refuses a cluster that another user owns, which Postgres would do less clearly.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("folder of the cluster: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() == 0 || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("%s belongs to user %d: it was made by another user or by root; "+
		"run as that user again, or remove it", dir, st.Uid)
}
