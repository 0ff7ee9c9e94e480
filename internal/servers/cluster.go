package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"freshet/internal/servers/child"
)

// BinDirVariable is the environment variable that names the folder of the Postgres programs to use.
const BinDirVariable = "FRESHET_PG_BIN"

// binPatterns are the folders that the packages of Debian, Red Hat and Homebrew put a major version's programs in.
var binPatterns = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
}

var digits = regexp.MustCompile(`\d+`)

// FindPostgres returns the folder that holds initdb and postgres: the given one, else $FRESHET_PG_BIN, else one of
// PATH, else the newest that a package manager installed. The error is ErrNotInstalled.
func FindPostgres(given string) (string, error) {
	if given == "" {
		given = os.Getenv(BinDirVariable)
	}
	if given != "" {
		if hasPostgres(given) {
			return filepath.Abs(given)
		}
		return "", notInstalled(given)
	}
	if found := slices.IndexFunc(filepath.SplitList(os.Getenv("PATH")), hasPostgres); found >= 0 {
		return filepath.Abs(filepath.SplitList(os.Getenv("PATH"))[found])
	}
	newest, newestMajor := "", -1
	for _, pattern := range binPatterns {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("look for Postgres in %s: %w", pattern, err)
		}
		for _, dir := range dirs {
			major, err := strconv.Atoi(digits.FindString(dir))
			if err == nil && major > newestMajor && hasPostgres(dir) {
				newest, newestMajor = dir, major
			}
		}
	}
	if newest == "" {
		return "", notInstalled("$" + BinDirVariable + ", PATH, /usr/lib/postgresql/*/bin")
	}
	return newest, nil
}

// hasPostgres tells whether the folder holds the two programs that we need.
func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if dir == "" || err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

func notInstalled(where string) error {
	return &NotInstalledError{
		Server: "Postgres (initdb and postgres)",
		Where:  where,
		Install: "apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora, RHEL) " +
			"or brew install postgresql@17 (macOS)",
	}
}

// cluster is what initdb must know.
type cluster struct {
	bin, data string
	account   *child.Account
	password  string
}

// CreatePostgres makes the cluster of the options without starting a server; nothing happens if there is one. Of the
// options Dir, Password and BinDir count.
func CreatePostgres(ctx context.Context, o PostgresOptions) error {
	bin, err := FindPostgres(o.BinDir)
	if err != nil {
		return err
	}
	dir, err := cleanDir(o.Dir)
	if err != nil {
		return err
	}
	lock, err := LockFolder(dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	o.Port = 0
	pg := Postgres{server: server{dir: dir}, options: o, bin: bin}
	if err := pg.prepare(ctx); err != nil {
		return fmt.Errorf("postgres on %s: %w", o.Dir, err)
	}
	return nil
}

// makeCluster runs initdb unless there is a cluster already. It works beside the folder and renames when all is
// complete: a kill in between leaves no half cluster, only a folder that the next start removes.
func makeCluster(ctx context.Context, c cluster) error {
	_, err := os.Stat(filepath.Join(c.data, "PG_VERSION"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(c.data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder holds no cluster and cannot become one: %w", err)
	}
	old, err := filepath.Glob(c.data + ".init-*")
	if err != nil {
		return fmt.Errorf("look for an unfinished cluster: %w", err)
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove an unfinished cluster: %w", err)
		}
	}
	work, err := os.MkdirTemp(filepath.Dir(c.data), filepath.Base(c.data)+".init-*")
	if err != nil {
		return fmt.Errorf("make a folder for initdb: %w", err)
	}
	defer os.RemoveAll(work)
	if err := c.initdb(ctx, work); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(work, "data"), c.data); err != nil {
		return fmt.Errorf("put the new cluster in its place: %w", err)
	}
	return nil
}

// initdb makes a cluster in work/data: UTF-8, and the C locale, which every machine has.
func (c cluster) initdb(ctx context.Context, work string) error {
	args := []string{"-D", filepath.Join(work, "data"), "-U", superuser, "--encoding=UTF8", "--locale=C", "--no-sync"}
	if c.password == "" {
		args = append(args, "--auth=trust")
	} else {
		file := filepath.Join(work, "password")
		if err := os.WriteFile(file, []byte(c.password+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the password for initdb: %w", err)
		}
		args = append(args, "--auth=scram-sha-256", "--pwfile="+file)
	}
	if err := giveTo(c.account, work); err != nil {
		return fmt.Errorf("give initdb's folder to its user: %w", err)
	}
	proc, err := child.Start(child.Options{
		Path: filepath.Join(c.bin, "initdb"), Args: args, Env: postgresEnv(), Dir: work, As: c.account,
	})
	if err != nil {
		return err
	}
	select {
	case <-proc.Done():
		return proc.Err()
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("initdb: %w", ctx.Err()), proc.Stop(ctx, syscall.SIGTERM, syscall.SIGKILL))
	}
}

// PostgresVersion is what the programs in a folder say of themselves, like "postgres (PostgreSQL) 17.2".
func PostgresVersion(ctx context.Context, binDir string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(binDir, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the version of Postgres: %w", err)
	}
	return string(out), nil
}
