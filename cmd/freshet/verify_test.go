package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/migrations"
)

// verified is what a test looks at of freshet verify --format json.
type verified struct {
	Sampled, Checked, Stale, Behind, Undecided, Cleared, Identical int64
	Foreign, Failures                                              map[string]int64
	StaleEntries                                                   int64 `json:"stale_entries"`
	AnsweredByAPI                                                  int64 `json:"answered_by_api"`
	Consistency                                                    struct {
		Nines float64
	}
	Queries map[string]struct{ Checked int64 }
	Found   []struct {
		Query, Kind, Position, Cached, Truth, Seen, Chain string
		Params                                            map[string]any
		Buckets                                           []struct{ Bucket, Token string }
		Changes                                           []struct {
			Position, Op, Key string
			Lacked            bool
		}
	}
}

func parseVerified(t *testing.T, output string) (v verified) {
	t.Helper()
	from, to := strings.Index(output, "{\n"), strings.LastIndex(output, "\n}")
	require.Positive(t, to, output)
	require.NoError(t, json.Unmarshal([]byte(output[from:to+2]), &v), output)
	return v
}

// busy reads and writes until ctx ends.
func busy(ctx context.Context, t *testing.T, b *backends, url string) (done func()) {
	t.Helper()
	var all sync.WaitGroup
	conn := b.db.Conn(t)
	all.Go(func() {
		draw := rand.New(rand.NewPCG(1, 2))
		for n := 0; wait(ctx, 2*time.Millisecond); n++ {
			sql := []string{
				"UPDATE blogs SET views = views + 1 WHERE id = $1", "UPDATE blogs SET title = title || 'x' WHERE id = $1",
				"UPDATE blogs SET updated_at = updated_at WHERE id = $1",
				"UPDATE blogs SET status = CASE status WHEN 'draft' THEN 'published' ELSE 'draft' END WHERE id = $1",
			}[n%4]
			if _, err := conn.Exec(context.WithoutCancel(ctx), sql, 1+draw.IntN(30)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for reader := range uint64(2) {
		all.Go(func() {
			draw := rand.New(rand.NewPCG(3, reader))
			for ctx.Err() == nil {
				path := []string{
					fmt.Sprint("/blogs/", 1+draw.IntN(40)), fmt.Sprint("/blogs?limit=", 1+draw.IntN(50)), "/blogs?status=draft",
				}[draw.IntN(3)]
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := http.DefaultClient.Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	}
	return all.Wait
}

// While everybody reads and writes, what is cached is what the database says: thousands of entries of a real api, none of them stale,
// foreign or otherwise odd; and the api itself answers with what is cached.
func TestVerifyBusy(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), b.db.Conn(t)))
	_, url := b.start(t, "--example")
	untilHit(t, url+"/blogs/1")
	ctx, stop := context.WithCancel(t.Context())
	done := busy(ctx, t, b, url)
	output, status := finish(t, b.env, "verify", "--duration", "4s", "--rate", "1000/s", "--format", "json", "--url", url)
	stop()
	done()
	require.Zero(t, status, output)
	v := parseVerified(t, output)
	t.Logf("%+v", v)
	require.Zero(t, v.Stale)
	require.Greater(t, v.Checked, int64(1000))
	require.Greater(t, v.Consistency.Nines, 2.0)
	require.Positive(t, v.Behind)
	require.Positive(t, v.Cleared)
	require.Positive(t, v.AnsweredByAPI)
	require.Positive(t, v.Queries["blog_by_id"].Checked)
	require.Positive(t, v.Queries["blog_list"].Checked)
	require.Empty(t, v.Foreign)
	require.Empty(t, v.Failures)
}

// A stale entry planted by hand, an old one under the new tokens, is found: by the command, with its history, and by the invalidator
// that verifies in the background. Nothing else is called stale.
func TestVerifyFindsAPlantedEntry(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), b.db.Conn(t)))
	output, status := finish(t, b.env, "verify", "--duration", "1s")
	require.Zero(t, status, output)
	require.Regexp(t, `checked +0 `, output)
	require.Contains(t, output, "the cache is empty. 0 checked proves nothing")

	begin(t, b.env, "cdc").WaitForLine(t, "msg=streaming", patience)
	invalidator := begin(t, b.env, "invalidator", "--verify-rate", "200/s", "--example")
	url := serving(t, begin(t, b.env, "api", "--example"))
	for id := range 10 {
		untilHit(t, fmt.Sprint(url, "/blogs/", id+1))
	}
	client, key := b.redis.Client(t), "freshet:public.blogs:id=3"
	old, err := client.HGetAll(t.Context(), key).Result()
	require.NoError(t, err)
	b.db.Exec(t, "UPDATE blogs SET title = 'The new title' WHERE id = 3")
	untilShows(t, url+"/blogs/3", "The new title")
	untilHit(t, url+"/blogs/3")
	output, status = finish(t, b.env, "verify", "--duration", "1s", "--rate", "300")
	require.Zero(t, status, output)
	require.Regexp(t, `consistency .* % .*or more, with 95 % confidence`, output)
	require.NotContains(t, invalidator.Output(), "STALE")

	token, err := client.HGet(t.Context(), key, "token").Result()
	require.NoError(t, err)
	for field, entry := range old {
		if field != "token" {
			require.Contains(t, entry, old["token"])
			require.NoError(t, client.HSet(t.Context(), key, field, strings.Replace(entry, old["token"], token, 1)).Err())
		}
	}
	require.NotContains(t, get(t, url+"/blogs/3").body, "The new title", "readers get it")

	output, status = finish(t, b.env, "verify", "--duration", "2s", "--rate", "300", "--format", "json", "--source", sourceName(b.db))
	require.Equal(t, 1, status, output)
	require.Regexp(t, `freshet: \d+ of \d+ entries that were checked are stale`, output)
	v := parseVerified(t, output)
	require.EqualValues(t, 1, v.StaleEntries)
	require.Len(t, v.Found, 1)
	found := v.Found[0]
	require.Equal(t, "blog_by_id", found.Query)
	require.Equal(t, map[string]any{"id": "3"}, found.Params)
	require.Contains(t, found.Truth, "The new title")
	require.NotContains(t, found.Cached, "The new title")
	require.Equal(t, key, found.Buckets[0].Bucket)
	require.Equal(t, token, found.Buckets[0].Token)
	var lacked []string
	for _, c := range found.Changes {
		if c.Lacked {
			lacked = append(lacked, c.Op+" "+c.Key)
		}
	}
	require.Equal(t, []string{"update id=3"}, lacked)

	output, status = finish(t, b.env, "verify", "--duration", "1s", "--rate", "300")
	require.Equal(t, 1, status, output)
	for _, text := range []string{`STALE blog_by_id id="3"`, "The new title", "token " + token, "<- should have cleared it", "blog_by_id\n"} {
		require.Contains(t, output, text)
	}
	line := invalidator.WaitForLine(t, "STALE ENTRY", patience)
	require.Contains(t, line, "level=ERROR")
	require.Contains(t, line, "query=blog_by_id")
	require.NotContains(t, line, "The new title", "no data in the log")
	invalidator.Signal(syscall.SIGTERM)
	exited(t, invalidator)
	require.Zero(t, invalidator.ExitCode())
	require.Contains(t, invalidator.Output(), "msg=verified")
}

// Ctrl-C ends early, with the summary. Meanwhile there is a line every few seconds.
func TestVerifyInterrupted(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), b.db.Conn(t)))
	_, url := b.start(t, "--example")
	untilHit(t, url+"/blogs/1")
	p := begin(t, b.env, "verify", "--duration", "10m", "--rate", "20")
	p.WaitForLine(t, "of 10m0s  checked ", patience)
	p.Signal(syscall.SIGINT)
	exited(t, p)
	require.Zero(t, p.ExitCode(), p.Output())
	require.Contains(t, p.Output(), "consistency")
	require.Contains(t, p.Output(), "entries' age")
}

// What cannot be verified is said in one line.
func TestVerifyRefuses(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	for _, args := range [][]string{{"--rate", "fast"}, {"--rate", "0"}, {"--rate", "99999"}, {"--format", "xml"}, {"--patience", "0s"}, {"--duration", "-1s"}} {
		require.Contains(t, refused(t, b.env, append([]string{"verify"}, args...)...), args[0])
	}
	output, status := finish(t, b.env, "invalidator", "--verify-rate", "5")
	require.Equal(t, 1, status)
	require.Contains(t, output, "which queries the api serves")
	require.Contains(t, output, "$FRESHET_QUERIES")
}

// Entries of queries that were not given are counted, and said to be that.
func TestVerifyOtherQueries(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	require.NoError(t, migrations.Seed(t.Context(), b.db.Conn(t)))
	_, url := b.start(t, "--example")
	untilHit(t, url+"/blogs/1")
	dir := writeFile(t, "mine.sql", "-- name: mine\n-- route: GET /mine\n-- result: many\nSELECT id FROM blogs")
	output, status := finish(t, b.env, "verify", "--queries", dir, "--duration", "1s")
	require.Zero(t, status, output)
	require.Contains(t, output, "of a query that is not here")
	require.Contains(t, output, "Every entry was foreign")
}
