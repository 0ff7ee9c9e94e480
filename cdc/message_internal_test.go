package cdc

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

func TestReadContent(t *testing.T) {
	blogs := events.Table{Schema: "public", Name: "blogs"}
	row := events.Row{{Name: "id", Value: "42"}, {Name: "v", Null: true}}
	for content, want := range map[string]struct {
		table  events.Table
		change events.Change
	}{
		`{"schema":"public","table":"blogs","reason":"ALTER TABLE"}`: {blogs, events.Change{Op: events.Clear, Reason: "ALTER TABLE"}},
		`{"schema":"public","table":"blogs","values":{"id":"42","v":null},"more":[1]}`: {blogs,
			events.Change{Op: events.Clear, Old: row}},
		`{"schema":"public","table":"blogs","values":{}}`:   {blogs, events.Change{Op: events.Clear}},
		`{"schema":"public","table":"blogs","values":null}`: {blogs, events.Change{Op: events.Clear}},
		`{"reason":"x"}`:                                {events.Everything, events.Change{Op: events.Clear, Reason: "x"}},
		`{"schema":null,"table":"","values":{}}`:        {events.Everything, events.Change{Op: events.Clear}},
		`{"reason":"` + strings.Repeat("é", 200) + `"}`: {events.Everything, events.Change{Op: events.Clear, Reason: strings.Repeat("é", 100) + "…"}},
	} {
		table, change, err := readContent(events.Clear, []byte(content))
		require.NoError(t, err, content)
		require.Equal(t, want.table, table, content)
		require.Equal(t, &want.change, change, content)
	}
	_, change, err := readContent(events.Define, []byte(`{"schema":"a","table":"b","values":{"id":"42"}}`))
	require.NoError(t, err)
	require.Equal(t, &events.Change{Op: events.Define}, change, "a definition has no rows")
}

// Anybody can emit messages under our prefixes: what cannot be read means everything.
func TestContentThatCannotBeReadIsAboutEverything(t *testing.T) {
	for _, content := range unreadable() {
		table, change, err := readContent(events.Clear, []byte(content))
		require.Error(t, err, "%.100q", content)
		require.Equal(t, events.Everything, table)
		require.Equal(t, &events.Change{Op: events.Clear, Reason: "a message that cannot be read"}, change)
	}
}

func unreadable() []string {
	return []string{
		"", " ", "{", "[]", `"x"`, "42", "\x00", `{"schema":42}`, `{"schema":"public"}`, `{"table":"blogs"}`, `{"values":{"id":"1"}}`,
		`{"schema":"public","table":"blogs"} x`, `{"schema":"public","table":"blogs","values":{"id":42}}`, `{"schema":"public","table":"blogs","values":[]}`,
		"{\"schema\":\"public\",\"table\":\"bl\xe4\"}", // LATIN1: not another table
		`{"schema":"public","table":"` + strings.Repeat("x", 256) + `"}`, `{"schema":"` + strings.Repeat("x", 5000) + `","table":"x"}`,
		`{"schema":"public","table":"blogs","values":{"id":"` + strings.Repeat("x", maxContent) + `"}}`,
	}
}

