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
			require.Equal(t, tt.change.Op == events.Truncate, c.sweep[[2]string{"public", "blogs"}])
			for name, tag := range c.tags {
				require.Equal(t, name, tag.Name)
			}
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

func TestMatchAddsUp(t *testing.T) {
	m := newMatcher([]cache.Shape{byID, byID, users})
	require.Len(t, m.byTable[[2]string{"public", "blogs"}], 1, "a shape twice is one")
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
		{"deleted, who knows which", events.Change{Op: events.Delete}, all},
		{"truncated", events.Change{Op: events.Truncate}, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClearing()
			newMatcher([]cache.Shape{byID, byStatus, users}).interrupt(&events.Changes{Changes: []events.Change{tt.change}}, c)
			require.Equal(t, tt.want, slices.Sorted(maps.Keys(c.shapes)))
		})
	}
}
