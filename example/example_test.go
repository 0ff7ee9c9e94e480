package example_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/example"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
	"freshet/query/analysis"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// site is a database with the example's tables and data.
func site(t *testing.T) *pgx.Conn {
	t.Helper()
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Example)
	conn := db.Conn(t)
	require.NoError(t, migrations.Seed(t.Context(), conn))
	return conn
}

// queries are the example's, by name.
func queries(t *testing.T) map[string]*query.Query {
	t.Helper()
	all, err := query.Load(example.Queries())
	require.NoError(t, err)
	byName := make(map[string]*query.Query)
	for _, q := range all {
		byName[q.Name] = q
	}
	return byName
}

// request is what a client sends to one of the queries.
type request struct{ query, path, queryString, body string }

// bind reads "id=1" as path parameters, as the api does from the route.
func (r request) bind(t *testing.T, q *query.Query) query.Args {
	t.Helper()
	v := query.Values{Path: make(map[string]string)}
	for pair := range strings.SplitSeq(r.path, "&") {
		name, value, _ := strings.Cut(pair, "=")
		v.Path[name] = value
	}
	var err error
	v.Query, err = url.ParseQuery(r.queryString)
	require.NoError(t, err)
	v.Body, err = query.ParseBody([]byte(r.body))
	require.NoError(t, err)
	args, err := q.Bind(v)
	require.NoError(t, err)
	return args
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// run returns the JSON that Postgres builds, or "" if there is no row.
func run(t *testing.T, db querier, q *query.Query, args query.Args) string {
	t.Helper()
	var result *string
	require.NoError(t, db.QueryRow(t.Context(), q.Text, args.Values()...).Scan(&result), q.Name)
	if result == nil {
		return ""
	}
	require.True(t, json.Valid([]byte(*result)))
	return *result
}

func TestQueriesPrepare(t *testing.T) {
	conn := site(t)
	for _, q := range queries(t) {
		require.NoError(t, q.Prepare(t.Context(), conn))
		require.NotEmpty(t, q.Doc, q.Name)
		require.Equal(t, q.Cached(), q.Example != "", "%s: reads, and only they, have a path to try", q.Name)
	}
}

// The header of blog_list is the one that the documentation shows.
func TestBlogList(t *testing.T) {
	conn, q := site(t), queries(t)["blog_list"]
	var all []struct {
		ID      int64
		Excerpt string
	}
	require.NoError(t, json.Unmarshal([]byte(run(t, conn, q, request{}.bind(t, q))), &all))
	require.Len(t, all, 50)
	for i, b := range all {
		require.LessOrEqual(t, len([]rune(b.Excerpt)), 200)
		require.True(t, i == 0 || b.ID < all[i-1].ID, "newest first")
	}
	var next []struct{ ID int64 }
	require.NoError(t, json.Unmarshal([]byte(run(t, conn, q, request{queryString: "offset=49&limit=1"}.bind(t, q))), &next))
	require.Equal(t, all[49].ID, next[0].ID)
	require.Equal(t, "[]", run(t, conn, q, request{queryString: "status=nothing"}.bind(t, q)))
}

// The dashboard says what plain Go makes of the same rows.
func TestDashboard(t *testing.T) {
	conn, q := site(t), queries(t)["user_dashboard"]
	for _, id := range []int{1, 10, 500} {
		var got struct {
			Attempts, Unfinished int
			AverageScore         float64           `json:"average_score"`
			StreakDays           int               `json:"streak_days"`
			LastDay              string            `json:"last_day"`
			Topics               []json.RawMessage `json:"topics"`
			RecentAttempts       []json.RawMessage `json:"recent_attempts"`
			LatestBlogs          []json.RawMessage `json:"latest_blogs"`
		}
		args := request{path: fmt.Sprint("user_id=", id)}.bind(t, q)
		require.NoError(t, json.Unmarshal([]byte(run(t, conn, q, args)), &got))
		require.Equal(t, 40, got.Attempts)
		require.Equal(t, map[bool]int{true: 1}[id%10 == 0], got.Unfinished)
		require.NotEmpty(t, got.Topics)
		require.Len(t, got.RecentAttempts, 10)
		require.Len(t, got.LatestBlogs, 5)

		rows, err := conn.Query(t.Context(), `SELECT DISTINCT to_char(started_at AT TIME ZONE 'UTC', 'J')::int AS day
			FROM attempts WHERE user_id = $1 ORDER BY day DESC`, id)
		require.NoError(t, err)
		days, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		streak := 1
		for streak < len(days) && days[streak] == days[0]-streak {
			streak++
		}
		require.Equal(t, streak, got.StreakDays)
	}
	require.Empty(t, run(t, conn, q, request{path: "user_id=501"}.bind(t, q)))
}

// Each write answers with the row, changes what it was given, and nothing else.
func TestWrites(t *testing.T) {
	conn, all := site(t), queries(t)
	do := func(name, path, body string) map[string]any {
		q := all[name]
		answer := run(t, conn, q, request{path: path, body: body}.bind(t, q))
		if answer == "" {
			return nil
		}
		var row map[string]any
		require.NoError(t, json.Unmarshal([]byte(answer), &row))
		return row
	}
	created := do("blog_create", "", `{"title":"A title","slug":"a-title","content":"Text.","author":"amina-okafor","tags":["a,b","c"]}`)
	require.EqualValues(t, 2001, created["id"])
	require.Equal(t, "draft", created["status"])
	require.Equal(t, []any{"a,b", "c"}, created["tags"])

	patched := do("blog_update", "id=2001", `{"title":"Another","tags":[]}`)
	require.Equal(t, "Another", patched["title"])
	require.Equal(t, []any{}, patched["tags"])
	for _, same := range []string{"slug", "content", "status", "author", "views", "created_at"} {
		require.Equal(t, created[same], patched[same], same)
	}
	require.Nil(t, do("blog_update", "id=99999", `{"title":"Another"}`))

	require.Equal(t, map[string]any{"id": float64(2001), "slug": "a-title"}, do("blog_delete", "id=2001", ""))
	require.Nil(t, do("blog_delete", "id=2001", ""))

	attempt := do("attempt_create", "", `{"user_id":1,"quiz_id":2,"score":97.50,"started_at":"2025-06-01T10:00:00+02:00","finished_at":"2025-06-01T08:30:00Z"}`)
	require.InDelta(t, 97.5, attempt["score"], 0)
	require.Nil(t, do("attempt_create", "", `{"user_id":1,"quiz_id":2,"score":5}`)["finished_at"])
}

// What depends says is right: whenever changing one row changes a result, the row carries one of the result's tags, before
// the change or after it. A wrong depends is an answer that stays stale.
func TestDependsAreRight(t *testing.T) {
	conn, all := site(t), queries(t)
	reads := []request{
		{query: "blog_by_id", path: "id=1"},
		{query: "blog_by_slug", path: "slug=a-practical-guide-to-binary-search"},
		{query: "blog_by_slug", path: "slug=moved"},
		{query: "blog_list", queryString: "limit=3"},
		{query: "blog_list", queryString: "limit=3&status=draft"},
		{query: "blogs_by_author", path: "author=amina-okafor"},
		{query: "blogs_by_author", path: "author=nobody-yet"},
		{query: "blogs_by_tag", path: "tag=sql"},
		{query: "quiz_list"},
		{query: "quiz_list", queryString: "topic=sql"},
		{query: "user_dashboard", path: "user_id=1"},
		{query: "user_dashboard", path: "user_id=501"},
	}
	for _, name := range cached(all) {
		require.True(t, slices.ContainsFunc(reads, func(r request) bool { return r.query == name }), "%s is not tried", name)
	}
	catalog, err := analysis.ReadCatalog(t.Context(), conn)
	require.NoError(t, err)
	plans := make(map[string]*query.Plan)
	for _, name := range cached(all) {
		plans[name], err = all[name].Plan(catalog)
		require.NoError(t, err)
	}
	moved := make(map[string]bool)
	for _, c := range changes() {
		for _, r := range reads {
			q := all[r.query]
			args := r.bind(t, q)
			before := run(t, conn, q, args)
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			oldRow := row(t, tx, c.table, c.id)
			_, err = tx.Exec(t.Context(), c.sql)
			require.NoError(t, err, c.sql)
			newRow := row(t, tx, c.table, c.id)
			require.NotEqual(t, oldRow, newRow, c.sql)
			after := run(t, tx, q, args)
			require.NoError(t, tx.Rollback(t.Context()))
			if before != after {
				moved[r.query] = true
				require.True(t, tagged(plans[q.Name], args, c.table, oldRow) || tagged(plans[q.Name], args, c.table, newRow),
					"%s %+v is changed by %q, which clears no tag of it", q.Name, r, c.sql)
			}
		}
	}
	require.Len(t, moved, len(cached(all)), "every read was changed by something: %v", moved)
}

func cached(all map[string]*query.Query) []string {
	var names []string
	for name, q := range all {
		if q.Cached() {
			names = append(names, name)
		}
	}
	return names
}

// change is a statement that changes one row.
type change struct {
	table string
	id    int64
	sql   string
}

// changes moves rows in and out of every result, by each column that a query looks at.
func changes() []change {
	var all []change
	update := func(table string, ids []int64, sets ...string) {
		for _, id := range ids {
			for _, set := range sets {
				all = append(all, change{table, id, fmt.Sprintf("UPDATE %s SET %s WHERE id = %d", table, set, id)})
			}
			all = append(all, change{table, id, fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id)})
		}
	}
	// Of the blogs, the first, one about SQL, and the newest of each status.
	update("blogs", []int64{1, 3, 1996, 1999, 2000},
		"title = 'moved'", "slug = 'moved'", "content = 'moved'", "tags = '{sql,moved}'", "views = views + 1",
		"status = 'draft', views = views + 7", "status = 'published', views = views + 7", "status = 'archived', views = views + 7",
		"author = 'amina-okafor', views = views + 7", "author = 'nobody-yet'",
		"created_at = '2030-01-01'", "created_at = '2020-01-01'", "updated_at = '2030-01-01'")
	update("users", []int64{2}, "handle = 'moved'", "name = 'moved'")
	update("quizzes", []int64{1, 7, 8}, "title = 'moved'", "topic = 'sql', questions = questions + 7", "topic = 'moved'", "questions = 99")
	all = append(all,
		change{"users", 1, "UPDATE users SET name = 'moved' WHERE id = 1"},
		change{"users", 501, "INSERT INTO users (id, handle, name, email) OVERRIDING SYSTEM VALUE VALUES (501, 'x', 'x', 'x@x')"},
		change{"blogs", 2001, "INSERT INTO blogs (id, title, slug, content, author, status, tags) OVERRIDING SYSTEM VALUE " +
			"VALUES (2001, 'x', 'moved', 'x', 'nobody-yet', 'published', '{sql}')"},
		change{"quizzes", 31, "INSERT INTO quizzes (id, title, topic, questions) OVERRIDING SYSTEM VALUE VALUES (31, 'x', 'sql', 1)"})
	for _, user := range []int{1, 2} {
		all = append(all, change{"attempts", 20001, fmt.Sprintf(`INSERT INTO attempts (id, user_id, quiz_id, score, started_at)
			OVERRIDING SYSTEM VALUE VALUES (20001, %d, 1, 50, '2030-01-01')`, user)})
	}
	return all
}

// row is a row's columns as text, or nil if there is none.
func row(t *testing.T, tx pgx.Tx, table string, id int64) map[string]string {
	t.Helper()
	rows, err := tx.Query(t.Context(), "SELECT key, value FROM "+table+" r, jsonb_each_text(to_jsonb(r)) WHERE id = $1 AND value IS NOT NULL", id)
	require.NoError(t, err)
	var columns map[string]string
	var key, value string
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		if columns == nil {
			columns = make(map[string]string)
		}
		columns[key] = value
		return nil
	})
	require.NoError(t, err)
	return columns
}

// tagged reports whether a row belongs to one of the tags that a result depends on.
func tagged(plan *query.Plan, args query.Args, table string, columns map[string]string) bool {
	return columns != nil && slices.ContainsFunc(plan.Needs, func(n query.Need) bool {
		combinations, ok := n.Values(args)
		return ok && n.Table == table && slices.ContainsFunc(combinations, func(values []string) bool {
			for i, column := range n.Columns {
				if value, there := columns[column]; !there || value != values[i] {
					return false
				}
			}
			return true
		})
	})
}
