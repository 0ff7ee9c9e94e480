package api_test

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/testenv"
)

// position checks an answer of GET /position and returns its position.
func (s *site) position(r response, reached bool) string {
	s.t.Helper()
	want := http.StatusOK
	if !reached {
		want = http.StatusGatewayTimeout
	}
	require.Equal(s.t, want, r.status, r.body)
	require.Equal(s.t, "no-store", r.header.Get("Cache-Control"))
	require.Equal(s.t, reached, s.field(r, "reached"))
	return s.field(r, "position").(string)
}

// applied says that the cache has applied everything up to there, and nothing more.
func (s *site) applied(to string) {
	s.t.Helper()
	require.NoError(s.t, s.redis.HSet(s.t.Context(), "freshet:watermark", "position", to).Err())
}

// startAhead is start with a watermark far ahead of the server's WAL: it has passed whatever an entry has seen.
func startAhead(t *testing.T, edit ...func(*options)) *site {
	t.Helper()
	s := start(t, edit...)
	s.applied("F/10")
	return s
}

// looks is how often somebody has looked at the watermark.
func (s *site) looks() int {
	s.t.Helper()
	stats := s.redis.InfoMap(s.t.Context(), "commandstats").Item("Commandstats", "cmdstat_hmget")
	calls := regexp.MustCompile(`^calls=(\d+)`).FindStringSubmatch(stats)
	if calls == nil {
		return 0
	}
	n, err := strconv.Atoi(calls[1])
	require.NoError(s.t, err)
	return n
}

// The position that is asked for is compared with the watermark, whatever Postgres has; a wait of no time is a look.
func TestPositionReached(t *testing.T) {
	s := startAhead(t)
	for _, tt := range []struct {
		query, position string
		reached         bool
	}{
		{"?at-least=F/10", "F/10", true},
		{"?at-least=f/10", "F/10", true},
		{"?at-least=F%2F10&timeout=0s", "F/10", true},
		{"?at-least=0/1&timeout=30s", "0/1", true},
		{"?at-least=F/10%3Btimeline%3D1", "F/10", true},
		{"?at-least=F/11&timeout=0s", "F/11", false},
		{"?at-least=F/11&timeout=20ms", "F/11", false},
		{"?at-least=0/1%3Btimeline%3D2&timeout=20ms", "0/1;timeline=2", false}, // of a server that took over
	} {
		require.Equal(t, tt.position, s.position(s.get("/position"+tt.query), tt.reached), tt.query)
	}
}

// Without a position it is where the WAL ends now: whatever was committed before.
func TestPositionOfNow(t *testing.T) {
	s := startAhead(t)
	s.db.Exec(t, "UPDATE blogs SET title = 'New' WHERE id = 1")
	committed := position(t, testenv.Value[string](t, s.db, "SELECT pg_current_wal_insert_lsn()::text"))
	now := s.position(s.get("/position"), true)
	require.GreaterOrEqual(t, position(t, now), committed)
	require.Less(t, position(t, now), position(t, "F/10"), "it is not the watermark's")

	s.applied("0/1")
	behind := s.position(s.get("/position?timeout=20ms"), false)
	require.GreaterOrEqual(t, position(t, behind), committed)
}

// It answers once the cache has passed the position, and not before.
func TestPositionWaits(t *testing.T) {
	s := startAhead(t)
	var g errgroup.Group
	var r response
	done := make(chan struct{})
	before := s.looks()
	g.Go(func() (err error) {
		defer close(done)
		r, err = s.try(http.MethodGet, "/position?at-least=F/20&timeout=20s", "")
		return err
	})
	looked := func(times int) {
		testenv.Eventually(t, patience, func() (bool, string) { return s.looks() >= before+times, "nobody looks at the watermark" })
		select {
		case <-done:
			t.Fatal("it was answered before the cache had passed the position")
		default:
		}
	}
	looked(3)
	s.applied("F/1F")
	before = s.looks()
	looked(3)
	s.applied("F/20")
	require.NoError(t, g.Wait())
	require.Equal(t, "F/20", s.position(r, true))
}

// A cache without a watermark has passed nothing; one that is gone cannot say.
func TestPositionWithoutACache(t *testing.T) {
	s := newSite(t)
	s.position(s.get("/position?timeout=20ms"), false)
	require.Equal(t, "0/1", s.position(s.get("/position?at-least=0/1&timeout=20ms"), false))
	require.NoError(t, s.server.Server.Kill())
	require.Equal(t, "0/1", s.position(s.get("/position?at-least=0/1&timeout=20ms"), false))
}

// After a failover positions are given out again. A bare one is of the primary that is asked: a cache that is further on the timeline
// before has not passed it.
func TestPositionAfterAFailover(t *testing.T) {
	s := start(t, func(o *options) { o.private, o.promoted = true, true })
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 1, Position: position(t, "F/10")})
	end := s.end().String()
	require.Equal(t, end+";timeline=2", s.position(s.get("/position?timeout=20ms&at-least="+end), false))
	require.Equal(t, "0/0;timeline=2", s.position(s.get("/position?timeout=20ms&at-least=0/0"), false))
	require.Equal(t, end, s.position(s.get("/position?timeout=20ms&at-least="+end+"%3Btimeline=1"), true), "who says which means it")
	s.setWatermarkAt(time.Now(), cache.Mark{Timeline: 2, Position: s.end()})
	require.Equal(t, end+";timeline=2", s.position(s.get("/position?at-least="+end), true))

	require.NoError(t, s.db.Server.Kill())
	s.problem(s.get("/position?at-least="+end), http.StatusServiceUnavailable, "/position")
	s.position(s.get("/position?at-least="+end+"%3Btimeline=2"), true)
}

// What cannot be read is refused by its name. It never counts as not given: the answer would be that of another question.
func TestPositionBadParameters(t *testing.T) {
	s := startAhead(t)
	for _, tt := range []struct{ query, say string }{
		{"at-least=soon", "at-least: "},
		{"at-least=10", "at-least: "},
		{"at-least=0/", "at-least: "},
		{"at-least=0/G", "at-least: "},
		{"at-least=0/123456789", "at-least: "},
		{"at-least=F/10%3Bside=2", "at-least: "},
		{"at-least=F/10%3Btimeline=x", "at-least: "},
		{"timeout=5", `timeout: "5" is not a duration from 0s to 30s`},
		{"timeout=soon", `timeout: "soon" is not a duration`},
		{"timeout=-1s", `timeout: "-1s" is not a duration`},
		{"timeout=31s", `timeout: "31s" is not a duration`},
		{"at-least=F/10&timeout=1h", `timeout: "1h" is not a duration`},
		{"at-least=F/10;timeline=2", "the query string is malformed"},
		{"at-least=%zz", "the query string is malformed"},
		{"atleast=F/10", "atleast: there is no such parameter"},
	} {
		p := s.problem(s.get("/position?"+tt.query), http.StatusBadRequest, "/position")
		require.Contains(t, p.Detail, tt.say, tt.query)
	}
}
