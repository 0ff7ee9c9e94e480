package plan

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

const file = "-- name: find\n-- route: GET /find\n-- param: q text, max_len 100000\n-- result: many\nSELECT 1 WHERE :q = ''"

// What an entry answers can be told from its field, or from the name that is kept with it.
func TestNamesAreReadBack(t *testing.T) {
	q, err := query.Parse("find.sql", []byte(file))
	require.NoError(t, err)
	p := &Plan{Query: q, Prefix: "find@0011223344556677.00000000?"}
	s := &Set{}
	fields := map[string]bool{}
	for _, tt := range []struct {
		size         int
		hashed, kept bool
	}{{0, false, false}, {100, false, false}, {200, true, true}, {201, true, true}, {60_000, true, true}, {70_000, true, false}} {
		args, err := q.Bind(query.Values{Query: map[string][]string{"q": {strings.Repeat("~", tt.size)}}})
		require.NoError(t, err)
		req := s.Request(p, args, 0)
		require.False(t, fields[req.Field], "each has its own")
		fields[req.Field] = true
		require.LessOrEqual(t, len(req.Field), maxField)
		require.Equal(t, tt.hashed, p.Hashed(req.Field), tt.size)
		require.Equal(t, tt.kept, req.Name != "", tt.size)
		name := req.Name
		if !tt.hashed {
			name = req.Field
		}
		got, ok := p.Args(name)
		require.Equal(t, !tt.hashed || tt.kept, ok, tt.size)
		if ok {
			require.Equal(t, args, got)
		}
	}
	_, ok := p.Args("other@0011223344556677.00000000?q=0:")
	require.False(t, ok)
}
