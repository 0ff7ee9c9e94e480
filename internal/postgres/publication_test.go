package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func migrated(t *testing.T) *testenv.Database {
	t.Helper()
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Freshet)
	return db
}

func TestEnsurePublication(t *testing.T) {
	require.ErrorIs(t, postgres.EnsurePublication(t.Context(), testenv.Postgres(t).Pool(t), "p"), postgres.ErrNotMigrated)

	db := migrated(t)
	var g errgroup.Group // all processes of Freshet start at once
	for range 8 {
		g.Go(func() error { return postgres.EnsurePublication(t.Context(), db.Pool(t), `odd "name"`) })
	}
	require.NoError(t, g.Wait())
	require.Equal(t, "freshet.shapes", testenv.Value[string](t, db,
		`SELECT string_agg(schemaname || '.' || tablename, ' ') FROM pg_publication_tables WHERE pubname = 'odd "name"'`))
}

func TestAddToPublication(t *testing.T) {
	db := migrated(t)
	require.NoError(t, postgres.EnsurePublication(t.Context(), db.Pool(t), "p"))
	db.Exec(t, `CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."c d" (id int PRIMARY KEY)`)
	for _, want := range []bool{false, true} {
		member, err := postgres.AddToPublication(t.Context(), db.Pool(t), "p", "a.b", "c d")
		require.NoError(t, err)
		require.Equal(t, want, member)
	}
	_, err := postgres.AddToPublication(t.Context(), db.Pool(t), "p", "public", "nothing")
	require.ErrorContains(t, err, "add public.nothing to publication p")
	require.True(t, postgres.IsCode(err, "42P01"))

	db.Exec(t, `CREATE ROLE weak LOGIN; CREATE TABLE other (id int PRIMARY KEY)`)
	t.Cleanup(func() { db.Exec(t, "DROP ROLE weak") })
	weak, err := pgx.Connect(t.Context(), strings.Replace(db.URL, "postgres@", "weak@", 1))
	require.NoError(t, err)
	defer weak.Close(t.Context())
	_, err = postgres.AddToPublication(t.Context(), weak, "p", "public", "other")
	require.ErrorContains(t, err, "must own the publication and the tables in it")
}

func TestWaitForTransactions(t *testing.T) {
	db := testenv.Postgres(t)
	open, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = open.Exec(t.Context(), "CREATE TABLE t ()")
	require.NoError(t, err)
	s, err := postgres.CurrentSnapshot(t.Context(), db.Pool(t))
	require.NoError(t, err)
	require.Empty(t, s.Xip, "the newest transaction is not below Xmax; it has to be waited for all the same")

	ended := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	told := make(chan int, 1)
	done := make(chan error, 1)
	go func() {
		done <- postgres.WaitForTransactions(ctx, db.Pool(t), func(left int) {
			select {
			case told <- left:
			default:
			}
		})
	}()
	select {
	case left := <-told:
		require.Equal(t, 1, left, "transactions in progress")
	case err := <-done:
		require.Fail(t, "it returned before the transaction ended", "%v", err)
	}
	cancel(ended)
	require.ErrorIs(t, <-done, ended)

	require.NoError(t, open.Commit(t.Context()))
	require.NoError(t, postgres.WaitForTransactions(t.Context(), db.Pool(t), nil))
}

// The server's own positions, with everything flushed: the end of the last record is the flushed position, also where
// the insert position is behind the header of the next page.
func TestWALGeometryOfAServer(t *testing.T) {
	db := testenv.Postgres(t)
	wal, err := postgres.ReadWALGeometry(t.Context(), db.Pool(t))
	require.NoError(t, err)
	page := int64(wal.PageSize)
	conn := db.Conn(t)
	check := func() (end int64, header bool) {
		// Somebody else's record may come in between.
		testenv.Eventually(t, 10*time.Second, func() (bool, string) {
			var insert, flush int64
			require.NoError(t, conn.QueryRow(t.Context(),
				`SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, (pg_current_wal_flush_lsn() - '0/0')::bigint`).Scan(&insert, &flush))
			end, header = flush, insert != flush
			return wal.End(uint64(insert)) == uint64(flush), fmt.Sprintf("insert %X, end %X, flush %X", insert, wal.End(uint64(insert)), flush)
		})
		return end, header
	}
	write := func(size int64) {
		_, err := conn.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'test', repeat('x', $1::int))", size)
		require.NoError(t, err)
	}
	write(0)
	_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
	require.NoError(t, err)
	_, header := check()
	require.True(t, header, "a new segment begins with a header")

	// Records of which the last ends with its page: size is chosen by what the ones before took.
	const usual = 1000
	begin, _ := check()
	header = false
	for size := int64(usual); !header; {
		write(size)
		var end int64
		end, header = check()
		took := end - begin - size // by what is not the text
		if begin/page != (end-1)/page {
			took -= 24 // the page's header
		}
		size, begin = page-end%page-took, end
		if size < usual/2 || size > page {
			size = usual
		}
	}
}
