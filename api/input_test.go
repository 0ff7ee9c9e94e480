package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a request sends wrong is named, all of it at once; nothing is run, and nothing is cached.
func TestBadParameters(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		path  string
		wrong []string // the parameters
		say   string   // part of the detail
	}{
		{"/blogs/x", []string{"id"}, "id: must be an integer"},
		{"/blogs/0", []string{"id"}, "id: must be"},
		{"/blogs/99999999999999999999", []string{"id"}, "id: must be an integer"},
		{"/blogs/1?pretty=1", []string{"pretty"}, "pretty: there is no such parameter"},
		{"/blogs?limti=5", []string{"limti"}, `did you mean "limit"`},
		{"/blogs?limit=0", []string{"limit"}, "limit: must be"},
		{"/blogs?limit=51", []string{"limit"}, "limit: must be"},
		{"/blogs?limit=", []string{"limit"}, "limit: must be an integer"},
		{"/blogs?limit=5&limit=6", []string{"limit"}, "limit: is given more than once"},
		{"/blogs?limit=ten&offset=-1&x=1", []string{"limit", "offset", "x"}, "offset: must be"},
		{"/blogs/1?id=2", []string{"id"}, "belongs in the path"},
		{"/tags/%00/blogs", []string{"tag"}, "NUL"},
		{"/tags/%ff/blogs", []string{"tag"}, "UTF-8"},
		{"/tags/" + strings.Repeat("x", 101) + "/blogs", []string{"tag"}, "tag: must"},
		{"/blogs?limit=%zz", nil, "the query string is malformed"},
		{"/blogs?limit=5;offset=1", nil, "the query string is malformed"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			r := s.get(tt.path)
			path, _, _ := strings.Cut(tt.path, "?")
			require.Equal(t, http.StatusBadRequest, r.status, r.body)
			if !strings.Contains(path, "%") {
				s.problem(r, http.StatusBadRequest, path)
			}
			require.Contains(t, s.field(r, "detail"), tt.say)
			require.Equal(t, "no-store", r.header.Get("Cache-Control"))
			require.Empty(t, r.header.Get("Cache-Status"))
			var named []string
			errs, _ := s.field(r, "errors").([]any)
			for _, e := range errs {
				named = append(named, e.(map[string]any)["parameter"].(string))
			}
			require.Equal(t, tt.wrong, named)
		})
	}
	keys, err := s.redis.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{"freshet:watermark"}, keys)
}

// A body that is no JSON object of the declared members is refused, and says which member is wrong.
func TestBadBodies(t *testing.T) {
	s := start(t)
	for _, tt := range []struct{ body, say string }{
		{"{", "ends too early"},
		{"[]", "must be a JSON object"},
		{"title=x", "must be a JSON object"},
		{`{"title":"x"} {}`, "nothing after it"},
		{`{"title":"x",}`, "not valid JSON"},
		{`{"title":"x","title":"y"}`, "title: is given more than once"},
		{`{"title":null}`, "title: must not be null"},
		{`{"title":""}`, "title: must not be empty"},
		{`{"title":7}`, "title: must be text"},
		{`{"titel":"x"}`, `did you mean "title"`},
		{`{"id":2}`, "belongs in the path"},
		{`{"status":"gone"}`, "status: must be"},
		{`{"tags":"sql"}`, "tags: must be a list"},
		{`{"tags":["sql",1]}`, "tags: must be a list"},
		{"{\"title\":\"\xff\"}", "UTF-8"},
		{`{"title":"\u0000"}`, "NUL"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			p := s.problem(s.write(http.MethodPatch, "/blogs/1", tt.body), http.StatusBadRequest, "/blogs/1")
			require.Contains(t, p.Detail, tt.say)
			require.NotEmpty(t, p.Errors)
		})
	}
	p := s.problem(s.write(http.MethodPost, "/blogs", `{"titel":"x","slug":7}`), http.StatusBadRequest, "/blogs")
	var named []string
	for _, e := range p.Errors {
		named = append(named, e.Parameter)
	}
	require.Equal(t, []string{"title", "slug", "content", "author", "titel"}, named)
	require.Equal(t, "Title 1", s.field(s.get("/blogs/1"), "title"), "nothing was written")
}
