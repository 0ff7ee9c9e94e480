package api_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// Writes need the token; without one in the settings there are no writes.
func TestWritesNeedTheToken(t *testing.T) {
	s := start(t)
	for _, header := range []string{
		"Accept: */*", "Authorization: Bearer wrong", "Authorization: Bearer", "Authorization: Bearer " + token + "x",
		"Authorization: Bearer " + token[:5], "Authorization: Basic " + token, "Authorization: " + token,
	} {
		for _, r := range []response{
			s.do(http.MethodPatch, "/blogs/1", `{"title":"x"}`, header),
			s.do(http.MethodDelete, "/blogs/1", "", header),
			s.do(http.MethodPost, "/blogs", `not even JSON`, header),
		} {
			require.Equal(t, http.StatusUnauthorized, r.status, header)
			require.Equal(t, `Bearer realm="freshet"`, r.header.Get("WWW-Authenticate"))
			require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		}
	}
	s.problem(s.do(http.MethodDelete, "/blogs/1", ""), http.StatusUnauthorized, "/blogs/1")
	require.Equal(t, http.StatusOK, s.do(http.MethodPatch, "/blogs/1", `{"title":"x"}`, "Authorization: bearer "+token).status,
		"the scheme has no case")

	s = start(t, func(o *options) { o.api.AdminToken = "" })
	for _, header := range []string{"Accept: */*", "Authorization: Bearer ", "Authorization: Bearer " + token} {
		p := s.problem(s.do(http.MethodDelete, "/blogs/1", "", header), http.StatusForbidden, "/blogs/1")
		require.Contains(t, p.Detail, "FRESHET_ADMIN_TOKEN")
	}
	require.Equal(t, http.StatusOK, s.get("/blogs/1").status)
}

// PATCH changes what it is given; POST answers 201, DELETE with what is gone; what is not there is a 404.
func TestWriteSemantics(t *testing.T) {
	s := start(t)
	before := s.get("/blogs/1")
	patched := s.write(http.MethodPatch, "/blogs/1", `{"title":"New","tags":[]}`)
	require.Equal(t, http.StatusOK, patched.status, patched.body)
	require.Equal(t, "no-store", patched.header.Get("Cache-Control"))
	require.Equal(t, "New", s.field(patched, "title"))
	require.Equal(t, []any{}, s.field(patched, "tags"))
	for _, same := range []string{"slug", "content", "status", "author", "views", "created_at"} {
		require.Equal(t, s.field(before, same), s.field(patched, same), same)
	}
	require.Equal(t, "New", s.field(s.write(http.MethodPatch, "/blogs/1", ""), "title"), "nothing given, nothing changed")
	s.problem(s.write(http.MethodPatch, "/blogs/99", `{"title":"New"}`), http.StatusNotFound, "/blogs/99")

	const blog = `{"title":"A","slug":"a","content":"Text.","author":"bo","tags":["a,b"]}`
	created := s.write(http.MethodPost, "/blogs", blog)
	require.Equal(t, http.StatusCreated, created.status, created.body)
	require.InEpsilon(t, 6, s.field(created, "id"), 0)
	require.Equal(t, []any{"a,b"}, s.field(created, "tags"))
	conflict := s.problem(s.write(http.MethodPost, "/blogs", blog), http.StatusConflict, "/blogs")
	require.Contains(t, conflict.Detail, "blogs_slug_key")
	missing := s.problem(s.write(http.MethodPost, "/attempts", `{"user_id":99,"quiz_id":1,"score":5}`), http.StatusConflict, "/attempts")
	require.Contains(t, missing.Detail, "attempts_user_id_fkey")
	refused := s.problem(s.write(http.MethodPost, "/blogs", `{"title":"A","slug":"No slug","content":"","author":"bo"}`),
		http.StatusUnprocessableEntity, "/blogs")
	require.Contains(t, refused.Detail, "blogs_slug_check")

	require.JSONEq(t, `{"id":6,"slug":"a"}`, s.write(http.MethodDelete, "/blogs/6", "").body)
	s.problem(s.write(http.MethodDelete, "/blogs/6", ""), http.StatusNotFound, "/blogs/6")
}

