package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/events"
	"freshet/example"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
)

var (
	soakSeed = flag.Uint64("soak.seed", 0, "seed of the soak's random choices; 0: another one each time")
	soakTime = flag.Duration("soak.time", 20*time.Second, "how long the soak writes and reads")
)

const (
	soakWriters = 4
	soakReaders = 8
	// soakStaleness is the api's bound. It is short, so that it is reached while cdc and the invalidator are dead.
	soakStaleness = time.Second
)

// slowFile is a read whose row often changes after its snapshot was taken and before the answer is stored (rule 2).
const slowFile = `-- name: soak_slow
-- route: GET /slow/{id}
-- param: id bigint
-- result: one
-- depends: blogs(id)
SELECT b.id, b.views FROM blogs b, soak_pause() WHERE b.id = :id
`

// soak is one run: processes of the real program, and what is known of the database and of the answers.
type soak struct {
	b       *backends
	dir     string // of its own query file
	url     string
	client  *http.Client
	queries map[string]*query.Query
	reads   []soakRead
	history *history
	writers []*soakWriter
	readers []*soakReader
	random  *rand.Rand
	redis   *redis.Client
	kills   int

	answered, hits, notModified, bypassed, writes, rolledBack, unlinked atomic.Int64
}

// Everything at once: four writers by SQL, eight readers by HTTP, buckets that vanish, cdc and the invalidator killed in turn. During
// the run no answer may be older than the bound, nor a row go back in time behind a hit. After each quarter everybody pauses, and
// every answer of every read has to equal, byte for byte, what Postgres says: later writes must not hide what was wrong.
func TestSoak(t *testing.T) {
	t.Parallel() // it rests most of the time
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat the choices with -soak.seed %d", seed)
	s := newSoak(t)
	processes, url := s.b.start(t, "--example", "--queries", s.dir, "--max-staleness", soakStaleness.String())
	s.url = url
	untilHit(t, s.url+"/blogs/1")
	for i := range uint64(soakWriters) {
		s.writers = append(s.writers, &soakWriter{soak: s, conn: s.b.db.Conn(t), random: rand.New(rand.NewPCG(seed, i))})
	}
	for i := range uint64(soakReaders) {
		s.readers = append(s.readers, &soakReader{soak: s, random: rand.New(rand.NewPCG(seed, 100+i)), last: map[string]remembered{}})
	}
	s.random, s.redis = rand.New(rand.NewPCG(seed, 200)), s.b.redis.Client(t)

	kept, compared := 0, 0
	for quarter, victim := range []int{0, 1, 0, 1} {
		name := []string{"cdc", "invalidator"}[victim]
		processes[victim] = s.quarter(t, processes[victim], name, quarter == 2)
		s.awaitWatermark(t)
		kept += s.compare(t)
		compared += len(s.reads)
	}
	t.Logf("%d reads (%d hits, %d not modified, %d bypassed), %d transactions (%d rolled back), %d buckets unlinked, %d kills; "+
		"of %d results compared %d had been cached before, and all were right", s.answered.Load(), s.hits.Load(), s.notModified.Load(),
		s.bypassed.Load(), s.writes.Load(), s.rolledBack.Load(), s.unlinked.Load(), s.kills, compared, kept)
	// A soak without hits, or one after which nothing was cached, has shown nothing.
	require.Greater(t, s.hits.Load(), s.answered.Load()/20)
	require.Greater(t, s.writes.Load(), int64(100))
	require.Positive(t, s.bypassed.Load())
	require.Greater(t, kept, compared/10)
	require.NotContains(t, processes[2].Output(), "level=ERROR")
}

// quarter lets everybody work for a while. In the middle it kills a process, and starts it again: at once, or so late that the
// cache is out of use meanwhile. It returns the new process.
func (s *soak) quarter(t *testing.T, victim *testenv.Process, name string, flush bool) *testenv.Process {
	t.Helper()
	length := *soakTime / 4
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	g, work := errgroup.WithContext(ctx)
	for _, w := range s.writers {
		g.Go(func() error { return w.run(work) })
	}
	for _, r := range s.readers {
		g.Go(func() error { return r.run(work) })
	}
	late := time.Duration(s.random.Int64N(int64(2 * soakStaleness)))
	g.Go(func() error { return s.unlink(work, flush) })
	wait(work, length/4)
	victim.Kill()
	s.kills++
	wait(work, min(late, length/2))
	next := begin(t, s.b.env, name)
	require.NoError(t, g.Wait())
	return next
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{b: newBackends(t, testenv.Postgres(t)), queries: map[string]*query.Query{}, history: newHistory()}
	s.b.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), s.b.db.Conn(t)))
	s.b.db.Exec(t, `CREATE FUNCTION soak_pause() RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN 0; END $$`)
	s.dir = writeFile(t, "soak_slow.sql", slowFile)
	all, err := query.Load(example.Queries())
	require.NoError(t, err)
	own, err := query.Load(os.DirFS(s.dir))
	require.NoError(t, err)
	all = append(all, own...)
	for _, q := range all {
		s.queries[q.Name] = q
	}
	slugs := testenv.Value[[]string](t, s.b.db, "SELECT array_agg(slug ORDER BY id) FROM blogs WHERE id <= 20")
	s.reads = soakReads(slugs)
	covered := map[string]bool{}
	for _, r := range s.reads {
		covered[r.query] = true
	}
	for _, q := range all {
		require.True(t, !q.Cached() || covered[q.Name], "the soak does not read %s", q.Name)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: soakReaders}
	s.client = &http.Client{Timeout: patience, Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return s
}

