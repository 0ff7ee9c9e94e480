package invalidator

import (
	"strconv"
	"strings"
	"testing"

	"freshet/cache"
	"freshet/events"
)

// benchColumns are those of a wide table. Nothing but the last changes; the first nine are pinned.
var benchColumns = []string{
	"id", "slug", "title", "status", "author", "category", "language", "created_at", "published_at", "deleted_at", "content", "views",
}

// benchMessages are n updates of different rows, so many in each message.
func benchMessages(n, each int) []events.Changes {
	article := strings.Repeat("A line of a long article.\n", 40)
	messages := make([]events.Changes, n/each)
	for i := range n {
		row := func(views string) events.Row {
			id := strconv.Itoa(i)
			values := []string{
				id, "a-title-" + id, "Title " + id, "published", "author-" + strconv.Itoa(i%50), "category-" + strconv.Itoa(i%7), "en",
				"2026-01-02 03:04:05.678901+00", "2026-01-03 03:04:05.678901+00", "", article, views,
			}
			row := make(events.Row, len(values))
			for j, v := range values {
				// Copies, as a message that was decoded has: equal texts at one address compare too quickly.
				row[j] = events.Field{Name: strings.Clone(benchColumns[j]), Value: strings.Clone(v), Null: v == ""}
			}
			return row
		}
		msg := &messages[i/each]
		msg.Version, msg.Schema, msg.Table = events.Version, "public", "blogs"
		before, after := row("7"), row("8")
		msg.Changes = append(msg.Changes, events.Change{Op: events.Update, Key: after[:1], Old: before, New: after})
	}
	return messages
}

// benchShapes are n shapes of the wide table, each pinning two columns or three, of which the first so many read the column that
// changes.
func benchShapes(n, matching int) []cache.Shape {
	var pins [][]string
	for i, a := range benchColumns[:9] {
		for j, b := range benchColumns[:i] {
			pins = append(pins, []string{a, b})
			for _, c := range benchColumns[:j] {
				pins = append(pins, []string{a, b, c})
			}
		}
	}
	shapes := make([]cache.Shape, n)
	for i := range shapes {
		reads := []string{"id", "slug", "title", "content", "author"}
		if i < matching {
			reads = append(reads, "views")
		}
		shapes[i] = cache.NewShape("public", "blogs", pins[i]...).Reading(reads)
	}
	return shapes
}

// elsewhere are n shapes of a hundred other tables.
func elsewhere(n int) []cache.Shape {
	shapes := make([]cache.Shape, n)
	for i := range shapes {
		shapes[i] = cache.NewShape("public", "other_"+strconv.Itoa(i%100), "id", "column_"+strconv.Itoa(i))
	}
	return shapes
}

// What a change costs: with the shapes of its table, of which some match, and with those of other tables.
func BenchmarkMatch(b *testing.B) {
	const changes = 512
	for _, bench := range []struct {
		name            string
		shapes, matches int
		elsewhere, each int // shapes of other tables; changes in a message
	}{
		{"shapes=100/match=0", 100, 0, 10, changes},
		{"shapes=100/match=2", 100, 2, 10, changes},
		{"shapes=100/match=2/each=1", 100, 2, 10, 1},
		{"shapes=100/match=100", 100, 100, 10, changes},
		{"shapes=4/match=4", 4, 4, 10, changes},
		{"shapes=4/match=4/elsewhere=1000", 4, 4, 1000, changes},
		{"shapes=4/match=4/each=1", 4, 4, 10, 1},
		{"shapes=4/match=4/elsewhere=1000/each=1", 4, 4, 1000, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := newMatcher(append(benchShapes(bench.shapes, bench.matches), elsewhere(bench.elsewhere)...))
			messages := benchMessages(changes, bench.each)
			b.ReportAllocs()
			for b.Loop() {
				c := newClearing()
				for i := range messages {
					m.match(&messages[i], c)
				}
				if (len(c.tags) == 0) != (bench.matches == 0) {
					b.Fatalf("%d tags", len(c.tags))
				}
			}
			b.ReportMetric(float64(b.N*changes)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}
