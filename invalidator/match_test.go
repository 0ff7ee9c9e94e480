package invalidator

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
)

func TestMatch(t *testing.T) {
	var (
		whole  = cache.NewShape("public", "blogs")
		both   = cache.NewShape("public", "blogs", "author", "status")
		shapes = []cache.Shape{byID, byStatus, both, whole, users, cache.NewShape("other", "blogs", "id")}
		draft  = row("id", "1", "status", "draft", "author", "7")
		public = row("id", "1", "status", "public", "author", "7")
	)
	const w = "public.blogs:" // the table-wide tag
	for _, tt := range []struct {
		name         string
		change       events.Change
		tags, shapes []string
	}{
		{"insert", events.Change{Op: events.Insert, New: draft},
			[]string{w, "public.blogs:author=7&status=draft", "public.blogs:id=1", "public.blogs:status=draft"}, nil},
		{"delete", events.Change{Op: events.Delete, Old: public},
			[]string{w, "public.blogs:author=7&status=public", "public.blogs:id=1", "public.blogs:status=public"}, nil},
		{"update clears the tags of the old row and of the new row", events.Change{Op: events.Update, Old: draft, New: public}, []string{
			w, "public.blogs:author=7&status=draft", "public.blogs:author=7&status=public", "public.blogs:id=1",
			"public.blogs:status=draft", "public.blogs:status=public",
		}, nil},
		{"update of the key", events.Change{
			Op: events.Update, Old: row("id", "1", "status", "a", "author", "7"), New: row("id", "2", "status", "a", "author", "7"),
		}, []string{w, "public.blogs:author=7&status=a", "public.blogs:id=1", "public.blogs:id=2", "public.blogs:status=a"}, nil},
		{"truncate", events.Change{Op: events.Truncate}, nil,
			[]string{"public.blogs()", "public.blogs(author,status)", "public.blogs(id)", "public.blogs(status)"}},
		{"defined anew, which counts for the definitions of everything", events.Change{Op: events.Define}, nil, []string{
			"freshet.catalog()", "public.blogs()", "public.blogs(author,status)", "public.blogs(id)", "public.blogs(status)",
		}},
		{"cleared by hand", events.Change{Op: events.Clear}, nil,
			[]string{"public.blogs()", "public.blogs(author,status)", "public.blogs(id)", "public.blogs(status)"}},
		{"a row cleared by hand", events.Change{Op: events.Clear, Old: draft},
			[]string{w, "public.blogs:author=7&status=draft", "public.blogs:id=1", "public.blogs:status=draft"}, nil},
		{"some values cleared by hand", events.Change{Op: events.Clear, Old: row("status", "draft")},
			[]string{w, "public.blogs:status=draft"}, []string{"public.blogs(author,status)", "public.blogs(id)"}},
		{"NULL has no tag: an equality never matches it", events.Change{Op: events.Insert, New: row("id", "1", "status", null, "author", "7")},
			[]string{w, "public.blogs:id=1"}, nil},
		{"NULL becomes a value", events.Change{
			Op: events.Update, Old: row("id", "1", "status", null, "author", null), New: row("id", "1", "status", "a", "author", "7"),
		}, []string{w, "public.blogs:author=7&status=a", "public.blogs:id=1", "public.blogs:status=a"}, nil},
		{"the empty text is a value", events.Change{Op: events.Insert, New: row("id", "1", "status", "", "author", "7")},
			[]string{w, "public.blogs:author=7&status=", "public.blogs:id=1", "public.blogs:status="}, nil},
		{"the old row has only the key (REPLICA IDENTITY DEFAULT)", events.Change{Op: events.Update, Old: row("id", "1"), New: public},
			[]string{w, "public.blogs:author=7&status=public", "public.blogs:id=1", "public.blogs:status=public"},
			[]string{"public.blogs(author,status)", "public.blogs(status)"}},
		{"deleted with only the key", events.Change{Op: events.Delete, Old: row("id", "1")},
			[]string{w, "public.blogs:id=1"}, []string{"public.blogs(author,status)", "public.blogs(status)"}},
		{"an update without an old row", events.Change{Op: events.Update, New: draft},
			[]string{w, "public.blogs:author=7&status=draft", "public.blogs:id=1", "public.blogs:status=draft"},
			[]string{"public.blogs(author,status)", "public.blogs(id)", "public.blogs(status)"}},
		{"a value that is not known", events.Change{
			Op: events.Update, Old: row("id", "1", "author", "7"), New: row("id", "1", "author", "7"), Unknown: []string{"status"},
		}, []string{w, "public.blogs:id=1"}, []string{"public.blogs(author,status)", "public.blogs(status)"}},
		{"a value that is not known beside a NULL", events.Change{
			Op: events.Insert, New: row("id", "1", "author", null), Unknown: []string{"status"},
		}, []string{w, "public.blogs:id=1"}, []string{"public.blogs(author,status)", "public.blogs(status)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClearing()
			newMatcher(shapes).match(&events.Changes{Schema: "public", Table: "blogs", Changes: []events.Change{tt.change}}, c)
			require.Equal(t, tt.tags, slices.Sorted(maps.Keys(c.tags)))
			require.Equal(t, tt.shapes, slices.Sorted(maps.Keys(c.shapes)))
			require.Equal(t, len(tt.tags) == 0, c.sweep[[2]string{"public", "blogs"}])
			for name, tag := range c.tags {
				require.Equal(t, name, tag.Name)
			}
		})
	}
}

