package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"freshet/events"
	"freshet/internal/servers"
	"freshet/migrations"
)

// syncInterval is that of the NATS server: short, so that the slot follows soon and each round of the throughput begins at
// the same place for both sides.
const syncInterval = time.Second

// startPatience bounds the start of everything, with a build from nothing.
const startPatience = 5 * time.Minute

// rig is everything that a run needs: servers, Freshet in three processes, and our own connections.
type rig struct {
	dir      string
	progress *progress
	cancel   context.CancelCauseFunc // ends the run
	watched  sync.WaitGroup
	rows     int // of the table bench_rows

	freshet, natsServer, self string // programs
	binDir                    string // of Postgres

	postgres *servers.Postgres
	redis    *servers.Redis
	nats     *program

	cdc, invalidator, api *program
	others                []*program
	databaseURL, natsURL  string
	apiAddr               string

	pool   *pgxpool.Pool
	client *redis.Client
	conn   *nats.Conn
	js     jetstream.JetStream
}

// startRig starts everything. The rig is to be stopped also if that fails.
func startRig(ctx context.Context, cancel context.CancelCauseFunc, p *progress, o options) (*rig, error) {
	r := &rig{cancel: cancel, progress: p, rows: o.rows}
	ctx, done := context.WithTimeout(ctx, startPatience)
	defer done()
	var err error
	if r.self, err = os.Executable(); err != nil {
		return r, err
	}
	if r.dir, err = servers.MkdirTemp("freshet-bench-*"); err != nil {
		return r, err
	}
	p.beginf("building Freshet and nats-server, starting the servers")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.build(gctx) })
	g.Go(func() error { return r.startServers(gctx) })
	if err := g.Wait(); err != nil {
		return r, err
	}
	if err := r.startNATS(ctx); err != nil {
		return r, err
	}
	if err := r.connect(ctx); err != nil {
		return r, err
	}
	p.beginf("making the example data")
	if err := r.prepare(ctx); err != nil {
		return r, err
	}
	p.beginf("starting Freshet")
	return r, r.startFreshet(ctx)
}

// build makes the programs, as `make build` does.
func (r *rig) build(ctx context.Context) error {
	for _, b := range []struct {
		output    *string
		name, pkg string
	}{{&r.freshet, "freshet", "freshet/cmd/freshet"}, {&r.natsServer, "nats-server", "github.com/nats-io/nats-server/v2"}} {
		*b.output = filepath.Join(r.dir, "bin", b.name)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", *b.output, b.pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s (run it in the repository's folder): %w\n%s", b.pkg, err, out)
		}
	}
	return nil
}

func (r *rig) startServers(ctx context.Context) error {
	var err error
	if r.binDir, err = servers.FindPostgres(""); err != nil {
		return err
	}
	r.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{Dir: filepath.Join(r.dir, "postgres"), BinDir: r.binDir})
	if err != nil {
		return err
	}
	r.databaseURL = r.postgres.URL("postgres")
	// E and g: a message to __keyevent@0__:del for each key that is deleted, by UNLINK too.
	r.redis, err = servers.StartRedis(ctx, servers.RedisOptions{
		Dir: filepath.Join(r.dir, "redis"), Args: []string{"--notify-keyspace-events", "Eg"},
	})
	return err
}

func (r *rig) startNATS(ctx context.Context) error {
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	config := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream { store_dir: %q, sync_interval: %q }\n",
		port, filepath.Join(r.dir, "nats"), syncInterval)
	path := filepath.Join(r.dir, "nats.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return fmt.Errorf("write the configuration of nats-server: %w", err)
	}
	r.natsURL = "nats://127.0.0.1:" + strconv.Itoa(port)
	if r.nats, err = r.start("nats-server", r.natsServer, nil, "--config", path); err != nil {
		return err
	}
	err = until(ctx, "nats-server accepts connections", func() (bool, error) {
		r.conn, err = nats.Connect(r.natsURL, nats.Name("freshet bench"))
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	r.js, err = jetstream.New(r.conn)
	return err
}

func (r *rig) connect(ctx context.Context) error {
	var err error
	if r.pool, err = pgxpool.New(ctx, r.databaseURL); err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	r.client = redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	return r.client.Ping(ctx).Err()
}

// ownTables are what only the bench needs: rows to push through, a query that depends on them, and a second table of blogs for
// the prototype, with a publication of its own.
const ownTables = `
CREATE TABLE bench_rows (id bigint PRIMARY KEY, name text NOT NULL, note text NOT NULL, counter bigint NOT NULL);
ALTER TABLE bench_rows REPLICA IDENTITY FULL;
CREATE TABLE bench_blogs (LIKE blogs INCLUDING ALL);
ALTER TABLE bench_blogs REPLICA IDENTITY FULL;
INSERT INTO bench_blogs OVERRIDING SYSTEM VALUE SELECT * FROM blogs;
CREATE PUBLICATION bench_prototype FOR TABLE bench_blogs;
ANALYZE;`

const rowQuery = `-- name: bench_row
-- route: GET /bench/rows/{id}
-- param: id bigint
-- result: one
-- depends: bench_rows(id)
SELECT id, name, counter FROM bench_rows WHERE id = :id
`

func (r *rig) prepare(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, r.freshet, "migrate", "up", "--example")
	cmd.Env = append(cleanEnv(), "DATABASE_URL="+r.databaseURL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("freshet migrate up: %w\n%s", err, out)
	}
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Release()
	if err := migrations.Seed(ctx, conn.Conn()); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, ownTables, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make the tables of the bench: %w", err)
	}
	_, err = conn.Exec(ctx, `INSERT INTO bench_rows SELECT i, 'row number ' || i, repeat(md5(i::text), 3), 0 FROM generate_series(1, $1::bigint) i`, r.rows)
	if err != nil {
		return fmt.Errorf("fill bench_rows: %w", err)
	}
	queries := filepath.Join(r.dir, "queries")
	if err := os.Mkdir(queries, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(queries, "bench_row.sql"), []byte(rowQuery), 0o644)
}

