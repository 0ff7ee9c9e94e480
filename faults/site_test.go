package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
	"freshet/internal/servers"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	patience = 30 * time.Second
	apiCount = 2
	source   = "faults"
)

// The ledger has the rows that move and are deleted: the version that each has, and where it is then.
const schema = `CREATE TABLE registers (id bigint PRIMARY KEY, grp int NOT NULL, value bigint NOT NULL DEFAULT 0, epoch bigint NOT NULL DEFAULT 0);
	ALTER TABLE registers REPLICA IDENTITY FULL;
	CREATE TABLE ledger (id bigint PRIMARY KEY, grp int NOT NULL, value bigint NOT NULL);
	CREATE FUNCTION pause() RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN 0; END $$`

// queries are what the api's processes serve. The answer of "slow" lands late: its row has often changed since its snapshot.
var queries = map[string]string{
	plain: fmt.Sprintf("-- route: GET /registers/{id}\n-- param: id bigint\n-- result: one\n-- max_staleness: %s\n", patientBound) +
		"SELECT id, value, epoch FROM registers WHERE id = :id",
	tolerant: fmt.Sprintf("-- route: GET /tolerant/{id}\n-- param: id bigint\n-- result: one\n-- stale_if_error: %s\n", staleIfError) +
		"SELECT id, value, epoch FROM registers WHERE id = :id",
	slow: "-- route: GET /slow/{id}\n-- param: id bigint\n-- result: one\n-- depends: registers(id)\n" +
		"SELECT r.id, r.value, r.epoch FROM registers r, pause() WHERE r.id = :id",
	groupList: "-- route: GET /groups/{grp}\n-- param: grp int\n-- result: many\nSELECT id, value, epoch FROM registers WHERE grp = :grp ORDER BY id",
	"register_put": "-- route: PUT /registers/{id}\n-- param: id bigint\n-- param: value bigint\n-- result: one\n" +
		"UPDATE registers SET value = :value WHERE id = :id AND value < :value RETURNING id, value, epoch",
}

// site is everything that one group of faults is done to.
type site struct {
	*load
	// t is the test of a fault, group that of all that the site suffers.
	t, group *testing.T
	// ctx ends when a promise is broken: there is nothing to wait for then.
	ctx context.Context //nolint:containedctx // its life is that of the load, not of a call

	db, replica *testenv.Database
	redis       *testenv.RedisServer
	nats        *testenv.NATSProgram
	network     *network // between them, where a fault needs it
	databaseURL string   // of the primary, wherever that is

	cdc, invalidator *process
	apis             []*process
	probed           int64 // the last version of the probes
}

// process is one of the program's processes, which can be killed and started again.
type process struct {
	*testenv.Process
	begin func() *testenv.Process
	ready string // the line that says that it works
}

// start starts the process again; it does not wait until it works.
func (p *process) start() { p.Process = p.begin() }

// second starts another one with the same settings.
func (p *process) second() *testenv.Process { return p.begin() }

// options say what a site is like.
type options struct {
	postgres map[string]string
	disk     int64 // bytes of the disk that NATS has for itself; 0: it shares
	// between, if set, gives the address that a process uses in place of a server's: "api", "redis", its URL.
	between func(process, server, url string) string
	// replicas gives the database a replica, and returns the URL that everybody uses then.
	replicas func(s *site) string
	network  *network
}

// newSite starts everything, and waits until the api's processes answer from the cache.
func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{t: t, group: t, ctx: t.Context(), network: o.network}
	s.db, s.redis = testenv.PrivatePostgres(t, o.postgres), testenv.Redis(t)
	if o.disk > 0 {
		s.nats = testenv.NATSOnSmallDisk(t, o.disk)
	} else {
		s.nats = testenv.NATSProcess(t)
	}
	s.databaseURL = s.db.URL
	if o.replicas != nil {
		s.databaseURL = o.replicas(s)
	}
	s.db.Exec(t, schema)
	s.migrate()
	dir := t.TempDir()
	for name, text := range queries {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".sql"), []byte("-- name: "+name+"\n"+text+"\n"), 0o600))
	}
	between := o.between
	if between == nil {
		between = func(_, _, url string) string { return url }
	}
	program := func(name, ready string, settings []string, args ...string) *process {
		env := s.environment(name, between, settings...)
		p := &process{ready: ready, begin: func() *testenv.Process {
			return testenv.StartProcess(t, testenv.Binary(t), env, append([]string{name}, args...)...)
		}}
		p.start()
		return p
	}
	s.cdc = program("cdc", "msg=streaming", nil)
	s.cdc.WaitForLine(t, s.cdc.ready, patience)
	s.invalidator = program("invalidator", "", nil)
	var urls []string
	for range apiCount {
		at := freeAddress(t)
		s.apis = append(s.apis, program("api", "msg=serving", []string{"FRESHET_HTTP_ADDR=" + at}, "--queries", dir, "--max-staleness", maxStaleness.String()))
		urls = append(urls, "http://"+at)
	}
	for _, p := range s.apis {
		p.WaitForLine(t, p.ready, patience)
	}
	s.load = newLoad(urls, s.connect, *seed)
	t.Cleanup(s.http.CloseIdleConnections)
	s.populate()
	_, err := s.recover(patience)
	require.NoError(t, err)
	return s
}

