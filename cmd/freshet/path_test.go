package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// orders is a query file of somebody's own.
const orders = `-- name: order_total
-- route: GET /customers/{customer}/total
-- param: customer text, max_len 50
-- result: one
-- depends: shop.orders(customer)
SELECT :customer AS customer, count(*) AS orders, coalesce(sum(amount), 0) AS total
FROM shop.orders
WHERE customer = :customer
`

// start begins cdc, the invalidator and an api, and returns them with the api's URL.
func (b *backends) start(t *testing.T, args ...string) (processes []*testenv.Process, url string) {
	t.Helper()
	cdc := begin(t, b.env, "cdc")
	cdc.WaitForLine(t, "msg=streaming", patience)
	invalidator := begin(t, b.env, "invalidator")
	api := begin(t, b.env, append([]string{"api"}, args...)...)
	return []*testenv.Process{cdc, invalidator, api}, serving(t, api)
}

// A database that Freshet has never seen: migrate, one SQL file, three processes. Its reads are cached, and each write clears
// what it touches and nothing else, whichever way the row changes. Each process ends with status 0 when it is told to.
func TestOwnDatabase(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.db.Exec(t, `CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer text, amount numeric(10,2));
		ALTER TABLE shop.orders REPLICA IDENTITY FULL;
		INSERT INTO shop.orders VALUES (1, 'ann', 10.50), (2, 'bob', 5), (3, 'ann', 1)`)
	output, status := finish(t, b.env, "migrate", "status")
	require.Zero(t, status)
	require.Regexp(t, `freshet\s+00001_shapes_and_continuity.sql\s+pending`, output)
	b.migrate(t)
	output, _ = finish(t, b.env, "migrate", "up")
	require.Equal(t, "freshet: up to date\n", output)
	tables := testenv.Value[[]string](t, b.db, `SELECT array_agg(DISTINCT schemaname::text ORDER BY schemaname::text) FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	require.Equal(t, []string{"freshet", "shop"}, tables, "nothing outside the schema freshet")

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "order_total.sql"), []byte(orders), 0o600))
	processes, url := b.start(t, "--queries", dir)
	ann, bob := url+"/customers/ann/total", url+"/customers/bob/total"
	require.JSONEq(t, `{"customer":"ann","orders":2,"total":11.50}`, untilHit(t, ann).body)
	untilHit(t, bob)
	for _, step := range []struct{ sql, ann, bob string }{
		{"INSERT INTO shop.orders VALUES (4, 'ann', 100)", `"orders":3,"total":111.50`, ""},
		{"UPDATE shop.orders SET amount = 0.05 WHERE id = 2", "", `"orders":1,"total":0.05`},
		{"UPDATE shop.orders SET customer = 'bob' WHERE id = 4", `"orders":2,"total":11.50`, `"orders":2,"total":100.05`},
		{"DELETE FROM shop.orders WHERE customer = 'bob'", "", `"orders":0,"total":0`},
		{"TRUNCATE shop.orders", `"orders":0,"total":0`, ""},
	} {
		b.db.Exec(t, step.sql)
		for url, want := range map[string]string{ann: step.ann, bob: step.bob} {
			if want != "" {
				untilShows(t, url, want)
				untilHit(t, url)
			}
		}
	}
	health, status := finish(t, []string{"FRESHET_HTTP_ADDR=" + strings.TrimPrefix(url, "http://")}, "health")
	require.Zero(t, status, health)
	require.Contains(t, health, `"status":"ready"`)

	for _, p := range processes {
		p.Signal(syscall.SIGTERM)
		exited(t, p)
		require.Zero(t, p.ExitCode(), p.Output())
	}
	for _, alarm := range []string{"level=WARN", "level=ERROR", "RESET"} {
		require.NotContains(t, processes[0].Output()+processes[1].Output(), alarm)
	}
	_, status = finish(t, []string{"FRESHET_HTTP_ADDR=" + strings.TrimPrefix(url, "http://")}, "health")
	require.Equal(t, 1, status)
}

// A write through the api is in the log at the position that it answers with: once the cache says that it reflects that position,
// the read shows the write.
func TestReadYourWrite(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	_, url := b.start(t, "--example")
	created := send(t, http.MethodPost, url+"/blogs", "a-token", `{"title":"T0","slug":"t","content":"","author":"a","status":"published"}`)
	require.Equal(t, http.StatusCreated, created.status, created.body)
	untilHit(t, url+"/blogs/1")
	untilHit(t, url+"/blogs")
	for n := 1; n <= 20; n++ {
		title := fmt.Sprintf("T%d", n)
		write := send(t, http.MethodPatch, url+"/blogs/1", "a-token", fmt.Sprintf(`{"title":%q}`, title))
		require.Equal(t, http.StatusOK, write.status, write.body)
		wrote := parsePosition(t, write.header.Get("Freshet-Position"))
		for _, path := range []string{"/blogs/1", "/blogs"} {
			testenv.Eventually(t, patience, func() (bool, string) {
				read := get(t, url+path)
				reflects := parsePosition(t, read.header.Get("Freshet-Position")) >= wrote
				if reflects {
					require.Contains(t, read.body, title, "%s reflects %s", path, read.header)
				}
				return reflects, "the watermark does not reach the write: " + fmt.Sprint(read.header)
			})
		}
	}
}

// Two cdc and two invalidators: one of each works, the other takes over when it is killed, and nothing gets stale.
func TestStandby(t *testing.T) {
	b := newBackends(t, testenv.Postgres(t))
	b.migrate(t, "--example")
	b.db.Exec(t, "INSERT INTO blogs (title, slug, content, author) VALUES ('0', 's', '', 'a')")
	processes, url := b.start(t, "--example")
	second := begin(t, b.env, "cdc")
	second.WaitForLine(t, "standing by", patience)
	begin(t, b.env, "invalidator")
	untilHit(t, url+"/blogs/1")
	write := func(title string) {
		b.db.Exec(t, "UPDATE blogs SET title = $1 WHERE id = 1", title)
		untilShows(t, url+"/blogs/1", `"title":"`+title+`"`)
		untilHit(t, url+"/blogs/1")
	}
	write("both")
	processes[0].Kill()
	second.WaitForLine(t, "msg=streaming", patience)
	write("second cdc")
	processes[1].Kill()
	write("second invalidator")
	require.NotContains(t, second.Output(), "RESET")
}