// A write carries a position at which its change is in the log. It leaves the cache alone: the log clears it, and the next read
// reflects the write.
func TestWriteThenRead(t *testing.T) {
	s := start(t)
	before := s.get("/blogs/1")
	lsn := func() string { return testenv.Value[string](t, s.db, "SELECT pg_current_wal_lsn()::text") }
	earlier := position(t, lsn())
	write := s.write(http.MethodPatch, "/blogs/1", `{"title":"New"}`)
	committed := position(t, write.header.Get("Freshet-Position"))
	require.Greater(t, committed, earlier)
	require.LessOrEqual(t, committed, position(t, testenv.Value[string](t, s.db, "SELECT pg_current_wal_insert_lsn()::text")))

	require.Equal(t, before.body, s.get("/blogs/1").body)
	s.invalidate("1", committed)
	after := s.get("/blogs/1")
	require.Equal(t, stored, after.cacheStatus())
	require.Equal(t, write.body, after.body)
	require.GreaterOrEqual(t, position(t, after.header.Get("Freshet-Position")), committed)
}

// A write is done, and the connection that did it cannot tell the position any more. Another connection can; and where none can, the
// position is one that sends reads to Postgres, so that the write is never missed.
func TestPositionOfAWriteIsNotKnownAtOnce(t *testing.T) {
	for failures, known := range map[int]bool{1: true, 2: false} {
		s := start(t, func(o *options) { o.api.PositionCookie = true })
		s.invalidate("1", position(t, "0/10"))
		require.Equal(t, stored, s.get("/blogs/1").cacheStatus())
		// A function of the same name comes first, and fails so many times: sequences are not rolled back.
		s.db.Exec(t, `CREATE SCHEMA evil; CREATE SEQUENCE evil.n;
			CREATE FUNCTION evil.pg_current_wal_insert_lsn() RETURNS pg_lsn LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('evil.n') <= `+strconv.Itoa(failures)+` THEN RAISE 'the connection is gone'; END IF;
				RETURN pg_catalog.pg_current_wal_insert_lsn();
			END $$;
			CREATE FUNCTION evil.spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				PERFORM set_config('search_path', 'evil, pg_catalog, public', false);
				RETURN new;
			END $$;
			CREATE TRIGGER spoil BEFORE UPDATE ON blogs FOR EACH ROW EXECUTE FUNCTION evil.spoil()`)
		write := s.write(http.MethodPatch, "/blogs/1", `{"title":"New"}`)
		require.Equal(t, http.StatusOK, write.status, write.body)
		mark := write.header.Get("Freshet-Position")
		require.Equal(t, !known, mark == "FFFFFFFF/FFFFFFFF", mark)

		read := s.get("/blogs/1", "Freshet-Position: "+mark)
		require.Equal(t, "freshet; fwd=bypass; detail=watermark-behind", read.cacheStatus())
		require.Equal(t, write.body, read.body)
		require.NotEqual(t, "FFFFFFFF/FFFFFFFF", read.header.Get("Freshet-Position"))

		cookie, _, _ := strings.Cut(write.header.Get("Set-Cookie"), ";")
		read = s.get("/blogs/1", "Cookie: "+cookie)
		require.Equal(t, write.body, read.body)
		require.Equal(t, !known, read.header.Get("Set-Cookie") != "", "the cookie is replaced by what was learnt")
	}
}

// A body is read up to the limit, whether its length is told or not.
func TestBodyLimit(t *testing.T) {
	s := start(t, func(o *options) { o.api.BodyLimit = 1000 })
	body := func(size int) string {
		const frame = `{"title":""}`
		return `{"title":"` + strings.Repeat("x", 300) + `"}` + strings.Repeat(" ", size-300-len(frame))
	}
	require.Equal(t, http.StatusOK, s.write(http.MethodPatch, "/blogs/1", body(1000)).status)
	s.problem(s.write(http.MethodPatch, "/blogs/1", body(1001)), http.StatusRequestEntityTooLarge, "/blogs/1")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.url+"/blogs/1", struct{ *strings.Reader }{strings.NewReader(body(1001))})
	require.NoError(t, err)
	req.ContentLength = -1 // chunked
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
}
