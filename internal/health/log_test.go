package health_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/health"
	"freshet/internal/testenv"
)

// The stream's figures and the consumer's lag, on a NATS server that goes and comes back.
func TestLog(t *testing.T) {
	server := testenv.NATSProcess(t)
	conn := server.Conn(t)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond).UTC()
	applied := health.Applied{Sequence: 1, Mark: cache.Mark{Timeline: 1, Position: 0x100}, At: at}
	m := run(t, health.Config{Interval: 20 * time.Millisecond, Checks: []health.Check{
		health.NATS(conn), health.StreamOf(js, "main"),
		health.ConsumerOf(js, "main", func() health.Applied { return applied }, 10*time.Second),
	}})
	until(t, m, health.CheckNATS, health.OK)
	require.Contains(t, until(t, m, health.CheckStream, health.Failing).Error, "does not exist")

	_, err = events.EnsureStream(t.Context(), js, events.StreamSettings{Source: "main"})
	require.NoError(t, err)
	require.Empty(t, until(t, m, health.CheckStream, health.OK).Details.(health.Stream).LastPosition)
	for i := range 3 {
		w, err := events.Watermark{
			Source: "main", Timeline: 1, Position: events.Position(0x100 * (i + 1)), At: at.Add(time.Duration(i) * 15 * time.Second),
		}.Message("session")
		require.NoError(t, err)
		_, err = js.PublishMsg(t.Context(), w)
		require.NoError(t, err)
	}
	var s health.Stream
	testenv.Eventually(t, patience, func() (bool, string) {
		s = m.Result(health.CheckStream).Details.(health.Stream)
		return s.Messages == 3, "messages"
	})
	require.Equal(t, "0/300", s.LastPosition)
	require.Equal(t, at.Add(30*time.Second), s.LastAt)
	require.EqualValues(t, 3, s.LastSequence)
	require.Positive(t, s.Bytes)
	testenv.Eventually(t, patience, func() (bool, string) {
		r := m.Result(health.CheckConsumer)
		return r.Status == health.Failing && r.Error == "the consumer is 30s behind the end of the stream", r.Error
	})
	require.Equal(t, health.Consumer{AppliedSequence: 1, AppliedPosition: "0/100", LagMessages: 2, LagBytes: 0x200, LagSeconds: 30},
		m.Result(health.CheckConsumer).Details)

	require.NoError(t, server.Server.Kill())
	for _, name := range []string{health.CheckNATS, health.CheckStream, health.CheckConsumer} {
		testenv.Eventually(t, patience, func() (bool, string) { return m.Result(name).Status != health.OK, name })
	}
	require.NoError(t, server.Server.Restart(t.Context()))
	until(t, m, health.CheckNATS, health.OK)
	until(t, m, health.CheckStream, health.OK)
}
