package cdc

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"freshet/events"
)

// Messages in the form of the manual, "Logical Replication Message Formats", written out by hand.
var samples = map[string]string{
	"begin":                   "42" + "00000000019315d8" + "0002f2a5b3c7d000" + "000002e4",
	"commit":                  "43" + "00" + "00000000019315d8" + "0000000001931608" + "0002f2a5b3c7d000",
	"relation":                "52" + "00004003" + "7075626c696300" + "7400" + "64" + "0002" + "01" + "696400" + "00000017" + "ffffffff" + "00" + "6e00" + "00000019" + "ffffffff",
	"relation in the catalog": "52" + "00004003" + "00" + "7400" + "66" + "0000",
	"insert":                  "49" + "00004003" + "4e" + "0003" + "74" + "00000001" + "31" + "6e" + "74" + "00000000",
	"update":                  "55" + "00004003" + "4e" + "0002" + "74" + "00000001" + "31" + "75",
	"update of the key":       "55" + "00004003" + "4b" + "0002" + "74" + "00000001" + "31" + "6e" + "4e" + "0002" + "74" + "00000001" + "32" + "75",
	"update of a full row":    "55" + "00004003" + "4f" + "0001" + "74" + "00000001" + "31" + "4e" + "0001" + "6e",
	"delete by key":           "44" + "00004003" + "4b" + "0001" + "74" + "00000001" + "31",
	"delete of a full row":    "44" + "00004003" + "4f" + "0001" + "6e",
	"truncate":                "54" + "00000002" + "01" + "00004003" + "00004004",
	"type":                    "59" + "00004005" + "7075626c696300" + "6d6f6f6400",
	"origin":                  "4f" + "0000000000000001" + "6e6f646500",
	"message":                 "4d" + "01" + "00000000019315d8" + hexText("freshet.ddl") + "00" + "00000002" + hexText("{}"),
	"clear":                   "4d" + "01" + "00000000019315d8" + hexText("freshet.clear") + "00" + "00000031" + hexText(`{"schema":"public","table":"t","values":{"a":""}}`),
	"message without content": "4d" + "00" + "00000000019315d8" + "00" + "00000000",
}

func hexText(s string) string { return hex.EncodeToString([]byte(s)) }

func sample(t testing.TB, name string) []byte {
	data, err := hex.DecodeString(samples[name])
	require.NoError(t, err)
	return data
}

