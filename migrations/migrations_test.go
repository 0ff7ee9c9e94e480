package migrations_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/testenv"
	"freshet/migrations"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// open returns the database as database/sql has it.
func open(t *testing.T, db *testenv.Database) *sql.DB {
	t.Helper()
	handle, err := sql.Open("pgx", db.URL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, handle.Close()) })
	return handle
}

// up applies a set.
func up(t *testing.T, handle *sql.DB, set migrations.Set) *migrations.Migrator {
	t.Helper()
	m, err := migrations.New(handle, set)
	require.NoError(t, err)
	_, err = m.Up(t.Context())
	require.NoError(t, err)
	return m
}

func TestUpDownUp(t *testing.T) {
	for _, set := range []migrations.Set{migrations.Freshet, migrations.Example} {
		t.Run(string(set), func(t *testing.T) {
			db := testenv.Postgres(t)
			m, err := migrations.New(open(t, db), set)
			require.NoError(t, err)
			all := requireStatus(t, m, false)
			require.Zero(t, relations(t, db), "looking at the status makes nothing")

			_, err = m.Down(t.Context())
			require.ErrorIs(t, err, migrations.ErrNothingToUndo)
			for range 2 { // the second time after undoing everything
				applied, err := m.Up(t.Context())
				require.NoError(t, err)
				require.Len(t, applied, len(all))
				requireStatus(t, m, true)
				before := relations(t, db)

				applied, err = m.Up(t.Context())
				require.NoError(t, err)
				require.Empty(t, applied)
				require.Equal(t, before, relations(t, db))

				for _, a := range slices.Backward(all) {
					undone, err := m.Down(t.Context())
					require.NoError(t, err)
					require.Equal(t, a.Name, undone.Name)
				}
				requireStatus(t, m, false)
				_, err = m.Down(t.Context())
				require.ErrorIs(t, err, migrations.ErrNothingToUndo)
			}
			require.Equal(t, 1, testenv.Value[int](t, db, tables+" AND n.nspname = 'freshet'"), "only the version table is left")
			require.Zero(t, testenv.Value[int](t, db, tables+" AND n.nspname = 'public'"))
		})
	}
}

const tables = `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'`

// relations counts what is in the two schemas that migrations write to.
func relations(t *testing.T, db *testenv.Database) int {
	return testenv.Value[int](t, db, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('freshet', 'public')`)
}

func requireStatus(t *testing.T, m *migrations.Migrator, applied bool) []migrations.State {
	t.Helper()
	states, err := m.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, states)
	for i, s := range states {
		require.Equal(t, applied, s.Applied, s.Name)
		require.Equal(t, !applied, s.AppliedAt.IsZero())
		require.EqualValues(t, i+1, s.Version)
	}
	return states
}

// Somebody's own database gets the schema freshet and nothing outside it.
func TestFreshetKeepsToItsSchema(t *testing.T) {
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Freshet)
	require.Zero(t, testenv.Value[int](t, db, tables+" AND n.nspname = 'public'"))
	require.Equal(t, "f", testenv.Value[string](t, db, "SELECT relreplident::text FROM pg_class WHERE oid = 'freshet.shapes'::regclass"))
	require.Zero(t, testenv.Value[int](t, db, `SELECT count(*) FROM pg_attribute
		WHERE attrelid IN ('freshet.shapes'::regclass, 'freshet.continuity'::regclass) AND attnum > 0
		AND col_description(attrelid, attnum) IS NULL`), "every column says what it is")
}

// Processes that are started together migrate in turn.
func TestUpConcurrently(t *testing.T) {
	db := testenv.Postgres(t)
	handle := open(t, db)
	var group errgroup.Group
	for range 3 {
		for _, set := range []migrations.Set{migrations.Freshet, migrations.Example} {
			group.Go(func() error {
				m, err := migrations.New(handle, set)
				if err != nil {
					return err
				}
				_, err = m.Up(context.WithoutCancel(t.Context()))
				return err
			})
		}
	}
	require.NoError(t, group.Wait())
}

// A role that may not create schemas can migrate where the schema has been made for it.
func TestUpWithoutPrivilegeToCreateSchemas(t *testing.T) {
	db := testenv.Postgres(t)
	role := db.Name + "_role"
	db.Exec(t, "CREATE ROLE "+role+" LOGIN; CREATE SCHEMA freshet AUTHORIZATION "+role)
	t.Cleanup(func() { db.Exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	handle := open(t, db)
	handle.SetMaxOpenConns(1)
	_, err := handle.ExecContext(t.Context(), "SET ROLE "+role)
	require.NoError(t, err)
	m, err := migrations.New(handle, migrations.Freshet)
	require.NoError(t, err)
	_, err = m.Up(t.Context())
	require.NoError(t, err)
}

func TestUnknownSet(t *testing.T) {
	_, err := migrations.New(nil, "elsewhere")
	require.ErrorContains(t, err, `unknown set of migrations "elsewhere"`)
}

func TestSeed(t *testing.T) {
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Example)
	conn := db.Conn(t)
	start := time.Now()
	require.NoError(t, migrations.Seed(t.Context(), conn))
	t.Logf("seeded in %v", time.Since(start).Round(time.Millisecond))
	first := contents(t, db)
	require.NoError(t, migrations.Seed(t.Context(), conn))
	require.Equal(t, first, contents(t, db), "the second time does nothing")

	for sql, want := range map[string]int{
		"SELECT count(*) FROM users":                                                  500,
		"SELECT count(*) FROM blogs":                                                  2000,
		"SELECT count(*) FROM blogs WHERE status <> 'published'":                      400,
		"SELECT count(*) FROM blogs WHERE id = 1 AND status = 'published'":            1,
		"SELECT count(*) FROM attempts":                                               20000,
		"SELECT max(id) FROM attempts":                                                20000,
		"SELECT count(*) FROM blogs b WHERE author NOT IN (SELECT handle FROM users)": 0,
	} {
		require.Equal(t, want, testenv.Value[int](t, db, sql), sql)
	}
	require.Equal(t, 2001, testenv.Value[int](t, db,
		"INSERT INTO blogs (title, slug, content, author) VALUES ('x', 'x', 'x', 'x') RETURNING id"))
}

// The data are the same on every machine and every day: a change of them is a change of this line.
func TestSeedIsDeterministic(t *testing.T) {
	db := testenv.Postgres(t)
	up(t, open(t, db), migrations.Example)
	require.NoError(t, migrations.Seed(t.Context(), db.Conn(t)))
	require.Equal(t, "68cdfa02920f18ec814946f03209abcb", contents(t, db))
}

// contents is a digest of all the example's rows.
func contents(t *testing.T, db *testenv.Database) string {
	t.Helper()
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "SET timezone = 'UTC'")
	require.NoError(t, err)
	var digest string
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT md5(concat(
			(SELECT string_agg(md5(users::text), '' ORDER BY id) FROM users),
			(SELECT string_agg(md5(quizzes::text), '' ORDER BY id) FROM quizzes),
			(SELECT string_agg(md5(blogs::text), '' ORDER BY id) FROM blogs),
			(SELECT string_agg(md5(attempts::text), '' ORDER BY id) FROM attempts)))`).Scan(&digest))
	return digest
}
