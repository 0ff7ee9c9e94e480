package invalidator

import (
	"strconv"
	"testing"

	"freshet/cache"
	"freshet/events"
)

// benchChanges is a message of n updates of different rows, each with its whole old row.
func benchChanges(n int) *events.Changes {
	msg := &events.Changes{Version: events.Version, Schema: "public", Table: "blogs", Changes: make([]events.Change, n)}
	for i := range msg.Changes {
		row := events.Row{
			{Name: "id", Value: strconv.Itoa(i)}, {Name: "title", Value: "A title"}, {Name: "slug", Value: "a-title-" + strconv.Itoa(i)},
			{Name: "content", Value: "The content."}, {Name: "status", Value: "published"}, {Name: "author", Value: "author-" + strconv.Itoa(i%50)},
		}
		msg.Changes[i] = events.Change{Op: events.Update, Key: row[:1], Old: row, New: row}
	}
	return msg
}

// A message of 500 updates against one shape, against the example's four of blogs, and with 100 shapes of other tables besides,
// which should cost nothing.
func BenchmarkMatch(b *testing.B) {
	four := []cache.Shape{
		cache.NewShape("public", "blogs", "id"), cache.NewShape("public", "blogs", "slug"),
		cache.NewShape("public", "blogs", "status"), cache.NewShape("public", "blogs", "author"),
	}
	many := append([]cache.Shape(nil), four...)
	for i := range 100 {
		many = append(many, cache.NewShape("public", "other_"+strconv.Itoa(i), "id"))
	}
	const changes = 500
	for _, bench := range []struct {
		name   string
		shapes []cache.Shape
	}{{"1-shape", four[:1]}, {"4-shapes", four}, {"4-of-104-shapes", many}} {
		b.Run(bench.name, func(b *testing.B) {
			m, msg := newMatcher(bench.shapes), benchChanges(changes)
			b.ReportAllocs()
			for b.Loop() {
				c := newClearing()
				m.match(msg, c)
				if len(c.tags) < changes {
					b.Fatal("too few tags")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*changes), "ns/change")
		})
	}
}
