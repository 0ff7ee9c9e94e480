package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/health"
	"freshet/internal/servers"
	"freshet/internal/tracing"
	"freshet/migrations"
	"freshet/warm"
)

// devSettings are those of every process, and of the servers that dev starts for them.
type devSettings struct {
	db     config.Database
	redis  config.Redis
	nats   config.NATS
	source config.Source
	cdc    config.CDC
	inv    config.Invalidator
	api    config.API
	health config.Health
	dev    config.Dev
	log    config.Log

	// given tells which of the servers are somebody else's.
	givenDatabase, givenRedis, givenNATS bool
	// cdcOps and invOps say where cdc and the invalidator serve their health and metrics.
	cdcOps, invOps ops
}

func devCommand() *cobra.Command {
	s := &devSettings{db: config.Database{Optional: true}, api: config.API{Example: true}, log: config.Log{}}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: servers, cdc, invalidator and api, with an example",
		Long: `Starts a private Postgres, Redis and NATS on loopback, creates and seeds the example application, and runs cdc,
invalidator and api, as "freshet cdc", "freshet invalidator" and "freshet api" would. Ctrl-C stops everything; the data
stays in the folder of --data, and the next start goes on with it.

DATABASE_URL, REDIS_URL or NATS_URL, if set, is used instead of starting that server. With --example=false nothing of the
example is created, and --queries names the folder of your own SQL files.

` + tracing.Help,
	}
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		s.givenDatabase = set.Given("DATABASE_URL") && !ours(s.db.URL, s.dev.PostgresPort)
		s.givenRedis = set.Given("REDIS_URL") && !ours(s.redis.URL, s.dev.RedisPort) || set.Given("REDIS_HOST")
		s.givenNATS = set.Given("NATS_URL") && !ours(s.nats.URL, s.dev.NATSPort)
		s.cdcOps, s.invOps = cdcOps(s.cdc, set), invalidatorOps(s.inv, set)
		if !s.givenNATS && !set.Given("FRESHET_NATS_SYNC_INTERVAL") {
			s.cdc.NATSSyncInterval = devSyncInterval
		}
		return s.run(cmd.Context(), cmd.OutOrStdout(), s.log.Logger(cmd.ErrOrStderr()))
	}, &s.db, &s.redis, &s.nats, &s.source, &s.cdc, &s.inv, &s.api, &s.health, &s.dev, &s.log)
}

// ours tells whether a URL is that of the server which dev would start: a shell that has read dev.env still has it.
func ours(raw string, port int) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host == net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// devSyncInterval is that of the NATS server that dev starts: little is lost, and little WAL is kept.
const devSyncInterval = 2 * time.Second

// run starts everything, in order, and stops it in the opposite order when ctx ends or any part of it fails.
func (s *devSettings) run(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
	began := time.Now()
	unlock, err := s.openData()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.secrets(); err != nil {
		return err
	}
	if s.dev.Warm && s.api.WarmOnStart == 0 {
		s.api.WarmOnStart = warm.DefaultTop
	}
	envFile := filepath.Join(s.dev.Data, "dev.env")
	if err := os.Remove(envFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the settings of an earlier run: %w", err)
	}
	sayf(out, "starting; data in %s", s.dev.Data)
	running := &running{failed: make(chan error, 8), log: log}
	defer func() { err = errors.Join(err, running.stop()) }()

	if err := s.startServers(ctx, running, log); err != nil {
		return ignoreCanceled(ctx, err)
	}
	if err := s.prepareDatabase(ctx); err != nil {
		return ignoreCanceled(ctx, err)
	}
	url, err := s.startProcesses(ctx, running, log)
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	if err := s.writeEnv(envFile, url); err != nil {
		return err
	}
	defer os.Remove(envFile) // the next start would remove it too
	s.banner(out, envFile, url, time.Since(began))
	select {
	case <-ctx.Done():
		sayf(out, "stopping")
		return nil
	case err := <-running.failed:
		return err
	}
}