func (s *site) environment(process string, between func(process, server, url string) string, settings ...string) []string {
	var env []string
	for _, v := range config.All() {
		env = append(env, v.Name+"=") // empty counts as not set
	}
	env = append(env, "DATABASE_URL="+between(process, "postgres", s.databaseURL), "REDIS_URL="+between(process, "redis", s.redis.URL),
		"NATS_URL="+between(process, "nats", s.nats.URL), "FRESHET_HTTP_ADDR=127.0.0.1:0", "FRESHET_NATS_SYNC_INTERVAL=1s", "FRESHET_SOURCE="+source,
		"FRESHET_ADMIN_TOKEN="+adminToken, "DB_MIN_CONNECTIONS=2", "DB_COMMAND_TIMEOUT=10s", "DB_CONNECTION_TIMEOUT=2s", "FRESHET_DRAIN_DELAY=3s")
	return append(env, settings...)
}

func (s *site) migrate() {
	s.t.Helper()
	p := testenv.StartProcess(s.t, testenv.Binary(s.t), s.environment("migrate", func(_, _, url string) string { return url }), "migrate", "up")
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, p.Wait(ctx), p.Output())
}

// populate inserts the rows of everybody, and the probes.
func (s *site) populate() {
	s.t.Helper()
	var ids, groups []int64
	for id, r := range s.history.registers {
		ids, groups = append(ids, id), append(groups, int64(r.base.place))
	}
	s.exec("INSERT INTO registers (id, grp) SELECT * FROM unnest($1::bigint[], $2::bigint[])", ids, groups)
	s.exec("INSERT INTO ledger (id, grp, value) SELECT id, grp, value FROM registers WHERE grp >= $1", groupCount)
	s.exec("INSERT INTO registers (id, grp) VALUES ($1, $3), ($2, $3)", probe, probePut, probeGroup)
}

// freeAddress is one at which nobody listens yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := servers.FreePort()
	require.NoError(t, err)
	return "127.0.0.1:" + strconv.Itoa(port)
}

// connect makes a connection to the primary.
func (s *site) connect(ctx context.Context) (conn, error) { return s.primary(ctx) }

func (s *site) primary(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgx.Connect(ctx, s.databaseURL)
}

// exec runs statements on the primary.
func (s *site) exec(sql string, args ...any) {
	s.t.Helper()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	c, err := s.primary(s.ctx)
	require.NoError(s.t, err)
	_, err = c.Exec(s.ctx, sql, args...)
	require.NoError(s.t, errors.Join(err, c.Close(s.ctx)), sql)
}

// hold lets a fault last.
func (s *site) hold(d time.Duration) { pause(s.ctx, d) }

// until waits for something that the load or the processes do.
func (s *site) until(what string, condition func() bool) {
	s.t.Helper()
	end := time.Now().Add(patience)
	for !condition() && s.ctx.Err() == nil {
		require.True(s.t, time.Now().Before(end), "not within %s: %s", patience, what)
		pause(s.ctx, 5*time.Millisecond)
	}
}

// untilOutOfDate lets a fault last until the cache is out of date because of it: all bounded reads go to Postgres.
func (s *site) untilOutOfDate() {
	s.t.Helper()
	before := s.counts.outOfDate.Load()
	s.until("bounded reads go to Postgres", func() bool { return s.counts.outOfDate.Load() > before+50 })
}
