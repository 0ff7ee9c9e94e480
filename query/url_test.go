package query_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

// The arguments as an URL, if they can be one.
func TestURL(t *testing.T) {
	q, err := query.Parse("q.sql", []byte(`-- name: q
-- route: GET /a/{x}/b/{y}
-- param: x text
-- param: y text
-- param: l text[], optional
-- param: f bool, optional
-- result: many
SELECT 1 FROM t WHERE x = :x AND y = :y AND l = :l AND f = :f`))
	require.NoError(t, err)
	for key, want := range map[string]string{
		"x=1:1 y=2::y l=- f=-":            "/a/1/b/:y",
		"x=2::y y=1:2 l=- f=1:t":          "/a/:y/b/2?f=t",
		"x=3:a/b y=3:?=% l=2[1:a1:b] f=-": "/a/a%2Fb/b/%3F=%25?l=a&l=b",
		"x=1:1 y=1:2 l=0[] f=-":           "/a/1/b/2?l=",
		"x=0: y=1:2 l=- f=-":              "",
		"x=2:.. y=1:2 l=- f=-":            "",
		"x=1:1 y=1:2 l=1[3:a,b] f=-":      "",
		"x=1:1 y=1:2 l=1[0:] f=-":         "",
	} {
		args, err := q.ParseKey(key)
		require.NoError(t, err, key)
		got, ok := args.URL()
		require.Equal(t, want, got, key)
		require.Equal(t, want != "", ok, key)
	}
}