// An update counts for a shape only if a column that its queries read or pin has changed, or may have.
func TestMatchReads(t *testing.T) {
	var (
		reading = func(columns ...string) []cache.Shape {
			return []cache.Shape{byStatus.Reading(append([]string{}, columns...))}
		}
		update = func(old, is events.Row, unknown ...string) events.Change {
			return events.Change{Op: events.Update, Old: old, New: is, Unknown: unknown}
		}
		before  = row("id", "1", "status", "draft", "title", "A", "views", "7", "gone", null)
		viewed  = row("id", "1", "status", "draft", "title", "A", "views", "8", "gone", null)
		retitle = row("id", "1", "status", "draft", "title", "B", "views", "7", "gone", null)
		moved   = row("id", "1", "status", "public", "title", "A", "views", "7", "gone", null)
		some    = row("id", "1", "title", "A", "views", "8")
		draft   = []string{"public.blogs:status=draft"}
		both    = []string{"public.blogs:status=draft", "public.blogs:status=public"}
		all     = []string{"public.blogs(status)"}
	)
	for _, tt := range []struct {
		name        string
		known       []cache.Shape
		change      events.Change
		tags, whole []string
	}{
		{"another column", reading("title"), update(before, viewed), nil, nil},
		{"a column that is read", reading("title", "views"), update(before, viewed), draft, nil},
		{"a column that is pinned, not read", reading("title"), update(before, moved), both, nil},
		{"nothing, of a count", reading(), update(before, retitle), nil, nil},
		{"the pinned column, of a count", reading(), update(before, moved), both, nil},
		{"nothing, for who reads any column", []cache.Shape{byStatus}, update(before, before), draft, nil},
		{"nothing, NULLs included", reading("gone", "title"), update(before, before), nil, nil},
		{"NULL becomes the empty text", reading("gone"),
			update(before, row("id", "1", "status", "draft", "gone", "")), draft, nil},
		{"the empty text becomes NULL", reading("gone"),
			update(row("id", "1", "status", "draft", "gone", ""), before), draft, nil},
		{"a column that no row has", reading("generated"), update(before, before), draft, nil},
		{"a column that the old row does not have", reading("views"), update(row("status", "draft"), viewed), draft, nil},
		{"a column that the new row does not have", reading("views"), update(before, row("status", "draft")), draft, nil},
		{"a column that is said to be unknown", reading("views"), update(before, before, "views"), draft, nil},
		{"another column that is unknown", reading("title"), update(before, viewed, "content"), nil, nil},
		{"a pinned column that is unknown", reading("title"), update(some, some, "status"), nil, all},
		{"the columns in another order", reading("title"),
			update(before, row("views", "8", "title", "A", "status", "draft", "id", "1")), nil, nil},
		{"an insert", reading(), events.Change{Op: events.Insert, New: before}, draft, nil},
		{"a delete", reading(), events.Change{Op: events.Delete, Old: before}, draft, nil},
		{"cleared by hand", reading(), events.Change{Op: events.Clear, Old: row("status", "draft")}, draft, nil},
		{"a shape twice reads what either reads", append(reading("title"), reading("views")...), update(before, viewed), draft, nil},
		{"a shape twice, once any column", append(reading("title"), byStatus), update(before, before), draft, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClearing()
			newMatcher(tt.known).match(&events.Changes{Schema: "public", Table: "blogs", Changes: []events.Change{tt.change}}, c)
			require.Equal(t, tt.tags, slices.Sorted(maps.Keys(c.tags)))
			require.Equal(t, tt.whole, slices.Sorted(maps.Keys(c.shapes)))
		})
	}
}

func TestMatchLeavesOtherTablesAlone(t *testing.T) {
	m := newMatcher([]cache.Shape{byID, byStatus, users})
	for _, table := range [][2]string{{"public", "quizzes"}, {"other", "blogs"}, {"public", "blogs.id"}} {
		c := newClearing()
		m.match(&events.Changes{Schema: table[0], Table: table[1], Changes: []events.Change{
			{Op: events.Truncate}, {Op: events.Delete, Old: row("id", "1")},
		}}, c)
		require.Equal(t, newClearing(), c)
	}
}

