package cache

import (
	"strings"
	"testing"
)

// The name of a tag: made for each request, and for each row and shape that a change clears.
func BenchmarkTag(b *testing.B) {
	shape := NewShape("public", "blogs", "author", "status")
	for _, bench := range []struct {
		name   string
		values []string
	}{
		{"plain", []string{"author-42", "published"}},
		{"escaped", []string{"an author", "a&b"}},
		{"hashed", []string{"author-42", strings.Repeat("x", 1000)}},
	} {
		b.Run("Tag/"+bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				shape.Tag(bench.values...)
			}
		})
		b.Run("TagNames/"+bench.name, func(b *testing.B) {
			names, buf := shape.TagNames(), []byte(nil)
			b.ReportAllocs()
			for b.Loop() {
				buf = names.Append(buf[:0], bench.values)
			}
		})
	}
}
