package cdc

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"freshet/events"
)

// wire writes pgoutput messages, as the walsender does.
type wire []byte

func (w wire) u16(v int) wire    { return binary.BigEndian.AppendUint16(w, uint16(v)) }
func (w wire) u32(v int) wire    { return binary.BigEndian.AppendUint32(w, uint32(v)) }
func (w wire) u64(v int) wire    { return binary.BigEndian.AppendUint64(w, uint64(v)) }
func (w wire) str(s string) wire { return append(append(w, s...), 0) }

func (w wire) tuple(kind byte, values []string) wire {
	w = append(w, kind).u16(len(values))
	for _, v := range values {
		w = append(append(w, 't').u32(len(v)), v...)
	}
	return w
}

const benchRelation = 16384

func wireRelation(identity byte, columns []string) wire {
	w := append(wire("R").u32(benchRelation).str("public").str("rows"), identity).u16(len(columns))
	for _, name := range columns {
		w = append(w, 1).str(name).u32(25).u32(-1)
	}
	return w
}

func wireBegin() wire  { return wire("B").u64(1000).u64(0).u32(4711) }
func wireCommit() wire { return append(wire("C"), 0).u64(1000).u64(1040).u64(0) }

func wireUpdate(values []string) wire {
	return wire("U").u32(benchRelation).tuple('O', values).tuple('N', values)
}

// benchTables are a narrow table, where the cost of a row shows, and the example's blogs, where that of the bytes does; both
// with REPLICA IDENTITY FULL.
var benchTables = []struct {
	name            string
	columns, values []string
}{
	{"narrow", []string{"id", "name", "counter"}, []string{"123456", "row number 123456", "7"}},
	{
		"blogs",
		[]string{"id", "title", "slug", "content", "status", "tags", "author", "views", "created_at", "updated_at"},
		[]string{
			"42", "What every index costs, and when it pays", "what-every-index-costs", strings.Repeat("A line of a long article.\n", 40), "published",
			`{postgres,"query plans"}`, "ada", "1234", "2026-01-02 03:04:05.678901+00", "2026-01-02 03:04:05.678901+00",
		},
	},
}

func benchDecoder(b *testing.B, columns []string, emit func(item)) *decoder {
	b.Helper()
	d := &decoder{
		builder: events.Builder{Source: "bench"}, relations: map[uint32]*relation{},
		describe: func(context.Context, uint32) (description, error) { return description{keys: []string{"id"}}, nil },
		emit: func(_ context.Context, it item) error {
			emit(it)
			return nil
		},
	}
	for _, m := range []wire{wireRelation('f', columns), wireBegin()} {
		if err := d.decode(b.Context(), 1000, m); err != nil {
			b.Fatal(err)
		}
	}
	return d
}

// One update of a large transaction, from the walsender's bytes to its place in a message.
func BenchmarkDecodeRow(b *testing.B) {
	for _, table := range benchTables {
		b.Run(table.name, func(b *testing.B) {
			ctx, update := b.Context(), wireUpdate(table.values)
			d := benchDecoder(b, table.columns, func(item) {})
			b.ReportAllocs()
			b.SetBytes(int64(len(update)))
			for b.Loop() {
				if err := d.decode(ctx, 1000, update); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A transaction of one update, from the walsender's bytes to the message that goes to JetStream.
func BenchmarkDecodeTransaction(b *testing.B) {
	for _, table := range benchTables {
		b.Run(table.name, func(b *testing.B) {
			ctx, messages := b.Context(), []wire{wireBegin(), wireUpdate(table.values), wireCommit()}
			d := benchDecoder(b, table.columns, func(it item) {
				if it.body == nil || len(it.body.Message("bench", "session").Data) == 0 {
					b.Fatal("a transaction without a message")
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range messages {
					if err := d.decode(ctx, 1000, m); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
