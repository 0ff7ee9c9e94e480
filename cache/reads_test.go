package cache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadingIsSortedAndNamesNothingTwice(t *testing.T) {
	s := NewShape("public", "blogs", "id")
	require.Equal(t, []string{"author", "title"}, s.Reading([]string{"title", "author", "title"}).Reads)
	require.NotNil(t, s.Reading([]string{}).Reads, "no column at all is not any column")
	require.Nil(t, s.Reading(nil).Reads)
	require.Nil(t, s.Reading([]string{"title", "*"}).Reads)
	require.Equal(t, s.String(), s.Reading([]string{"title"}).String(), "shapes of one name share their buckets")
}

func TestUnion(t *testing.T) {
	title, author := byID.Reading([]string{"title"}), byID.Reading([]string{"author"})
	got := Union([]Shape{title, byStatus.Reading(nil), author, byStatus.Reading([]string{"title"}), title})
	require.Equal(t, []Shape{byID.Reading([]string{"author", "title"}), byStatus}, got)
	require.Empty(t, Union(nil))
}

func TestGenerationTellsWhatIsMatched(t *testing.T) {
	narrow, wide, none, all := byID.Reading([]string{"title"}), byID.Reading([]string{"a,b", "title", "x y"}), byID.Reading([]string{}), byID
	for _, tt := range []struct {
		name             string
		active, wanted   Shape
		matched, covered bool
	}{
		{"the same", narrow, narrow, true, true},
		{"the same, with odd names", wide, wide, true, true},
		{"more than is needed", wide, narrow, false, true},
		{"less than is needed", narrow, wide, false, false},
		{"all", all, wide, false, true},
		{"all is needed", wide, all, false, false},
		{"none is needed", narrow, none, false, true},
		{"none is there", none, narrow, false, false},
		{"none and none", none, none, true, true},
		{"all and all", all, all, true, true},
		{"half of a name", byID.Reading([]string{"a"}), byID.Reading([]string{"a,b"}), false, false},
		{"a column named *", byID.Reading([]string{"title"}), Shape{Schema: "public", Table: "blogs", Columns: []string{"id"}, Reads: []string{"*"}}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			generation := tt.active.NewGeneration()
			require.Equal(t, tt.matched, tt.wanted.Matched(generation))
			token, reads := splitGeneration(generation)
			require.Equal(t, tt.covered, tt.wanted.covered(reads))
			require.NotEmpty(t, token)
			require.NotContains(t, token, " ")
		})
	}
	require.False(t, all.Matched(""), "a shape that is not active is matched by nothing")
	first := narrow.NewGeneration()
	require.NotEqual(t, first, narrow.NewGeneration())
}

// A shape of which changes are matched by fewer columns than a request reads is not active for it; a wider set takes effect with
// the generation that has it.
func TestWiderReadsAreActivatedByTheWatermark(t *testing.T) {
	r := newRig(t)
	narrow, wide := byID.Reading([]string{"title"}), byID.Reading([]string{"author", "title"})
	activate := func(s Shape) {
		r.apply(Batch{Next: State{Generations: map[string]string{s.String(): s.NewGeneration()}}})
	}
	request := func(s Shape) Request {
		req := blog("1")
		req.Tags = []Tag{s.Tag("1")}
		return req
	}
	activate(narrow)
	require.Equal(t, Miss, r.get(request(narrow), "x").Status)
	require.Equal(t, Hit, r.get(request(narrow), "y").Status)
	require.Equal(t, ReasonInactive, r.get(request(wide), "z").Reason)

	activate(wide)
	require.Equal(t, Miss, r.get(request(wide), "a").Status, "what was stored before is not bound to the new generation")
	require.Equal(t, Hit, r.get(request(wide), "b").Status)
	require.Equal(t, Hit, r.get(request(narrow), "c").Status)
}
