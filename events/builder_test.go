package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	committed = time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
	blogs     = Table{Schema: "public", Name: "blogs", Identity: "full"}
	users     = Table{Schema: "public", Name: "users", Identity: "default"}
)

func insertOf(id string, value string) *Change {
	return &Change{Op: Insert, Key: Row{{Name: "id", Value: id}}, New: Row{{Name: "id", Value: id}, {Name: "v", Value: value}}}
}

// build builds one transaction and decodes its messages.
func build(t testing.TB, b *Builder, skip int64, changes []*Change, table func(i int) Table) (bodies []*Body, decoded []*Changes) {
	t.Helper()
	b.Begin(0x16B3748, 740, committed, skip)
	add := func(body *Body) {
		if body == nil {
			return
		}
		c, err := DecodeChanges(body.Data)
		require.NoError(t, err, "%s", body.Data)
		bodies, decoded = append(bodies, body), append(decoded, c)
	}
	for i, c := range changes {
		add(b.Add(table(i), c))
	}
	add(b.Flush(true))
	require.Nil(t, b.Flush(true), "nothing is left")
	return bodies, decoded
}

func same(t Table) func(int) Table { return func(int) Table { return t } }

// golden is the form of a change message, to the letter: a change of it is a change of the contract.
const golden = `{"version":1,"source":"main","position":"0/16B3748","xid":740,"committed":"2026-02-03T04:05:06.789012Z","sequence":7,` +
	`"last":true ,"schema":"public","table":"blogs","identity":"full","changes":[` +
	`{"op":"insert","key":{"id":"1"},"new":{"id":"1","title":"a \"b\"\n","tags":null}},` +
	`{"op":"update","key":{"id":"1"},"old":{"id":"1","title":""},"new":{"id":"2","title":"é"},"unknown":["body"]},` +
	`{"op":"delete","key":{"id":"2"},"old":{"id":"2"}},` +
	`{"op":"truncate"},` +
	`{"op":"ddl","reason":"ALTER TABLE \"x\""},` +
	`{"op":"clear","old":{"id":"1","tags":null},"reason":"freshet.clear"}]}`

func goldenChanges() []*Change {
	return []*Change{
		{Op: Insert, Key: Row{{Name: "id", Value: "1"}}, New: Row{{Name: "id", Value: "1"}, {Name: "title", Value: "a \"b\"\n"}, {Name: "tags", Null: true}}},
		{Op: Update, Key: Row{{Name: "id", Value: "1"}}, Old: Row{{Name: "id", Value: "1"}, {Name: "title"}},
			New: Row{{Name: "id", Value: "2"}, {Name: "title", Value: "é"}}, Unknown: []string{"body"}},
		{Op: Delete, Key: Row{{Name: "id", Value: "2"}}, Old: Row{{Name: "id", Value: "2"}}},
		{Op: Truncate},
		{Op: Define, Reason: `ALTER TABLE "x"`},
		{Op: Clear, Old: Row{{Name: "id", Value: "1"}, {Name: "tags", Null: true}}, Reason: "freshet.clear"},
	}
}

func TestBuilderWritesTheContract(t *testing.T) {
	bodies, decoded := build(t, &Builder{Source: "main"}, 7, goldenChanges(), same(blogs))
	require.Len(t, bodies, 1)
	require.JSONEq(t, golden, string(bodies[0].Data))
	want := make([]Change, 0, 6)
	for _, c := range goldenChanges() {
		want = append(want, *c)
	}
	require.Equal(t, &Changes{
		Version: 1, Source: "main", Position: 0x16B3748, XID: 740, Committed: committed, Sequence: 7, Last: true,
		Schema: "public", Table: "blogs", Identity: "full", Changes: want,
	}, decoded[0])
	require.Equal(t, Body{Table: blogs, Position: 0x16B3748, XID: 740, Committed: committed, Sequence: 7, Count: 6, Data: bodies[0].Data}, *bodies[0])
}

func TestBuilderBeginsAMessageWithEachTable(t *testing.T) {
	changes := []*Change{insertOf("1", ""), insertOf("2", ""), insertOf("3", ""), insertOf("4", "")}
	tables := []Table{blogs, blogs, users, blogs}
	_, decoded := build(t, &Builder{Source: "main"}, 0, changes, func(i int) Table { return tables[i] })
	require.Len(t, decoded, 3)
	for i, want := range []struct {
		table    string
		sequence int64
		count    int
	}{{"blogs", 0, 2}, {"users", 2, 1}, {"blogs", 3, 1}} {
		require.Equal(t, want.table, decoded[i].Table)
		require.Equal(t, want.sequence, decoded[i].Sequence)
		require.Len(t, decoded[i].Changes, want.count)
		require.Equal(t, i == 2, decoded[i].Last)
	}
}

