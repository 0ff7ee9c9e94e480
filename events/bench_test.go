package events_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/events"
)

var benchTime = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

func benchRow(id int, wide bool) events.Row {
	r := events.Row{{Name: "id", Value: strconv.Itoa(id)}, {Name: "name", Value: "row number " + strconv.Itoa(id)}, {Name: "counter", Value: "7"}}
	if wide {
		r = append(r, events.Field{Name: "slug", Value: "what-every-index-costs-" + strconv.Itoa(id)},
			events.Field{Name: "content", Value: strings.Repeat("A line of a long article.\n", 40)},
			events.Field{Name: "status", Value: "published"}, events.Field{Name: "author", Value: "ada"},
			events.Field{Name: "updated_at", Value: "2026-01-02 03:04:05.678901+00"}, events.Field{Name: "deleted_at", Null: true})
	}
	return r
}

// benchBody is a message of n updates.
func benchBody(n int, wide bool) *events.Body {
	b := events.Builder{Source: "bench", Limit: 64 << 20}
	b.Begin(1000, 4711, benchTime, 0)
	for i := range n {
		row := benchRow(i, wide)
		b.Add(events.Table{Schema: "public", Name: "rows", Identity: "full"}, &events.Change{Op: events.Update, Key: row[:1], Old: row, New: row})
	}
	return b.Flush(true)
}

// A message from its bytes: what the invalidator, or any consumer, pays for each.
func BenchmarkDecodeChanges(b *testing.B) {
	for _, bench := range []struct {
		name string
		n    int
		wide bool
	}{{"narrow-1", 1, false}, {"narrow-500", 500, false}, {"wide-1", 1, true}, {"wide-100", 100, true}} {
		b.Run(bench.name, func(b *testing.B) {
			body := benchBody(bench.n, bench.wide)
			b.ReportAllocs()
			b.SetBytes(int64(len(body.Data)))
			for b.Loop() {
				c, err := events.DecodeChanges(body.Data)
				if err != nil || len(c.Changes) != bench.n {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bench.n), "ns/change")
		})
	}
}

func BenchmarkDecodeWatermark(b *testing.B) {
	m, err := events.Watermark{Source: "bench", Position: 0x16B374D848, At: benchTime}.Message("session")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.DecodeWatermark(m.Data); err != nil {
			b.Fatal(err)
		}
	}
}

// The headers of a change message.
func BenchmarkMessage(b *testing.B) {
	body := benchBody(1, false)
	b.ReportAllocs()
	for b.Loop() {
		if m := body.Message("bench", "session"); len(m.Header) == 0 {
			b.Fatal("no headers")
		}
	}
}

func BenchmarkWatermarkMessage(b *testing.B) {
	w := events.Watermark{Source: "bench", Position: 0x16B374D848, At: benchTime}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Message("session"); err != nil {
			b.Fatal(err)
		}
	}
}