// wait lets some time pass; false if the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// unlink makes buckets vanish, as eviction would; flush begins with everything.
func (s *soak) unlink(ctx context.Context, flush bool) error {
	if flush {
		if err := s.redis.FlushAll(ctx).Err(); err != nil {
			return fmt.Errorf("flush Redis: %w", err)
		}
	}
	for wait(ctx, time.Duration(s.random.Int64N(int64(60*time.Millisecond)))) {
		key, err := s.redis.RandomKey(ctx).Result()
		if err == nil && key != "freshet:watermark" {
			err = s.redis.Unlink(ctx, key).Err()
			s.unlinked.Add(1)
		}
		if err != nil && !errors.Is(err, redis.Nil) && ctx.Err() == nil {
			return fmt.Errorf("unlink a bucket: %w", err)
		}
	}
	return nil
}

// awaitWatermark waits until everything that was written has been applied to the cache.
func (s *soak) awaitWatermark(t *testing.T) {
	t.Helper()
	wal, err := postgres.ReadWALGeometry(t.Context(), s.b.db.Pool(t))
	require.NoError(t, err)
	insert := parsePosition(t, testenv.Value[string](t, s.b.db, "SELECT pg_current_wal_insert_lsn()::text"))
	final := events.Position(wal.End(uint64(insert)))
	client := s.b.redis.Client(t)
	testenv.Eventually(t, patience, func() (bool, string) {
		at, err := client.HGet(t.Context(), "freshet:watermark", "position").Result()
		if err != nil {
			return false, err.Error()
		}
		return parsePosition(t, at) >= final, fmt.Sprintf("the watermark is at %s, the database at %s", at, final)
	})
}

// compare reads everything twice and compares it with what the same statement gives directly. It returns how many results were
// still in the cache.
func (s *soak) compare(t *testing.T) (kept int) {
	t.Helper()
	conn := s.b.db.Conn(t)
	for _, read := range s.reads {
		want := s.direct(t, conn, read)
		if s.right(t, read, want).hit() {
			kept++
		}
		// Now it is in the cache, or will be once the watermark is young enough.
		testenv.Eventually(t, patience, func() (bool, string) {
			a := s.right(t, read, want)
			return a.hit(), fmt.Sprintf("%s is not cached: %s", read.path, a.header)
		})
	}
	return kept
}

// right reads once; the answer has to be what Postgres says.
func (s *soak) right(t *testing.T, read soakRead, want []byte) answer {
	t.Helper()
	a := get(t, s.url+read.path)
	if want == nil {
		require.Equal(t, http.StatusNotFound, a.status, "%s: %s %s", read.path, a.header, a.body)
		return a
	}
	require.Equal(t, http.StatusOK, a.status, "%s: %s", read.path, a.header)
	require.Equal(t, string(want), a.body, "%s: %s", read.path, a.header)
	return a
}

// direct is what Postgres says, nil if there is no row.
func (s *soak) direct(t *testing.T, conn *pgx.Conn, read soakRead) []byte {
	t.Helper()
	q := s.queries[read.query]
	args, err := q.Bind(query.Values{Path: read.params, Query: read.values()})
	require.NoError(t, err)
	var body []byte
	require.NoError(t, conn.QueryRow(t.Context(), q.Text, args.Values()...).Scan(&body))
	return bytes.Clone(body)
}

// soakRead is one request that is made over and over.
type soakRead struct {
	query  string
	path   string // with the query string
	params map[string]string
	blog   int64 // the row of which the answer shows the version, or 0
}

// values are those of the query string.
func (r soakRead) values() url.Values {
	_, raw, _ := strings.Cut(r.path, "?")
	values, err := url.ParseQuery(raw)
	if err != nil {
		panic(err) // soakReads wrote it
	}
	return values
}

// fetch makes the request; known, if not empty, is an entity tag.
func (r soakRead) fetch(ctx context.Context, s *soak, known string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+r.path, nil)
	if err != nil {
		return answer{}, err
	}
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, errors.Join(err, resp.Body.Close())
}