func TestBuilderKeepsToTheLimit(t *testing.T) {
	for _, limit := range []int{600, 1000, 4096} {
		var changes []*Change
		for i := range 500 {
			// Every size around the limit, and characters that grow in JSON.
			changes = append(changes, insertOf(fmt.Sprint(i), strings.Repeat("x\"", i*limit/800)))
		}
		bodies, decoded := build(t, &Builder{Source: "main", Limit: limit}, 0, changes, same(blogs))
		next := int64(0)
		for i, c := range decoded {
			require.LessOrEqual(t, len(bodies[i].Data), limit)
			require.Equal(t, next, c.Sequence)
			require.Equal(t, c.Sequence, bodies[i].Sequence)
			require.Len(t, c.Changes, bodies[i].Count)
			require.Equal(t, i == len(decoded)-1, c.Last)
			next += int64(len(c.Changes))
		}
		require.EqualValues(t, len(changes), next)
		require.Less(t, len(bodies), len(changes), "small changes share a message")
	}
}

// The number of digits of a message's sequence counts too.
func TestBuilderKeepsToTheLimitBehindManyChanges(t *testing.T) {
	for size := 300; size < 700; size++ {
		changes := []*Change{insertOf("1", ""), insertOf("2", ""), insertOf("3", ""), insertOf("4", strings.Repeat("x", size))}
		bodies, _ := build(t, &Builder{Source: "main", Limit: 600}, 999_999_999_997, changes, same(blogs))
		for _, b := range bodies {
			require.LessOrEqual(t, len(b.Data), 600, "with a value of %d bytes", size)
		}
	}
}

func TestBuilderDropsTheLargestValuesOfARowTooLarge(t *testing.T) {
	c := &Change{
		Op: Update, Key: Row{{Name: "id", Value: "1"}},
		Old: Row{{Name: "id", Value: "1"}, {Name: "large", Value: "x"}, {Name: "larger", Value: strings.Repeat("y", 600)}, {Name: "v", Value: "old"}},
		New: Row{{Name: "id", Value: "1"}, {Name: "large", Value: strings.Repeat("x", 500)}, {Name: "larger", Value: "y"}, {Name: "v", Value: "new"}},
	}
	bodies, decoded := build(t, &Builder{Source: "main", Limit: 800}, 0, []*Change{insertOf("0", ""), c, insertOf("2", "")}, same(blogs))
	require.LessOrEqual(t, len(bodies[len(bodies)-1].Data), 800)
	var all []Change
	for _, d := range decoded {
		all = append(all, d.Changes...)
	}
	require.Len(t, all, 3, "it stops nothing")
	require.Equal(t, Change{
		Op: Update, Key: Row{{Name: "id", Value: "1"}}, Old: Row{{Name: "id", Value: "1"}, {Name: "v", Value: "old"}},
		New: Row{{Name: "id", Value: "1"}, {Name: "v", Value: "new"}}, Unknown: []string{"larger", "large"},
	}, all[1])
}

// A Clear without one of its values is of more rows: coarser, never wrong.
func TestBuilderDropsTheLargestValuesOfAClear(t *testing.T) {
	c := &Change{Op: Clear, Old: Row{{Name: "id", Value: "1"}, {Name: "v", Value: strings.Repeat("x", 900)}}, Reason: "freshet.clear"}
	bodies, decoded := build(t, &Builder{Source: "main", Limit: 800}, 0, []*Change{c}, same(Table{Schema: "public", Name: "blogs"}))
	require.LessOrEqual(t, len(bodies[0].Data), 800)
	require.Equal(t, []Change{{Op: Clear, Old: Row{{Name: "id", Value: "1"}}, Unknown: []string{"v"}, Reason: "freshet.clear"}}, decoded[0].Changes)
}

func TestBuilderDoesNotTouchAFinishedBody(t *testing.T) {
	b := &Builder{Source: "main"}
	b.Begin(1, 1, committed, 0)
	require.Nil(t, b.Add(blogs, insertOf("1", "a")))
	first := b.Add(users, insertOf("2", "b"))
	text := string(first.Data)
	for i := range 1000 {
		b.Add(users, insertOf(fmt.Sprint(i), "c"))
	}
	b.Flush(true)
	b.Begin(2, 2, committed, 0)
	b.Add(blogs, insertOf("3", "d"))
	b.Flush(true)
	require.Equal(t, text, string(first.Data))
}

// FuzzDecodeChanges: what the decoder accepts survives a round trip through the builder.
func FuzzDecodeChanges(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"version":1,"source":"s","position":"0/1","committed":"2026-01-01T00:00:00Z","changes":[{"op":"insert","new":{"a":"\u0000"}}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeChanges(data)
		if err != nil || len(c.Changes) == 0 || c.Committed.Location() != time.UTC {
			return
		}
		b := &Builder{Source: c.Source, Limit: 1 << 30}
		b.Begin(c.Position, c.XID, c.Committed, c.Sequence)
		table := Table{Schema: c.Schema, Name: c.Table, Identity: c.Identity}
		for i := range c.Changes {
			change := &c.Changes[i]
			for _, row := range []*Row{&change.Key, &change.Old, &change.New} {
				if len(*row) == 0 {
					*row = nil // written as absent
				}
			}
			if len(change.Unknown) == 0 {
				change.Unknown = nil
			}
			require.Nil(t, b.Add(table, change))
		}
		back, err := DecodeChanges(b.Flush(c.Last).Data)
		require.NoError(t, err)
		require.True(t, c.Committed.Equal(back.Committed))
		back.Committed = c.Committed
		require.Equal(t, c, back)
	})
}