// FuzzReadContent: whatever a message holds, what comes of it can be published.
func FuzzReadContent(f *testing.F) {
	for _, content := range unreadable() {
		f.Add([]byte(content))
	}
	f.Add([]byte(`{"schema":"public","table":"blogs","values":{"id":"42","v":null},"reason":"\u0000\n"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		table, change, _ := readContent(events.Clear, content)
		b := events.Builder{Source: "test"}
		b.Add(table, change)
		body := b.Flush(true)
		require.LessOrEqual(t, len(body.Data), events.MaxMessageBytes)
		require.Less(t, len(body.Message("test", "session").Subject), 2000, "NATS bounds a subject at about 4,000 bytes")
		c, err := events.DecodeChanges(body.Data)
		require.NoError(t, err)
		require.Empty(t, c.Changes[0].Unknown)
		require.True(t, utf8.ValidString(c.Changes[0].Reason))
	})
}

// pgMessage is a pgoutput message of pg_logical_emit_message.
func pgMessage(transactional bool, prefix, content string) []byte {
	b := []byte{'M', 0}
	if transactional {
		b[1] = 1
	}
	b = append(binary.BigEndian.AppendUint64(b, 0x19315d8), prefix+"\x00"...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(content))), content...)
}

// Messages of others are not even buffered, whatever their size.
func TestForeignMessages(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for _, m := range [][]byte{
		pgMessage(true, "", ""), pgMessage(true, "freshet", "{}"), pgMessage(true, "freshet.flush", ""), pgMessage(true, "freshet.ddl2", "{}"),
		pgMessage(true, "somebody", large), pgMessage(false, "freshet.ddl", "{}"), pgMessage(false, "freshet.clear", large),
	} {
		require.True(t, foreign(m), "%.40q", m)
		var got []item
		d := testDecoder(t, &got)
		require.NoError(t, d.decode(t.Context(), 1, sample(t, "begin")))
		d.skip = 1
		require.NoError(t, d.decode(t.Context(), 1, m))
		require.EqualValues(t, 1, d.skip, "it does not count")
	}
	for _, m := range [][]byte{
		pgMessage(true, "freshet.ddl", ""), pgMessage(true, "freshet.clear", large), sample(t, "insert"), sample(t, "begin"), {'M'}, {'M', 0, 0}, nil,
	} {
		require.False(t, foreign(m), "%.40q", m) // of what is not whole the decoder complains
	}
}

// The receiver keeps what the decoder needs, and nothing of a message that it would ignore.
func TestReceiverDropsForeignMessages(t *testing.T) {
	r := newReceiver(nil, nil, 0, time.Second)
	for _, data := range [][]byte{pgMessage(true, "somebody", "x"), pgMessage(true, "freshet.ddl", "{}"), pgMessage(false, "freshet.ddl", "{}"), sample(t, "begin")} {
		require.NoError(t, r.handle(t.Context(), append(append([]byte{'w'}, make([]byte, 24)...), data...)))
	}
	require.Len(t, r.out, 2)
	require.Equal(t, pgMessage(true, "freshet.ddl", "{}"), (<-r.out).data)
	require.Equal(t, sample(t, "begin"), (<-r.out).data)
}

// Each of our messages counts as one change, readable or not: the log's end says how much of a transaction is there.
func TestDecoderSkipsMessagesThatTheLogHas(t *testing.T) {
	for skip := range int64(6) {
		var items []item
		d := testDecoder(t, &items)
		d.resume = resumePoint{position: 0x19315d8, skip: skip}
		all := [][]byte{
			sample(t, "relation"), sample(t, "begin"), pgMessage(true, "somebody", "x"), sample(t, "insert"),
			pgMessage(true, "freshet.ddl", `{"schema":"a","table":"b","reason":"1"}`), pgMessage(true, "freshet.flush", ""), pgMessage(true, "freshet.clear", `{"bad`),
			sample(t, "insert"), pgMessage(true, "freshet.ddl", `{"schema":"a","table":"b","reason":"2"}`), sample(t, "commit"),
		}
		all[3], all[7] = insertInto("x"), insertInto("y")
		for _, data := range all {
			require.NoError(t, d.decode(t.Context(), 1, data))
		}
		var got []string
		sequence := skip
		for _, it := range items {
			if it.body == nil {
				continue
			}
			c, err := events.DecodeChanges(it.body.Data)
			require.NoError(t, err)
			require.Equal(t, sequence, c.Sequence)
			sequence += int64(len(c.Changes))
			for _, change := range c.Changes {
				name, _ := change.New.Get("id")
				got = append(got, fmt.Sprint(change.Op, " ", c.Schema, ".", c.Table, " ", name.Value, change.Reason))
			}
		}
		require.Equal(t, []string{"insert public.t x", "ddl a.b 1", "clear freshet.shapes a message that cannot be read", "insert public.t y", "ddl a.b 2"}[skip:],
			append([]string{}, got...))
	}
}

// insertInto inserts a row into the table of the sample.
func insertInto(id string) []byte {
	b := []byte{'I', 0, 0, 0x40, 3, 'N', 0, 2, 't', 0, 0, 0, byte(len(id))}
	return append(append(b, id...), 'n')
}

// A table that is described again as it was is not defined anew; one of other columns, types, identity or name is.
func TestDecoderSeesThatATableIsDefinedAnew(t *testing.T) {
	describe := func(name string, identity byte, columns ...string) []byte {
		b := append([]byte{'R', 0, 0, 0x40, 3}, "public\x00"+name+"\x00"...)
		b = binary.BigEndian.AppendUint16(append(b, identity), uint16(len(columns)))
		for _, c := range columns { // the last character is the type
			b = append(append(b, 0), c[:len(c)-1]+"\x00\x00\x00\x00"+c[len(c)-1:]+"\xff\xff\xff\xff"...)
		}
		return b
	}
	for name, tt := range map[string]struct {
		second []byte
		want   []string
	}{
		"the same":       {describe("t", 'd', "a1", "b1"), nil},
		"a column more":  {describe("t", 'd', "a1", "b1", "c1"), []string{"t", "t"}},
		"a column less":  {describe("t", 'd', "a1"), []string{"t", "t"}},
		"renamed column": {describe("t", 'd', "a1", "c1"), []string{"t", "t"}},
		"another type":   {describe("t", 'd', "a1", "b2"), []string{"t", "t"}},
		"identity":       {describe("t", 'f', "a1", "b1"), []string{"t", "t"}},
		"renamed":        {describe("u", 'd', "a1", "b1"), []string{"t", "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDecoder(t, nil)
			var got []string
			d.redefined = func(tables ...events.Table) {
				for _, table := range tables {
					got = append(got, table.Name)
				}
			}
			require.NoError(t, d.decode(t.Context(), 1, describe("t", 'd', "a1", "b1")))
			require.NoError(t, d.decode(t.Context(), 1, tt.second))
			require.NoError(t, d.decode(t.Context(), 1, tt.second))
			require.Equal(t, tt.want, got)
		})
	}
}

func TestRedefinedIsBounded(t *testing.T) {
	r := newRedefined()
	table := func(i int) events.Table { return events.Table{Schema: "s", Name: fmt.Sprint(i), Identity: "full"} }
	for range 3 {
		r.add(table(1), table(2), table(1))
	}
	require.ElementsMatch(t, []events.Table{{Schema: "s", Name: "1"}, {Schema: "s", Name: "2"}}, r.take())
	require.Empty(t, r.take())
	for i := range 10 * maxRedefined {
		r.add(table(i))
	}
	require.Equal(t, []events.Table{events.Everything}, r.take())
	require.Len(t, r.wake, 1)
}
