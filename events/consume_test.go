package events_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

const (
	source   = "test"
	patience = 30 * time.Second
)

// log is a stream that the test writes, as cdc would.
type log struct {
	t       *testing.T
	nats    *testenv.NATSServer
	js      jetstream.JetStream
	session string
	builder events.Builder
}

// began is the commit time of the transaction at position 0, and the others are a second apart for each 0x100.
var began = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func committed(p events.Position) time.Time { return began.Add(time.Duration(p/0x100) * time.Second) }

func newLog(t *testing.T) *log {
	t.Helper()
	server := testenv.NATS(t)
	l := &log{t: t, nats: server, js: server.JetStream(t), session: "s1", builder: events.Builder{Source: source}}
	l.create()
	l.reset(0x100)
	return l
}

// create makes the stream. The server may still be removing the folder of one that was just deleted.
func (l *log) create() {
	l.t.Helper()
	testenv.Eventually(l.t, patience, func() (bool, string) {
		_, err := events.EnsureStream(l.t.Context(), l.js, events.StreamSettings{Source: source})
		return err == nil, fmt.Sprint(err)
	})
}

func (l *log) publish(m *nats.Msg, err error) uint64 {
	l.t.Helper()
	require.NoError(l.t, err)
	ack, err := l.js.PublishMsg(l.t.Context(), m)
	require.NoError(l.t, err)
	return ack.Sequence
}

func (l *log) reset(p events.Position) uint64 {
	l.t.Helper()
	return l.publish(events.Reset{Source: source, Reason: "test", Position: p, At: committed(p)}.Message(l.session))
}

func (l *log) watermark(p events.Position) uint64 {
	l.t.Helper()
	return l.publish(events.Watermark{Source: source, Position: p, At: committed(p)}.Message(l.session))
}

// next begins a session that follows the one before.
func (l *log) next(session string, p events.Position) {
	l.t.Helper()
	m, err := events.Watermark{Source: source, Position: p, At: committed(p)}.Message(session)
	m.Header[events.HeaderPrevious] = []string{l.session}
	l.session = session
	l.publish(m, err)
}

// transaction inserts a row into each of tables, a message for each.
func (l *log) transaction(p events.Position, tables ...string) (first uint64) {
	l.t.Helper()
	l.builder.Begin(p, uint32(p), committed(p), 0)
	send := func(b *events.Body) {
		if b == nil {
			return
		}
		sequence := l.publish(b.Message(source, l.session), nil)
		if first == 0 {
			first = sequence
		}
	}
	for _, name := range tables {
		row := events.Row{{Name: "id", Value: fmt.Sprint(uint64(p))}}
		send(l.builder.Add(events.Table{Schema: "public", Name: name, Identity: "default"}, &events.Change{Op: events.Insert, Key: row, New: row}))
	}
	send(l.builder.Flush(true))
	return first
}

// read reads to the end that the log has now, and says of each message that is no watermark what it is.
func (l *log) read(from events.Start, tables ...string) (got []string, err error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	s := l.subscription(from, tables...)
	s.ToEnd = true
	err = events.Consume(ctx, s, func(_ context.Context, m *events.Message) error {
		got = append(got, say(m)...)
		return nil
	})
	return got, err
}

func (l *log) subscription(from events.Start, tables ...string) events.Subscription {
	s := events.Subscription{JetStream: l.js, Source: source, From: from}
	for _, name := range tables {
		s.Tables = append(s.Tables, events.Table{Schema: "public", Name: name})
	}
	return s
}

func say(m *events.Message) []string {
	switch m.Kind {
	case events.KindChange:
		return []string{fmt.Sprintf("%s %s", m.Changes.Position, m.Changes.Table)}
	case events.KindReset:
		return []string{"reset"}
	case events.KindWatermark:
	}
	return nil
}

