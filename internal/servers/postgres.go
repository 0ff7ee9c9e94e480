package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"freshet/internal/servers/child"
)

// superuser owns a private cluster, whoever runs it.
const superuser = "postgres"

// PostgresOptions say how to run a private Postgres.
type PostgresOptions struct {
	Dir      string            // data folder; made by initdb on first use
	Port     int               // on 127.0.0.1; 0 means a free one
	PortHint string            // how to choose another port, for the message when it is taken
	Settings map[string]string // server settings; they override the defaults
	Password string            // of user postgres, set on first use; empty means that none is asked
	BinDir   string            // folder of initdb and postgres; empty means see FindPostgres
	Log      io.Writer         // receives the server's log; nil discards it
}

// Postgres is a private Postgres server.
type Postgres struct {
	server
	options PostgresOptions
	bin     string
	data    string
	account *child.Account
	port    int
}

// StartPostgres starts a server, making its cluster first if there is none, and returns when it accepts connections.
// It has wal_level=logical, listens on 127.0.0.1 only and has no socket in the file system. When we are root it runs
// as user postgres or nobody. ctx bounds the start only.
//
// Errors to match: ErrNotInstalled, ErrFolderInUse, ErrPortInUse, *child.ExitError.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	pg := &Postgres{options: o}
	var err error
	if pg.bin, err = FindPostgres(o.BinDir); err != nil {
		return nil, err
	}
	if pg.dir, err = cleanDir(o.Dir); err != nil {
		return nil, err
	}
	if pg.lock, err = LockFolder(pg.dir); err != nil {
		return nil, err
	}
	if err := pg.prepare(ctx); err != nil {
		pg.lock.Release()
		return nil, fmt.Errorf("postgres on %s: %w", o.Dir, err)
	}
	pg.launch = pg.run
	// Postgres's words: smart is SIGTERM, fast is SIGINT, immediate is SIGQUIT.
	pg.gentle, pg.harsh, pg.crash = syscall.SIGINT, syscall.SIGQUIT, syscall.SIGQUIT
	if err := pg.begin(ctx); err != nil {
		return nil, fmt.Errorf("postgres on %s: %w", o.Dir, err)
	}
	return pg, nil
}

// prepare finds the place and the port and makes the cluster if there is none.
func (pg *Postgres) prepare(ctx context.Context) error {
	var err error
	if pg.account, err = postgresAccount(pg.dir); err != nil {
		return err
	}
	if !mayEnter(pg.account, pg.bin) {
		return fmt.Errorf("user %s, who is to run Postgres, cannot enter %s", pg.account.Name, pg.bin)
	}
	if pg.data, err = placeCluster(ctx, pg.account, pg.dir); err != nil {
		return err
	}
	if err := checkOwner(pg.data); err != nil {
		return err
	}
	if err := clusterLeftover(pg.data, pg.options.Port).stop(ctx); err != nil {
		return err
	}
	if pg.port, err = choosePort("Postgres", pg.options.Port, pg.options.PortHint); err != nil {
		return err
	}
	return makeCluster(ctx, cluster{bin: pg.bin, data: pg.data, account: pg.account, password: pg.options.Password})
}

// clusterLeftover describes a Postgres that was left running on the folder.
func clusterLeftover(data string, port int) leftover {
	return leftover{
		pidFile:  filepath.Join(data, "postmaster.pid"),
		programs: []string{"postgres", "postmaster"},
		dir:      data,
		marks:    []string{data, fmt.Sprintf("port=%d", port)},
		gentle:   syscall.SIGINT,
		harsh:    syscall.SIGQUIT,
	}
}

// run starts the server process and waits until a connection succeeds.
func (pg *Postgres) run(ctx context.Context) (*child.Process, error) {
	if err := giveTo(pg.account, pg.data); err != nil {
		return nil, fmt.Errorf("give the cluster to its user: %w", err)
	}
	proc, err := child.Start(child.Options{
		Path: filepath.Join(pg.bin, "postgres"),
		Args: pg.arguments(),
		Env:  postgresEnv(),
		Dir:  pg.data,
		As:   pg.account,
		Out:  pg.options.Log,
		// An immediate shutdown: quick, and unlike SIGKILL it ends the backends too.
		DeathSignal: syscall.SIGQUIT,
	})
	if err != nil {
		return nil, err
	}
	return proc, awaitReady(ctx, proc, func(ctx context.Context) (bool, error) {
		return pg.ready(ctx, proc.PID())
	})
}

// arguments are the data folder and the settings. Settings of the command line win over postgresql.conf and ALTER
// SYSTEM, so that none of them can open the server to the network.
func (pg *Postgres) arguments() []string {
	settings := map[string]string{
		"wal_level":             "logical",
		"max_wal_senders":       "20",
		"max_replication_slots": "20",
		"max_connections":       "200",
		"timezone":              "UTC",
		"log_timezone":          "UTC",
	}
	maps.Copy(settings, pg.options.Settings)
	settings["listen_addresses"] = "127.0.0.1"
	settings["unix_socket_directories"] = ""
	settings["port"] = strconv.Itoa(pg.port)

	args := []string{"-D", pg.data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// ready tells whether the process accepts connections; it fails if it never will. It looks into postmaster.pid before
// it connects, as pg_ctl does (pid in line 1, state in line 8: src/include/utils/pidfile.h): a connection during the
// start is a FATAL in the log, and one to the port alone could reach somebody else's server.
func (pg *Postgres) ready(ctx context.Context, pid int) (bool, error) {
	if !pg.saysReady(pid) {
		return false, nil
	}
	conn, err := pgx.Connect(ctx, pg.URL("postgres"))
	if err == nil {
		return true, conn.Close(ctx)
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && isAuthorization(pgErr.Code) {
		return false, fmt.Errorf("the cluster was made with another password: %w", err)
	}
	return false, nil
}

// saysReady tells whether postmaster.pid says that the process accepts connections.
func (pg *Postgres) saysReady(pid int) bool {
	content, err := os.ReadFile(filepath.Join(pg.data, "postmaster.pid"))
	lines := bytes.Split(content, []byte("\n"))
	return err == nil && len(lines) >= 8 &&
		string(bytes.TrimSpace(lines[0])) == strconv.Itoa(pid) && string(bytes.TrimSpace(lines[7])) == "ready"
}

// isAuthorization tells whether a SQLSTATE is of class 28, invalid authorization specification.
func isAuthorization(code string) bool { return strings.HasPrefix(code, "28") }

// URL is the address of a database, for user postgres.
func (pg *Postgres) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     address(pg.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	if pg.options.Password != "" {
		u.User = url.UserPassword(superuser, pg.options.Password)
	}
	return u.String()
}

// Addr is host and port.
func (pg *Postgres) Addr() string { return address(pg.port) }

// Port is the port that the server listens on.
func (pg *Postgres) Port() int { return pg.port }

// DataDir is the folder that the cluster is really in: Dir, or what Dir links to.
func (pg *Postgres) DataDir() string { return pg.data }

// postgresEnv is our environment without what changes how Postgres behaves: its own variables and the locale, which
// initdb refuses if the machine lacks it.
func postgresEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	return append(env, "LC_ALL=C")
}
