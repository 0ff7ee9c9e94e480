package cache

import (
	"fmt"
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
		// Each process makes these names for itself: they are the same in all versions.
		{"public.blogs:status=~7e33ae3f1e88ddf3291109cc366b12dc", byStatus.Tag(strings.Repeat("y", 1000))},
		{"public.blogs:status=~80b0a6e1eccd433b06824c8cc2cda0d7", byStatus.Tag(strings.Repeat("&", 34))},
	} {
		require.Equal(t, tt.want, tt.tag.Name)
	}
	require.NotEqual(t, byStatus.Tag(long).Name, byStatus.Tag(long+"x").Name)
	// What is hashed and what only looks like it are two.
	hashed := strings.TrimPrefix(byStatus.Tag(long).Name, "public.blogs:status=")
	require.NotEqual(t, byStatus.Tag(long).Name, byStatus.Tag(hashed).Name)
	require.Panics(t, func() { byID.Tag() })
}

// Every byte, beside what is said of it one by one: names escape what separates, values all of it but the '.'.
func TestEscapes(t *testing.T) {
	for c := range 256 {
		text := string([]byte{'a', byte(c), 'b'})
		name, value := text, text
		if c <= ' ' || c == 0x7f || strings.IndexByte(`%.:=&(),~*?[]\"'`, byte(c)) >= 0 {
			name = fmt.Sprintf("a%%%02Xb", c)
			if value = name; c == '.' {
				value = text
			}
		}
		require.Equal(t, name, escape(text))
		require.Equal(t, "public.blogs:status="+value, byStatus.Tag(text).Name)
	}
	// The bound is that of the value as it is written.
	const separators = "&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&" // 33 of them: 99 bytes
	require.Equal(t, "public.blogs:status="+strings.Repeat("%26", 33)+".", byStatus.Tag(separators+".").Name)
	require.Regexp(t, "=~", byStatus.Tag(separators+"ab").Name)
}

// TagNames appends to what is there, and is not spoiled by it.
func TestTagNamesAppend(t *testing.T) {
	for _, s := range []Shape{NewShape("public", "blogs"), byID, NewShape("a.b", "c:d", "e=", "f&", "g")} {
		names, buf := s.TagNames(), []byte("prefix:")
		for _, value := range []string{"1", "a&b", strings.Repeat("x", maxValue+1), ""} {
			values := slices.Repeat([]string{value}, len(s.Columns))
			buf = names.Append(buf[:len("prefix:")], values)
			require.Equal(t, "prefix:"+s.Tag(values...).Name, string(buf))
		}
	}
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
