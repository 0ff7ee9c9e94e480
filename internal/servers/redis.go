package servers

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"freshet/internal/servers/child"
)

// redisPrograms are the servers that will do, best first.
var redisPrograms = []string{"redis-server", "valkey-server"}

// RedisOptions say how to run a private Redis.
type RedisOptions struct {
	Dir      string    // folder that it works in and keeps its files in
	Port     int       // on 127.0.0.1; 0 means a free one
	PortHint string    // how to choose another port, for the message when it is taken
	Args     []string  // further arguments, like "--maxmemory", "10mb"; they override the defaults
	Log      io.Writer // receives the server's log; nil discards it
}

// Redis is a private Redis (or Valkey) server.
type Redis struct {
	server
	options RedisOptions
	program string
	port    int
}

// StartRedis starts redis-server or valkey-server, whichever PATH has, and returns when it answers. It listens on
// 127.0.0.1 only and writes nothing to disk unless Args say so. ctx bounds the start only.
//
// Errors to match: ErrNotInstalled, ErrFolderInUse, ErrPortInUse, *child.ExitError.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	r := &Redis{options: o}
	var err error
	if r.program, err = findRedis(); err != nil {
		return nil, err
	}
	if r.dir, err = cleanDir(o.Dir); err != nil {
		return nil, err
	}
	if r.lock, err = LockFolder(r.dir); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		r.lock.Release()
		return nil, fmt.Errorf("redis on %s: %w", o.Dir, err)
	}
	r.launch = r.run
	r.gentle, r.harsh, r.crash = syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL
	if err := r.begin(ctx); err != nil {
		return nil, fmt.Errorf("redis on %s: %w", o.Dir, err)
	}
	return r, nil
}

// findRedis looks for a server program in PATH.
func findRedis() (string, error) {
	for _, name := range redisPrograms {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", &NotInstalledError{
		Server: "Redis (redis-server or valkey-server)",
		Where:  "PATH",
		Install: "apt-get install redis-server (Debian, Ubuntu), dnf install valkey (Fedora, RHEL) " +
			"or brew install redis (macOS)",
	}
}

// prepare makes the folder, stops what a killed process left there and finds the port.
func (r *Redis) prepare(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	left := leftover{
		pidFile:  r.pidFile(),
		programs: redisPrograms,
		dir:      r.dir,
		marks:    []string{r.dir, address(r.options.Port)},
		gentle:   syscall.SIGTERM,
		harsh:    syscall.SIGKILL,
	}
	if err := left.stop(ctx); err != nil {
		return err
	}
	var err error
	r.port, err = choosePort("Redis", r.options.Port, r.options.PortHint)
	return err
}

// run starts the server process and waits until it answers.
func (r *Redis) run(ctx context.Context) (*child.Process, error) {
	args := []string{
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(r.port),
		"--dir", r.dir,
		"--pidfile", r.pidFile(),
		"--daemonize", "no",
		"--save", "",
		"--appendonly", "no",
	}
	proc, err := child.Start(child.Options{
		Path:        r.program,
		Args:        append(args, r.options.Args...),
		Dir:         r.dir,
		Out:         r.options.Log,
		DeathSignal: syscall.SIGTERM, // in order: with save points it writes them
	})
	if err != nil {
		return nil, err
	}
	// A bare client: no retries, no pool, no commands of its own.
	client := redis.NewClient(&redis.Options{
		Addr: address(r.port), MaxRetries: -1, PoolSize: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer client.Close()
	return proc, awaitReady(ctx, proc, func(ctx context.Context) (bool, error) {
		return redisReady(ctx, client, proc.PID()), nil
	})
}

// redisReady tells whether the process answers on the port, and not some other server that took it meanwhile. One that
// wants a password has answered too. It dials before it asks the client, who would log each failure.
func redisReady(ctx context.Context, client *redis.Client, pid int) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return false
	}
	_ = conn.Close() // it only showed that somebody listens
	if err := client.Ping(ctx).Err(); err != nil {
		return redis.HasErrorPrefix(err, "NOAUTH")
	}
	info, err := client.Info(ctx, "server").Result()
	return err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid))
}

// pidFile is where the server writes its process id.
func (r *Redis) pidFile() string { return filepath.Join(r.dir, "redis.pid") }

// URL is the address of database 0.
func (r *Redis) URL() string { return "redis://" + address(r.port) + "/0" }

// Addr is host and port.
func (r *Redis) Addr() string { return address(r.port) }

// Dir is the folder that it works in and keeps its files in.
func (r *Redis) Dir() string { return r.dir }

// Port is the port that the server listens on.
func (r *Redis) Port() int { return r.port }
