package cache

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShapeNames(t *testing.T) {
	for want, s := range map[string]Shape{
		"public.blogs(id)":            NewShape("public", "blogs", "id"),
		"public.blogs(author,status)": NewShape("public", "blogs", "status", "author", "status"),
		"public.blogs()":              NewShape("public", "blogs"),
		"a%2Eb.c%28d%29(e%2Cf)":       NewShape("a.b", "c(d)", "e,f"),
		"öffentlich.größe(straße)":    NewShape("öffentlich", "größe", "straße"),
	} {
		require.Equal(t, want, s.String())
	}
}

func TestTagNames(t *testing.T) {
	long := strings.Repeat("x", maxValue+1)
	for _, tt := range []struct {
		want string
		tag  Tag
	}{
		{"public.blogs:id=42", byID.Tag("42")},
		{"public.blogs:status=published", byStatus.Tag("published")},
		{"public.blogs:", NewShape("public", "blogs").Tag()},
		{"public.blogs:author=3&status=draft", NewShape("public", "blogs", "status", "author").Tag("3", "draft")},
		{"public.blogs:price=12.50", NewShape("public", "blogs", "price").Tag("12.50")},
		{"public.blogs:slug=a-day_in-2026", NewShape("public", "blogs", "slug").Tag("a-day_in-2026")},
		{"public.blogs:status=", byStatus.Tag("")},
		{"public.blogs:status=a%26b%3Dc%2525%20%2A", byStatus.Tag("a&b=c%25 *")},
		{"public.blogs:status=" + strings.Repeat("x", maxValue), byStatus.Tag(long[:maxValue])},
		{"public.blogs:status=~ff32c5c87de0ab02c3a6c1a58afed7ed", byStatus.Tag(strings.Repeat("y", 1000))},
	} {
		if len(tt.tag.Name) > 0 && strings.Contains(tt.want, "~") {
			require.Regexp(t, `^public\.blogs:status=~[0-9a-f]{32}$`, tt.tag.Name)
			continue
		}
		require.Equal(t, tt.want, tt.tag.Name)
	}
	require.NotEqual(t, byStatus.Tag(long).Name, byStatus.Tag(long+"x").Name)
	// What is hashed and what only looks like it are two.
	hashed := strings.TrimPrefix(byStatus.Tag(long).Name, "public.blogs:status=")
	require.NotEqual(t, byStatus.Tag(long).Name, byStatus.Tag(hashed).Name)
	require.Panics(t, func() { byID.Tag() })
}

// FuzzNames: two shapes, or two lists of values, never share a name, unless a value is long enough to be hashed; and no name
// holds what Redis takes for a pattern or a person for a separator.
func FuzzNames(f *testing.F) {
	f.Add("public", "blogs", "id", "status", "1", "2", "1&status=2", "")
	f.Add("a.b", "c", "d", "e", "f%2Eg", "f.g", "~00", "x,y")
	f.Add("a", "b(c", "d)", "e=", "=", "&", "&=", "=&")
	f.Fuzz(func(t *testing.T, schema, table, column1, column2, a, b, c, d string) {
		one := NewShape(schema, table, column1, column2)
		for _, other := range []Shape{
			NewShape(table, schema, column1, column2), NewShape(schema, table, column1+","+column2), NewShape(schema, table),
			NewShape(schema+"."+table, column1, column2), NewShape(schema, table, column1),
		} {
			same := one.Schema == other.Schema && one.Table == other.Table && slices.Equal(one.Columns, other.Columns)
			// A column without a name, which Postgres does not have, is the only thing that the name does not show.
			if !slices.Contains(one.Columns, "") && !slices.Contains(other.Columns, "") {
				require.Equal(t, same, one.String() == other.String(), "%q %q", one, other)
			}
		}
		if len(one.Columns) != 2 {
			return
		}
		first, second := one.Tag(a, b), one.Tag(c, d)
		hashed := max(len(escape(a)), len(escape(b)), len(escape(c)), len(escape(d))) > maxValue
		if !hashed {
			require.Equal(t, a == c && b == d, first.Name == second.Name, "%q %q", first.Name, second.Name)
		}
		for _, name := range []string{first.Name, second.Name} {
			require.False(t, strings.ContainsAny(name, "*?[]\\\"' \n\r\t\x00"), "%q", name)
			require.Equal(t, 1, strings.Count(name, ":"))
			require.Equal(t, 1, strings.Count(name, "&"))
			require.Equal(t, 2, strings.Count(name, "="))
			require.NotEqual(t, DefaultPrefix+"watermark", DefaultPrefix+name)
		}
	})
}
