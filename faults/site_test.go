package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
	// probe is a row that nobody reads or writes but those who want to know whether everything works.
	probe = 1_000_000
)

const schema = `CREATE TABLE registers (id bigint PRIMARY KEY, grp int NOT NULL, value bigint NOT NULL DEFAULT 0, epoch bigint NOT NULL DEFAULT 0);
	ALTER TABLE registers REPLICA IDENTITY FULL;
	INSERT INTO registers (id, grp) SELECT n, (n - 1) / %d FROM generate_series(1, %d) n;
	INSERT INTO registers (id, grp) VALUES (%d, -1);
	CREATE FUNCTION pause() RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN 0; END $$`

// queries are what the api's processes serve. The answer of "slow" lands late: its row has often changed since its snapshot.
var queries = map[string]string{
	"register": "-- route: GET /registers/{id}\n-- param: id bigint\n-- result: one\nSELECT id, value, epoch FROM registers WHERE id = :id",
	"tolerant": "-- route: GET /tolerant/{id}\n-- param: id bigint\n-- result: one\n-- stale_if_error: 20s\nSELECT id, value, epoch FROM registers WHERE id = :id",
	"slow": "-- route: GET /slow/{id}\n-- param: id bigint\n-- result: one\n-- depends: registers(id)\n" +
		"SELECT r.id, r.value, r.epoch FROM registers r, pause() WHERE r.id = :id",
	"group_list": "-- route: GET /groups/{grp}\n-- param: grp int\n-- result: many\nSELECT id, value, epoch FROM registers WHERE grp = :grp ORDER BY id",
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
	probed           int64
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
	s.db.Exec(t, fmt.Sprintf(schema, groupSize, groupSize*groupCount, probe))
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

// untilOutOfDate lets a fault last until the cache is out of date because of it: bounded reads go to Postgres.
func (s *site) untilOutOfDate() {
	s.t.Helper()
	before := s.counts.outOfDate.Load()
	s.until("bounded reads go to Postgres", func() bool { return s.counts.outOfDate.Load() > before+100 })
}

// recover waits until everything works: a write shows in a no-cache read of each process, and the next one is a hit. It returns how
// long that took.
func (s *site) recover(within time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		err := s.works()
		took := time.Since(began)
		_, broken := errors.AsType[*staleError](err)
		switch {
		case err == nil:
			return took, nil
		case broken || s.ctx.Err() != nil:
			return took, err
		case took > within:
			return took, fmt.Errorf("not back %s after the fault's end: %w", within, err)
		}
		pause(s.ctx, 10*time.Millisecond)
	}
}

func (s *site) works() error {
	ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
	defer cancel()
	c, err := s.primary(ctx)
	if err != nil {
		return err
	}
	defer closeConn(c)
	s.probed++
	if _, err := c.Exec(ctx, "UPDATE registers SET value = $2 WHERE id = $1", probe, s.probed); err != nil {
		return err
	}
	for _, url := range s.all {
		for _, hit := range []bool{false, true} {
			a, err := s.do(ctx, http.MethodGet, url+"/registers/"+strconv.Itoa(probe), nil, linearizable)
			if err != nil {
				return err
			}
			rows, err := a.rows()
			if err != nil {
				return err
			}
			if rows[0].Value != s.probed {
				return &staleError{what: fmt.Sprintf("the probe is at %d, and was answered with %d (%s)", s.probed, rows[0].Value, a.cacheStatus())}
			}
			if hit && !a.hit() {
				return errors.New("no hit: " + a.cacheStatus())
			}
		}
	}
	return nil
}

// values are those of the database.
func (s *site) values() (map[int64]int64, error) {
	c, err := s.primary(s.t.Context())
	if err != nil {
		return nil, err
	}
	defer closeConn(c)
	rows, err := c.Query(s.t.Context(), "SELECT id, value FROM registers WHERE id <> $1", probe)
	if err != nil {
		return nil, err
	}
	all := map[int64]int64{}
	var id, value int64
	_, err = pgx.ForEachRow(rows, []any{&id, &value}, func() error {
		all[id] = value
		return nil
	})
	return all, err
}

// compare checks, while everybody rests, that whatever is cached equals the database. It returns how many answers were cached.
func (s *site) compare() (cached int, err error) {
	for _, url := range s.all {
		a, err := s.do(s.t.Context(), http.MethodGet, url+"/position?timeout=20s", nil)
		if err != nil || a.status != http.StatusOK {
			return 0, fmt.Errorf("the watermark does not come: %w", err)
		}
	}
	c, err := s.primary(s.t.Context())
	if err != nil {
		return 0, err
	}
	defer closeConn(c)
	rows, err := c.Query(s.t.Context(), "SELECT grp, json_agg(json_build_object('ID', id, 'Value', value, 'Epoch', epoch) ORDER BY id)::text FROM registers WHERE grp >= 0 GROUP BY grp")
	if err != nil {
		return 0, err
	}
	groups := map[int][]row{}
	var group int
	var text string
	_, err = pgx.ForEachRow(rows, []any{&group, &text}, func() error {
		var all []row
		err := json.Unmarshal([]byte(text), &all)
		groups[group] = all
		return err
	})
	if err != nil {
		return 0, err
	}
	for group, all := range groups {
		want := map[string][]row{"/groups/" + strconv.Itoa(group): all}
		for _, r := range all {
			for _, query := range []string{"registers", "slow", "tolerant"} {
				want[fmt.Sprintf("/%s/%d", query, r.ID)] = []row{r}
			}
		}
		n, err := s.equal(want)
		if cached += n; err != nil {
			return cached, err
		}
	}
	return cached, nil
}

func (s *site) equal(want map[string][]row) (cached int, err error) {
	for path, rows := range want {
		for _, url := range s.all {
			a, err := s.do(s.t.Context(), http.MethodGet, url+path, nil, "Cache-Control: only-if-cached")
			if a != nil && a.status == http.StatusGatewayTimeout {
				continue
			}
			if err != nil {
				return cached, err
			}
			got, err := a.rows()
			if err != nil {
				return cached, err
			}
			if !slices.Equal(got, rows) {
				return cached, &staleError{what: fmt.Sprintf("after quiet %s is cached as %v, and the database has %v", path, got, rows)}
			}
			cached++
		}
	}
	return cached, nil
}