// What is defined anew need not be a table of which a shape is known: a query may read a view.
func TestMatchDefineOfAnotherTable(t *testing.T) {
	c := newClearing()
	newMatcher([]cache.Shape{byID}).match(&events.Changes{Schema: "public", Table: "a_view", Changes: []events.Change{
		{Op: events.Define}, {Op: events.Clear}, // the one is more than the other
	}}, c)
	require.Equal(t, []string{"freshet.catalog()"}, slices.Sorted(maps.Keys(c.shapes)))
	require.Empty(t, c.sweep)
	require.Empty(t, c.tags)
}

func TestMatcherKnowsTheCatalog(t *testing.T) {
	for _, shapes := range [][]cache.Shape{nil, {byID}, {byID, cache.CatalogShape}} {
		m := newMatcher(shapes)
		require.Equal(t, cache.CatalogShape, m.shapes[cache.CatalogShape.String()])
		require.True(t, m.covers(cache.State{Generations: map[string]string{cache.CatalogShape.String(): "x"}}))
	}
}

func TestMatchAddsUp(t *testing.T) {
	m := newMatcher([]cache.Shape{byID, byID, users})
	require.Len(t, m.byTable[[2]string{"public", "blogs"}].shapes, 1, "a shape twice is one")
	c := newClearing()
	m.match(&events.Changes{Schema: "public", Table: "blogs", Changes: []events.Change{
		{Op: events.Insert, New: row("id", "1")}, {Op: events.Insert, New: row("id", "2")}, {Op: events.Delete, Old: row("id", "1")},
	}}, c)
	m.match(&events.Changes{Schema: "public", Table: "users", Changes: []events.Change{{Op: events.Insert, New: row("id", "1")}}}, c)
	require.Equal(t, []string{"public.blogs:id=1", "public.blogs:id=2", "public.users:id=1"}, slices.Sorted(maps.Keys(c.tags)))
}

// A shape that was not ready for a while has missed changes, even if the registry has it as ready again by now.
func TestInterrupt(t *testing.T) {
	line := func(schema, table, ready string) events.Row {
		return row("schema_name", schema, "table_name", table, "columns", "{id}", "ready", ready)
	}
	blogs := []string{"public.blogs(id)", "public.blogs(status)"}
	all := append(slices.Clone(blogs), "public.users(id)")
	everything := append([]string{"freshet.catalog()"}, all...)
	for _, tt := range []struct {
		name   string
		change events.Change
		want   []string
	}{
		{"registered", events.Change{Op: events.Insert, New: line("public", "blogs", "f")}, nil},
		{"renewed", events.Change{Op: events.Update, Old: line("public", "blogs", "t"), New: line("public", "blogs", "t")}, nil},
		{"activated", events.Change{Op: events.Update, Old: line("public", "blogs", "f"), New: line("public", "blogs", "t")}, nil},
		{"waits again", events.Change{Op: events.Update, Old: line("public", "blogs", "t"), New: line("public", "blogs", "f")}, blogs},
		{"deleted", events.Change{Op: events.Delete, Old: line("public", "blogs", "t")}, blogs},
		{"deleted, of another table", events.Change{Op: events.Delete, Old: line("other", "blogs", "t")}, nil},
		{"deleted, who knows which", events.Change{Op: events.Delete}, everything},
		{"truncated", events.Change{Op: events.Truncate}, everything},
		{"everything defined anew", events.Change{Op: events.Define}, everything},
		{"everything cleared by hand", events.Change{Op: events.Clear}, all},
		{"everything cleared by hand, whatever the values", events.Change{Op: events.Clear, Old: line("public", "blogs", "t")}, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClearing()
			newMatcher([]cache.Shape{byID, byStatus, users}).interrupt(&events.Changes{Changes: []events.Change{tt.change}}, c)
			require.Equal(t, tt.want, slices.Sorted(maps.Keys(c.shapes)))
		})
	}
}

// Shapes that do not match cost no allocation, and neither does a tag that is cleared already.
func TestMatchAllocatesOnlyNewTags(t *testing.T) {
	messages := benchMessages(64, 8)
	for _, matching := range []int{0, 2, 100} {
		m, c := newMatcher(benchShapes(100, matching)), newClearing()
		match := func() {
			for i := range messages {
				m.match(&messages[i], c)
			}
		}
		match()
		require.Equal(t, matching > 0, len(c.tags) > 0)
		require.Zero(t, testing.AllocsPerRun(10, match), "%d shapes match", matching)
	}
}
