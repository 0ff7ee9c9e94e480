package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"freshet/internal/servers"
)

// startPostgres starts a server on a copy of the template.
func startPostgres(
	ctx context.Context, dir string, settings map[string]string, log io.Writer,
) (*servers.Postgres, error) {
	template, err := postgresTemplate(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the template cluster: %w", err)
	}
	if err := copyCluster(dir, template); err != nil {
		return nil, fmt.Errorf("copy the template cluster: %w", err)
	}
	return servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir, Settings: merged(unsafe, settings), Log: log})
}

// merged is the settings of all; the later ones win.
func merged(all ...map[string]string) map[string]string {
	result := map[string]string{}
	for _, settings := range all {
		maps.Copy(result, settings)
	}
	return result
}

// copyCluster copies a cluster's files. The kernel shares their blocks where the file system can (copy_file_range).
func copyCluster(dir, template string) error {
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) // Postgres refuses a folder that is open to others
}

// postgresTemplate returns the cluster that others are copied from, made by initdb once for each user and version of
// Postgres: initdb takes ten times as long as a copy. A lock keeps test packages that run side by side from making it
// twice.
func postgresTemplate(ctx context.Context) (string, error) {
	bin, err := servers.FindPostgres("")
	if err != nil {
		return "", err
	}
	version, err := servers.PostgresVersion(ctx, bin)
	if err != nil {
		return "", err
	}
	base, err := templateBase()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(bin + "\n" + version))
	template := filepath.Join(base, "postgres-"+hex.EncodeToString(sum[:8]))

	lock, err := os.OpenFile(template+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("open lock: %w", err)
	}
	defer lock.Close()
	// It is held for seconds at most, and by a process that lives: waiting needs no context.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(filepath.Join(template, "PG_VERSION")); !errors.Is(err, fs.ErrNotExist) {
		return template, err
	}
	return template, makeTemplate(ctx, bin, template)
}

// makeTemplate makes the cluster where Postgres's user can work, and puts it into place complete or not at all.
func makeTemplate(ctx context.Context, bin, template string) error {
	work, err := servers.MkdirTemp("freshet-template-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "data")
	if err := servers.CreatePostgres(ctx, servers.PostgresOptions{Dir: made, BinDir: bin}); err != nil {
		return err
	}
	partial := template + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("remove what a killed test left: %w", err)
	}
	if err := copyCluster(partial, made); err != nil {
		return err
	}
	return os.Rename(partial, template)
}

// templateBase is a folder of this user that outlives the tests.
func templateBase() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil { // no home
		cache = filepath.Join(os.TempDir(), "freshet-cache-"+strconv.Itoa(os.Geteuid()))
	}
	base := filepath.Join(cache, "freshet-testenv")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of the template: %w", err)
	}
	return base, nil
}
