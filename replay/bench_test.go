package replay_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
	"freshet/replay"
)

// BenchmarkReplay reads a log of single-row transactions, as an application writes them, and prints all of it.
func BenchmarkReplay(b *testing.B) {
	js := testenv.NATS(b).JetStream(b)
	_, err := events.EnsureStream(b.Context(), js, events.StreamSettings{Source: source})
	require.NoError(b, err)
	const transactions = 100_000
	fill(b, js, transactions)
	for _, form := range replay.Formats() {
		b.Run(form, func(b *testing.B) {
			b.ReportAllocs()
			changes := int64(0)
			for b.Loop() {
				var tally replay.Tally
				p := replay.NewPrinter(io.Discard, form, false)
				require.NoError(b, replay.Run(b.Context(), replay.Options{JetStream: js, Source: source}, p, &tally))
				require.NoError(b, p.Flush())
				changes += tally.Changes
			}
			require.EqualValues(b, transactions*b.N, changes)
			b.ReportMetric(float64(changes)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

// fill writes a log as cdc does.
func fill(b *testing.B, js jetstream.JetStream, transactions int) {
	b.Helper()
	m, err := events.Reset{Source: source, Reason: "test", Position: 1, At: time.Now()}.Message("s")
	require.NoError(b, err)
	_, err = js.PublishMsgAsync(m)
	require.NoError(b, err)
	builder := events.Builder{Source: source}
	table := events.Table{Schema: "public", Name: "items", Identity: "full"}
	for i := range transactions {
		builder.Begin(events.Position(100+100*i), uint32(i), time.Now(), 0)
		row := func(n int) events.Row {
			return events.Row{{Name: "id", Value: fmt.Sprint(i % 1000)}, {Name: "title", Value: "A title as long as they are"}, {Name: "n", Value: fmt.Sprint(n)}}
		}
		require.Nil(b, builder.Add(table, &events.Change{Op: events.Update, Key: row(0)[:1], Old: row(i), New: row(i + 1)}))
		_, err = js.PublishMsgAsync(builder.Flush(true).Message(source, "s"))
		require.NoError(b, err)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		require.Fail(b, "the log could not be written in a minute")
	}
}