func TestParseMessage(t *testing.T) {
	text := func(s string) tupleColumn { return tupleColumn{kind: 't', value: []byte(s)} }
	null, unchanged := tupleColumn{kind: 'n'}, tupleColumn{kind: 'u'}
	at := time.UnixMicro(postgresEpoch + 0x0002f2a5b3c7d000).UTC()
	for name, want := range map[string]any{
		"begin":  beginMessage{final: 0x19315d8, commit: at, xid: 740},
		"commit": commitMessage{commit: 0x19315d8, end: 0x1931608},
		"relation": relationMessage{id: 16387, schema: "public", name: "t", identity: 'd',
			columns: []relationColumn{{key: true, name: "id", kind: 23, modifier: -1}, {name: "n", kind: 25, modifier: -1}}},
		"relation in the catalog": relationMessage{id: 16387, schema: "pg_catalog", name: "t", identity: 'f'},
		"insert":                  rowMessage{op: events.Insert, relation: 16387, new: []tupleColumn{text("1"), null, text("")}},
		"update":                  rowMessage{op: events.Update, relation: 16387, new: []tupleColumn{text("1"), unchanged}},
		"update of the key": rowMessage{op: events.Update, relation: 16387, oldKind: 'K', old: []tupleColumn{text("1"), null},
			new: []tupleColumn{text("2"), unchanged}},
		"update of a full row":    rowMessage{op: events.Update, relation: 16387, oldKind: 'O', old: []tupleColumn{text("1")}, new: []tupleColumn{null}},
		"delete by key":           rowMessage{op: events.Delete, relation: 16387, oldKind: 'K', old: []tupleColumn{text("1")}},
		"delete of a full row":    rowMessage{op: events.Delete, relation: 16387, oldKind: 'O', old: []tupleColumn{null}},
		"truncate":                truncateMessage{relations: []uint32{16387, 16388}},
		"message":                 logicalMessage{transactional: true, prefix: "freshet.ddl", content: []byte("{}")},
		"message without content": logicalMessage{content: []byte{}},
		"type":                    nil,
		"origin":                  nil,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseMessage(sample(t, name))
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParseMessageRefusesWhatIsNotWhole(t *testing.T) {
	for name := range samples {
		data := sample(t, name)
		if name == "type" || name == "origin" { // not read at all
			continue
		}
		for n := range data {
			_, err := parseMessage(data[:n])
			require.Error(t, err, "the first %d bytes of %s", n, name)
		}
		_, err := parseMessage(append(data, 0))
		require.ErrorContains(t, err, "1 bytes too many", name)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"unknown kind":          {"5a", "unknown kind 'Z'"},
		"streamed":              {"53" + "00000001" + "01", "unknown kind 'S'"},
		"binary column":         {"49" + "00004003" + "4e" + "0001" + "62" + "00000001" + "31", "unexpected column of kind 'b'"},
		"insert with a key":     {"49" + "00004003" + "4b" + "0000", "unexpected tuple of kind 'K'"},
		"delete with a new row": {"44" + "00004003" + "4e" + "0000", "unexpected tuple of kind 'N'"},
		"huge column":           {"49" + "00004003" + "4e" + "0001" + "74" + "ffffffff" + "31", "ends early"},
		"65,535 columns":        {"49" + "00004003" + "4e" + "ffff", "ends early"},
		"four billion tables":   {"54" + "ffffffff" + "00", "ends early"},
		"huge content":          {"4d" + "01" + "00000000019315d8" + "6100" + "ffffffff" + "31", "ends early"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := hex.DecodeString(tt.data)
			require.NoError(t, err)
			_, err = parseMessage(data)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// What a message allocates is bounded by its own size, whatever counts and lengths it claims.
func TestParseMessageAllocatesNoMoreThanTheMessage(t *testing.T) {
	for _, claim := range []string{"54" + "7fffffff" + "00", "49" + "00004003" + "4e" + "ffff" + "74" + "7fffffff", "52" + "00004003" + "00" + "00" + "64" + "ffff",
		"4d" + "01" + "00000000019315d8" + "00" + "7fffffff"} {
		data, err := hex.DecodeString(claim)
		require.NoError(t, err)
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				_, _ = parseMessage(data)
			}
		})
		require.Less(t, r.AllocedBytesPerOp(), int64(4096))
	}
}

func FuzzParseMessage(f *testing.F) {
	for name := range samples {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseMessage(data)
		if err != nil || got == nil {
			return
		}
		theirs, ok := reference(data)
		if !ok {
			return
		}
		compare(t, got, theirs)
	})
}

// reference is what pglogrepl makes of a message; ok is false if it refuses it or panics.
func reference(data []byte) (m pglogrepl.Message, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	m, err := pglogrepl.Parse(data)
	return m, err == nil
}

func compare(t *testing.T, got any, theirs pglogrepl.Message) {
	switch got := got.(type) {
	case beginMessage:
		m := theirs.(*pglogrepl.BeginMessage)
		require.Equal(t, uint64(m.FinalLSN), uint64(got.final))
		require.Equal(t, m.Xid, got.xid)
		require.Equal(t, m.CommitTime.UnixNano(), got.commit.UnixNano(), "pglogrepl counts nanoseconds, which overflow in the year 2262")
	case commitMessage:
		m := theirs.(*pglogrepl.CommitMessage)
		require.Equal(t, uint64(m.CommitLSN), uint64(got.commit))
		require.Equal(t, uint64(m.TransactionEndLSN), uint64(got.end))
	case relationMessage:
		m := theirs.(*pglogrepl.RelationMessage)
		require.Equal(t, m.RelationID, got.id)
		require.Equal(t, m.RelationName, got.name)
		require.Equal(t, m.ReplicaIdentity, got.identity)
		require.Len(t, got.columns, len(m.Columns))
		for i, c := range m.Columns {
			require.Equal(t, relationColumn{key: c.Flags&1 != 0, name: c.Name, kind: c.DataType, modifier: c.TypeModifier}, got.columns[i])
		}
	case truncateMessage:
		m := theirs.(*pglogrepl.TruncateMessage)
		require.ElementsMatch(t, m.RelationIDs, got.relations)
	case logicalMessage:
		m := theirs.(*pglogrepl.LogicalDecodingMessage)
		// A flag among others, of which there are none yet: pglogrepl takes no other.
		require.True(t, got.transactional || !m.Transactional)
		require.Equal(t, m.Prefix, got.prefix)
		require.Equal(t, string(m.Content), string(got.content))
	case rowMessage:
		compareRow(t, got, theirs)
	}
}

func compareRow(t *testing.T, got rowMessage, theirs pglogrepl.Message) {
	var relation uint32
	var before, after *pglogrepl.TupleData
	switch m := theirs.(type) {
	case *pglogrepl.InsertMessage:
		relation, after = m.RelationID, m.Tuple
	case *pglogrepl.UpdateMessage:
		relation, before, after = m.RelationID, m.OldTuple, m.NewTuple
	case *pglogrepl.DeleteMessage:
		relation, before = m.RelationID, m.OldTuple
	}
	require.Equal(t, relation, got.relation)
	compareTuple(t, got.old, before)
	compareTuple(t, got.new, after)
}

func compareTuple(t *testing.T, got []tupleColumn, theirs *pglogrepl.TupleData) {
	if theirs == nil {
		require.Empty(t, got)
		return
	}
	require.Len(t, got, len(theirs.Columns))
	for i, c := range theirs.Columns {
		require.Equal(t, c.DataType, got[i].kind)
		require.Equal(t, string(c.Data), string(got[i].value))
	}
}

func TestDecoderStopsOnWhatItCannotDecode(t *testing.T) {
	for name, tt := range map[string]struct {
		messages []string
		want     string
	}{
		"not whole":                {[]string{"42"}, "ends early"},
		"an undescribed table":     {[]string{samples["begin"], samples["insert"]}, "relation 16387, which was not described before"},
		"outside of a transaction": {[]string{samples["relation"], samples["insert"]}, "outside a transaction"},
		"a message outside of one": {[]string{samples["message"]}, "a transactional message outside a transaction"},
		"another number of columns": {[]string{samples["relation"], samples["begin"], samples["insert"]},
			"a row of public.t has 3 columns, expected 2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDecoder(t, nil)
			var err error
			for _, text := range tt.messages {
				require.NoError(t, err)
				data, decodeErr := hex.DecodeString(text)
				require.NoError(t, decodeErr)
				err = d.decode(t.Context(), 0x1234, data)
			}
			var decode *DecodeError
			require.ErrorAs(t, err, &decode)
			require.Equal(t, events.Position(0x1234), decode.Position)
			require.ErrorContains(t, err, "cannot decode the event at 0/1234")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// A value that is not UTF-8 (of a database whose encoding is SQL_ASCII) has no JSON: it is unknown, in the old row too.
func TestDecoderListsWhatIsNotUTF8(t *testing.T) {
	var got []item
	d := testDecoder(t, &got)
	update := "55" + "00004003" + "4f" + "0002" + "74" + "00000001" + "31" + "74" + "00000001" + "61" + "4e" + "0002" + "74" + "00000001" + "31" + "74" + "00000001" + "ff"
	for _, text := range []string{samples["relation"], samples["begin"], update, samples["commit"]} {
		data, err := hex.DecodeString(text)
		require.NoError(t, err)
		require.NoError(t, d.decode(t.Context(), 1, data))
	}
	require.Len(t, got, 1)
	c, err := events.DecodeChanges(got[0].body.Data)
	require.NoError(t, err)
	id := events.Row{{Name: "id", Value: "1"}}
	require.Equal(t, []events.Change{{Op: events.Update, Key: id, Old: id, New: id, Unknown: []string{"n"}}}, c.Changes)
}

// The log's end says how much of a transaction is there; the decoder leaves out exactly that.
func TestDecoderSkipsWhatTheLogHas(t *testing.T) {
	const final = events.Position(0x19315d8) // of the sample
	insert := func(id byte) string {
		return "49" + "00004003" + "4e" + "0002" + "74" + "00000001" + hex.EncodeToString([]byte{id}) + "6e"
	}
	for _, tt := range []struct {
		name   string
		resume resumePoint
		want   string
		first  int64
	}{
		{"nothing is there", resumePoint{}, "abc", 0},
		{"up to the commit record", resumePoint{position: final}, "abc", 0},
		{"a part", resumePoint{position: final, skip: 2}, "c", 2},
		{"all of it", resumePoint{position: final, skip: 3}, "", 0},
		{"up to a later position", resumePoint{position: final + 1}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var items []item
			d := testDecoder(t, &items)
			d.resume = tt.resume
			for _, text := range []string{samples["relation"], samples["begin"], insert('a'), insert('b'), insert('c'), samples["commit"]} {
				data, err := hex.DecodeString(text)
				require.NoError(t, err)
				require.NoError(t, d.decode(t.Context(), 1, data))
			}
			require.Len(t, items, 1)
			require.Equal(t, events.Position(0x1931608), items[0].end)
			if tt.want == "" {
				require.Nil(t, items[0].body)
				return
			}
			c, err := events.DecodeChanges(items[0].body.Data)
			require.NoError(t, err)
			var got strings.Builder
			for _, change := range c.Changes {
				got.WriteString(change.New[0].Value)
			}
			require.Equal(t, tt.want, got.String())
			require.Equal(t, tt.first, c.Sequence)
			require.True(t, c.Last)
		})
	}
}

// testDecoder collects what it emits.
func testDecoder(t *testing.T, into *[]item) *decoder {
	t.Helper()
	require.Equal(t, uint32(16387), binary.BigEndian.Uint32(sample(t, "relation")[1:]))
	return &decoder{
		builder: events.Builder{Source: "test"}, relations: map[uint32]*relation{}, log: slog.New(slog.DiscardHandler),
		redefined: func(...events.Table) { require.Fail(t, "nothing is defined anew") },
		describe:  func(context.Context, uint32) (description, error) { return description{keys: []string{"id"}}, nil },
		emit: func(_ context.Context, it item) error {
			*into = append(*into, it)
			return nil
		},
	}
}