func TestConsumeFrom(t *testing.T) {
	l := newLog(t)
	l.watermark(0x100)
	l.transaction(0x200, "a", "b")
	second := l.transaction(0x300, "b", "a", "b")
	l.watermark(0x380)
	l.next("s2", 0x380)
	l.transaction(0x400, "a")
	l.watermark(0x480)
	all := []string{"reset", "0/200 a", "0/200 b", "0/300 b", "0/300 a", "0/300 b", "0/400 a"}
	for _, tt := range []struct {
		name string
		from events.Start
		want []string
	}{
		{"the oldest", events.FromOldest(), all},
		{"the zero value", events.Start{}, all},
		{"the newest", events.FromNewest(), nil},
		{"after a cursor", events.After(events.Cursor{Sequence: second, Session: "s1"}), all[4:]},
		{"after a cursor at the very beginning", events.After(events.Cursor{}), all},
		{"a sequence", events.FromSequence(second), all[3:]},
		{"the sequence after the last", events.FromSequence(second + 7), nil},
		{"the position of a transaction", events.FromPosition(0x300), all[3:]},
		{"a position between two", events.FromPosition(0x201), all[3:]},
		{"the position where the log begins", events.FromPosition(0x100), all},
		{"a position that is still to come", events.FromPosition(0x999), nil},
		{"the time of a commit", events.Since(committed(0x300)), all[3:]},
		{"a time between two", events.Since(committed(0x300).Add(time.Millisecond)), all[6:]},
		{"a time before all of it", events.Since(began.Add(-time.Hour)), all},
		{"a time that is still to come", events.Since(time.Now().Add(time.Hour)), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := l.read(tt.from)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	t.Run("only a table", func(t *testing.T) {
		got, err := l.read(events.FromOldest(), "a")
		require.NoError(t, err)
		require.Equal(t, []string{"reset", "0/200 a", "0/300 a", "0/400 a"}, got)
	})
	t.Run("a table that has no changes", func(t *testing.T) {
		got, err := l.read(events.FromSequence(second), "c")
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

// What the log has no longer is an error that says how far back it reaches.
func TestConsumeFromBeforeTheOldest(t *testing.T) {
	l := newLog(t)
	for p := events.Position(0x200); p < 0x1000; p += 0x100 {
		l.transaction(p, "a")
	}
	stream, err := l.js.Stream(t.Context(), events.StreamName(source))
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(5)))
	for name, from := range map[string]events.Start{
		"sequence 4":               events.FromSequence(4),
		"sequence 3":               events.After(events.Cursor{Sequence: 2, Session: "s1"}),
		"position 0/400":           events.FromPosition(0x400),
		began.Format(time.RFC3339): events.Since(began),
		"position 0/4FF":           events.FromPosition(0x4ff),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.read(from)
			var expired *events.ExpiredError
			require.ErrorAs(t, err, &expired)
			require.Equal(t, name, expired.Asked)
			require.Equal(t, uint64(5), expired.Oldest)
			require.Equal(t, events.Position(0x500), expired.Position)
			require.ErrorContains(t, err, "does not reach back to "+name+": the oldest is sequence 5, position 0/500")
		})
	}
	got, err := l.read(events.After(events.Cursor{Sequence: 4, Session: "s1"}))
	require.NoError(t, err)
	require.Len(t, got, 11)
	got, err = l.read(events.FromPosition(0x500))
	require.NoError(t, err)
	require.Len(t, got, 11)
}

// A log that began anew has positions of another life before that.
func TestPositionIsOfTheLogSinceItBeganAnew(t *testing.T) {
	l := newLog(t)
	l.transaction(0x900, "a")
	l.session = "s2"
	anew := l.reset(0x300)
	l.transaction(0x400, "b")
	got, err := l.read(events.FromPosition(0x301))
	require.NoError(t, err)
	require.Equal(t, []string{"0/400 b"}, got)
	_, err = l.read(events.FromPosition(0x200))
	var expired *events.ExpiredError
	require.ErrorAs(t, err, &expired)
	require.Equal(t, anew, expired.Oldest)
}

func TestConsumeNoticesAnotherLog(t *testing.T) {
	var gap *events.GapError
	t.Run("in place of the one that the cursor is of", func(t *testing.T) {
		l := newLog(t)
		place := events.Cursor{Sequence: l.transaction(0x200, "a"), Session: "s1"}
		require.NoError(t, l.js.DeleteStream(t.Context(), events.StreamName(source)))
		l.create()
		_, err := l.read(events.After(place))
		require.ErrorAs(t, err, &gap, "shorter")
		l.session = "s2"
		l.reset(0x300)
		l.transaction(0x400, "a")
		l.transaction(0x500, "a")
		_, err = l.read(events.After(place))
		require.ErrorAs(t, err, &gap, "longer")
	})
	t.Run("that does not follow", func(t *testing.T) {
		l := newLog(t)
		l.transaction(0x200, "a")
		l.session = "s3"
		l.transaction(0x300, "a")
		got, err := l.read(events.FromOldest())
		require.ErrorAs(t, err, &gap)
		require.Equal(t, []string{"reset", "0/200 a"}, got)
	})
	t.Run("while it is read", func(t *testing.T) {
		l := newLog(t)
		l.transaction(0x200, "a")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := events.Consume(ctx, l.subscription(events.FromOldest()), func(ctx context.Context, m *events.Message) error {
			if m.Kind != events.KindChange {
				return nil
			}
			require.NoError(t, l.js.DeleteStream(ctx, events.StreamName(source)))
			l.create()
			return nil
		})
		require.ErrorAs(t, err, &gap)
	})
}

func TestConsumeErrors(t *testing.T) {
	l := newLog(t)
	l.transaction(0x200, "a")
	broken := errors.New("broken")
	calls := 0
	err := events.Consume(t.Context(), l.subscription(events.FromOldest()), func(context.Context, *events.Message) error {
		calls++
		return broken
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, 1, calls)

	require.NoError(t, events.Consume(t.Context(), l.subscription(events.FromOldest()), func(context.Context, *events.Message) error {
		return events.ErrStop
	}))

	ctx, cancel := context.WithCancelCause(t.Context())
	err = events.Consume(ctx, l.subscription(events.FromOldest()), func(context.Context, *events.Message) error {
		cancel(broken)
		return nil
	})
	require.ErrorIs(t, err, broken)

	s := l.subscription(events.FromOldest())
	s.Source = "other"
	err = events.Consume(t.Context(), s, func(context.Context, *events.Message) error { return nil })
	require.ErrorContains(t, err, `no log of the source "other"`)

	_, err = l.js.Publish(t.Context(), events.ChangeSubject(source, "public", "a"), []byte(`{"version":99}`))
	require.NoError(t, err)
	_, err = l.read(events.FromOldest())
	require.ErrorIs(t, err, events.ErrVersion)
	require.ErrorContains(t, err, "stream sequence 3")
}

// Whatever happens to NATS: in order, each message, and as long as the process lives each once.
func TestConsumeAcrossOutages(t *testing.T) {
	l := newLog(t)
	const transactions = 3000
	for i := range events.Position(transactions / 2) {
		l.transaction(0x200+i, "a")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var next events.Position = 0x200
	s := l.subscription(events.FromOldest())
	retried := 0
	s.Retrying = func(err error, _ time.Duration) {
		t.Log(err)
		retried++
	}
	require.NoError(t, events.Consume(ctx, s, func(_ context.Context, m *events.Message) error {
		if m.Kind != events.KindChange {
			return nil
		}
		require.Equal(t, next, m.Changes.Position)
		next++
		switch next - 0x200 {
		case 10, 700, 1400:
			require.NoError(t, l.nats.Server.Restart(ctx))
		case transactions / 2:
			for i := range events.Position(transactions / 2) {
				l.transaction(next+i, "a")
			}
		case transactions:
			return events.ErrStop
		}
		return nil
	}))
	require.Positive(t, retried)
}