// ignoreCanceled makes Ctrl-C during the start an ordinary end.
func ignoreCanceled(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// startProcesses starts cdc, invalidator and api, each once the one before it works, and waits until the cache is in use.
func (s *devSettings) startProcesses(ctx context.Context, r *running, log *slog.Logger) (url string, err error) {
	streaming := make(chan struct{}, 1)
	r.start("cdc", func(ctx context.Context) error {
		return unlessStopped(ctx, runCDC(ctx, s.db, s.nats, s.cdc, s.health, s.cdcOps, log, func() { notify(streaming) }))
	})
	if err := r.await(ctx, streaming); err != nil {
		return "", err
	}
	states := make(chan struct{}, 1)
	shapes := make(chan struct{}, 1)
	r.start("invalidator", func(ctx context.Context) error {
		return runInvalidator(ctx, s.db, s.redis, s.nats, s.source, s.health, s.invOps, log, nil, func(state cache.State) {
			notify(states)
			if len(state.Generations) > 1 && !state.At.IsZero() { // one is that of the definitions
				notify(shapes)
			}
		})
	})
	if err := r.await(ctx, states); err != nil {
		return "", err
	}
	listening := make(chan struct{}, 1)
	r.start("api", func(ctx context.Context) error {
		return runAPI(ctx, s.db, s.redis, &s.nats, s.source, s.api, s.health, log, func(at string) {
			url = at
			notify(listening)
		})
	})
	if err := r.await(ctx, listening); err != nil {
		return "", err
	}
	// A database of one's own can have long transactions, which shapes have to wait for: reads are served meanwhile.
	if !s.givenDatabase {
		if err := r.await(ctx, shapes); err != nil {
			return "", err
		}
	}
	if s.api.WarmOnStart == 0 {
		return url, nil
	}
	ready := make(chan struct{}, 1)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with asking
		if becomesReady(asking, url) {
			notify(ready)
		}
	}()
	return url, r.await(ctx, ready)
}

// readyInterval is the time between two questions whether the api is ready.
const readyInterval = 100 * time.Millisecond

// becomesReady asks an api until it says that it is ready; false if ctx ends before.
func becomesReady(ctx context.Context, url string) bool {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+health.PathReady, nil)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close() // the status is all that counts
		if resp.StatusCode == http.StatusOK {
			return true
		}
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// prepareDatabase migrates and seeds.
func (s *devSettings) prepareDatabase(ctx context.Context) error {
	sets := []migrations.Set{migrations.Freshet}
	if s.api.Example {
		sets = append(sets, migrations.Example)
	}
	if err := migrate(ctx, io.Discard, s.db.URL, sets, migrateUp); err != nil {
		return err
	}
	if !s.api.Example {
		return nil
	}
	conn, err := pgx.Connect(ctx, s.db.URL)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	return errors.Join(migrations.Seed(ctx, conn), conn.Close(ctx))
}

// openData makes the data folder, and takes it.
func (s *devSettings) openData() (release func(), err error) {
	if s.dev.Data, err = filepath.Abs(s.dev.Data); err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	if err := os.MkdirAll(s.dev.Data, 0o755); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	// Before anything in it is touched: a second dev would else remove the settings file of the first.
	lock, err := servers.LockFolder(filepath.Join(s.dev.Data, "dev"))
	if err != nil {
		return nil, fmt.Errorf("%w with --data or FRESHET_DEV_DATA", err)
	}
	return lock.Release, nil
}

// secrets reads or makes the admin token, which stays the same from start to start.
func (s *devSettings) secrets() (err error) {
	if s.api.AdminToken == "" {
		s.api.AdminToken, err = s.secret("admin.token")
	}
	s.health.AdminToken = s.api.AdminToken
	return err
}

// secret reads a random text from a file of the data folder that only its owner can read, or makes it.
func (s *devSettings) secret(name string) (string, error) {
	path := filepath.Join(s.dev.Data, name)
	text, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(text))) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	made := rand.Text()
	if err := os.WriteFile(path, []byte(made+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep a secret: %w", err)
	}
	return made, nil
}

// writeEnv writes what a shell or a program needs to reach everything, in one step.
func (s *devSettings) writeEnv(path, url string) error {
	var b strings.Builder
	for _, v := range [][2]string{
		{"DATABASE_URL", s.db.URL}, {"REDIS_URL", s.redis.URL}, {"NATS_URL", s.nats.URL},
		{"FRESHET_URL", url}, {"FRESHET_ADMIN_TOKEN", s.api.AdminToken},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the settings for other programs: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the settings for other programs: %w", err)
	}
	return nil
}

func (s *devSettings) banner(out io.Writer, envFile, url string, took time.Duration) {
	sayf(out, "ready in %.1f s: %s", took.Seconds(), url)
	if s.api.Example {
		fmt.Fprintf(out, `
  read     curl -i %[1]s/blogs/1
  write    psql '%[2]s' -c "update blogs set title = 'x' where id = 1"
  read     curl -i %[1]s/blogs/1
`, url, s.db.URL)
	}
	if here, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(here, envFile); err == nil && filepath.IsLocal(relative) {
			envFile = relative
		}
	}
	fmt.Fprintf(out, "\n  watch    %s/ui, with the token: $FRESHET_ADMIN_TOKEN; or: freshet top", url)
	fmt.Fprintf(out, "\n  shell    source %s\n  stop     Ctrl-C\n\n", envFile)
}

func sayf(out io.Writer, format string, args ...any) {
	fmt.Fprintf(out, "freshet: "+format+"\n", args...)
}