// startFreshet starts the three processes and waits until a read is a hit.
func (r *rig) startFreshet(ctx context.Context) error {
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	r.apiAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := r.startCDC(); err != nil {
		return err
	}
	// The first start of cdc makes the stream, without which the invalidator refuses to start.
	err = until(ctx, "cdc has made the stream", func() (bool, error) {
		_, err := r.js.Stream(ctx, events.StreamName(source))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if err := r.startInvalidator(); err != nil {
		return err
	}
	r.api, err = r.start("freshet api", r.freshet, r.env(
		"FRESHET_HTTP_ADDR="+r.apiAddr, "FRESHET_EXAMPLE=true", "FRESHET_QUERIES="+filepath.Join(r.dir, "queries"),
	), "api")
	if err != nil {
		return err
	}
	return until(ctx, "a read of blog 1 is a hit", func() (bool, error) {
		answer, err := get(ctx, r.apiAddr, "/blogs/1")
		return err == nil && answer.hit, nil
	})
}

func (r *rig) startCDC() (err error) {
	r.cdc, err = r.start("freshet cdc", r.freshet, r.env("FRESHET_NATS_SYNC_INTERVAL="+syncInterval.String()), "cdc")
	return err
}

func (r *rig) startInvalidator() (err error) {
	r.invalidator, err = r.start("freshet invalidator", r.freshet, r.env(), "invalidator")
	return err
}

func (r *rig) env(more ...string) []string {
	return append(more, "DATABASE_URL="+r.databaseURL, "REDIS_URL="+r.redis.URL(), "NATS_URL="+r.natsURL)
}

// startOther starts one of the things to compare with: this program, under a hidden subcommand.
func (r *rig) startOther(name string, args ...string) error {
	p, err := r.start("bench "+name, r.self, r.env(), append([]string{name}, args...)...)
	if err == nil {
		r.others = append(r.others, p)
	}
	return err
}

// stopOthers ends what was only there to compare with.
func (r *rig) stopOthers() error {
	var errs []error
	for _, p := range r.others {
		errs = append(errs, p.stop())
	}
	r.others = nil
	return errors.Join(errs...)
}

// stop ends everything, readers before what they read from, and removes the folder.
func (r *rig) stop() error {
	errs := []error{r.stopOthers()}
	for _, p := range []*program{r.api, r.invalidator, r.cdc} {
		errs = append(errs, p.stop())
	}
	if r.conn != nil {
		r.conn.Close()
	}
	if r.client != nil {
		errs = append(errs, r.client.Close())
	}
	if r.pool != nil {
		r.pool.Close()
	}
	errs = append(errs, r.nats.stop())
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if r.redis != nil {
		errs = append(errs, r.redis.Stop(ctx))
	}
	if r.postgres != nil {
		errs = append(errs, r.postgres.Stop(ctx))
	}
	r.watched.Wait()
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// machine describes what the figures were measured on; what cannot be found out stays empty.
func (r *rig) machine(ctx context.Context) machine {
	m := machine{OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), NATS: r.conn.ConnectedServerVersion()}
	_ = r.pool.QueryRow(ctx, "SHOW server_version").Scan(&m.Postgres)
	info, _ := r.client.Info(ctx, "server").Result()
	if _, rest, ok := strings.Cut(info, "redis_version:"); ok {
		m.Redis, _, _ = strings.Cut(rest, "\r\n")
	}
	return m
}

// pollInterval is how often something is looked at that has no event.
const pollInterval = 2 * time.Millisecond

// until asks until the answer is yes. what says in words what is waited for.
func until(ctx context.Context, what string, yes func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := yes()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}
