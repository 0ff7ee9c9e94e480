package cache

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

func published(t *testing.T, db *testenv.Database) string {
	t.Helper()
	return testenv.Value[string](t, db, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'freshet_test'")
}

// What nobody has renewed for a week goes, and with the last shape of a table the table leaves the publication.
func TestRetire(t *testing.T) {
	db, r := newRegistry(t)
	require.NoError(t, r.Activate(t.Context(), register(t, r, byID, byStatus, users)))
	age := func(table, by string) {
		db.Exec(t, "UPDATE freshet.shapes SET renewed_at = renewed_at - $1::interval WHERE table_name = $2", by, table)
	}
	age("users", "6 days")
	age("blogs", "8 days")
	require.Empty(t, register(t, r, byID), "renewed with the round that retires, not retired")
	require.Equal(t, sorted(byID, users), ready(t, r))
	require.Equal(t, "blogs shapes users", published(t, db), "blogs has a shape left")

	age("users", "2 days")
	register(t, r, byID)
	require.Equal(t, sorted(byID), ready(t, r))
	require.Equal(t, "blogs shapes", published(t, db))

	// Whoever needs it after all waits as if it had never been there.
	require.Equal(t, []Shape{users}, register(t, r, users))
	require.Equal(t, "blogs shapes users", published(t, db))
}

// A table that was taken out of the publication by hand, or is gone, is no obstacle.
func TestRetireWhatIsNotThere(t *testing.T) {
	db, r := newRegistry(t)
	register(t, r, byID, users)
	db.Exec(t, `ALTER PUBLICATION freshet_test DROP TABLE users; DROP TABLE blogs;
		UPDATE freshet.shapes SET renewed_at = renewed_at - interval '8 days'`)
	register(t, r)
	require.Empty(t, testenv.Value[int](t, db, "SELECT count(*) FROM freshet.shapes"))
	require.Equal(t, "shapes", published(t, db))
}

// Two versions of an application read different columns under one shape: what is matched is the union, and when the old version is
// gone for long its columns go.
func TestReadsOfTwoVersions(t *testing.T) {
	db, r := newRegistry(t)
	old, next := byID.Reading([]string{"id"}), byID.Reading([]string{"id", "status"})
	require.NoError(t, r.Activate(t.Context(), register(t, r, old)))
	require.Empty(t, register(t, r, next), "the table is in the log: a further shape of it has nothing to wait for")
	shapes, err := r.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Shape{next}, shapes)

	db.Exec(t, "UPDATE freshet.shapes SET renewed_at = renewed_at - interval '8 days' WHERE 'status' = ANY (reads)")
	register(t, r, old)
	shapes, err = r.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Shape{old}, shapes)
	require.Empty(t, register(t, r, byID), "any column is one more")
	shapes, err = r.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Shape{byID}, shapes)
}

// When a table joins the publication again, the shapes that others have registered wait again too.
func TestTableThatJoinsAgainForEverybody(t *testing.T) {
	db, r := newRegistry(t)
	require.NoError(t, r.Activate(t.Context(), register(t, r, byID, byStatus)))
	db.Exec(t, "ALTER PUBLICATION freshet_test DROP TABLE blogs")
	register(t, r, byID)
	require.Empty(t, ready(t, r), "byStatus is another process's")
	require.Equal(t, []Shape{byStatus}, register(t, registry(t, db), byStatus))
}
