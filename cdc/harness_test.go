package cdc_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/postgres"
	"freshet/internal/testenv"
	"freshet/migrations"
)

// harness is a database, a NATS server, and a cdc between them.
type harness struct {
	db   *testenv.Database
	nats *testenv.NATSServer
	conn *nats.Conn
	js   jetstream.JetStream
	cfg  cdc.Config
}

const source = "test"

// patience bounds the wait for a single thing, on a machine that is busy.
const patience = 30 * time.Second

var slots atomic.Int64

func newHarness(t *testing.T, db *testenv.Database) *harness {
	t.Helper()
	h := &harness{db: db, nats: testenv.NATS(t)}
	h.conn = h.nats.Conn(t)
	h.js = h.nats.JetStream(t)
	db.Migrate(t, migrations.Freshet)
	h.cfg = cdc.Config{
		DatabaseURL: db.URL, NATS: h.conn, Source: source,
		Slot: fmt.Sprintf("freshet_%d", slots.Add(1)), Publication: "freshet_test",
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	return h
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}

// running is a cdc that runs.
type running struct {
	t         *testing.T
	streaming chan struct{} // gets one for each session that streams
	done      chan error
	cancel    context.CancelFunc
	stopped   bool
}

// run starts cdc and does not wait for it. It is stopped at the end of the test at the latest.
func (h *harness) run(t *testing.T, edit ...func(*cdc.Config)) *running {
	t.Helper()
	r := &running{t: t, streaming: make(chan struct{}, 1000), done: make(chan error, 1)}
	cfg := h.cfg
	cfg.OnStreaming = func() { r.streaming <- struct{}{} }
	for _, e := range edit {
		e(&cfg)
	}
	c, err := cdc.New(cfg)
	require.NoError(t, err)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- c.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends cdc in order; it must not have ended by itself.
func (r *running) stop() {
	r.t.Helper()
	if r.stopped {
		return
	}
	r.stopped = true
	r.cancel()
	require.NoError(r.t, <-r.done)
}

// awaitStreaming waits for the next session that streams.
func (r *running) awaitStreaming() {
	r.t.Helper()
	select {
	case <-r.streaming:
	case err := <-r.done:
		r.stopped = true
		require.NoError(r.t, err, "cdc ended")
	case <-time.After(patience):
		require.Fail(r.t, "cdc does not stream")
	}
}

// failed waits until cdc has ended by itself, and returns why.
func (r *running) failed() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.stopped = true
		r.cancel()
		return err
	case <-time.After(patience):
		require.Fail(r.t, "cdc did not end")
	}
	return nil
}

// start runs cdc until the returned function is called, or the test ends, and waits until it streams.
func (h *harness) start(t *testing.T, edit ...func(*cdc.Config)) (stop func()) {
	t.Helper()
	r := h.run(t, edit...)
	r.awaitStreaming()
	return r.stop
}

// publish adds tables to the publication.
func (h *harness) publish(t *testing.T, tables ...string) {
	t.Helper()
	for _, table := range tables {
		h.db.Exec(t, "ALTER PUBLICATION freshet_test ADD TABLE "+table)
	}
}

// end is the stream's last sequence.
func (h *harness) end(t *testing.T) uint64 {
	t.Helper()
	stream, err := h.js.Stream(t.Context(), events.StreamName(source))
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	return info.State.LastSeq
}

// position is the end of the last record of the WAL, flushed or not.
func (h *harness) position(t *testing.T) events.Position {
	t.Helper()
	p, err := events.ParsePosition(testenv.Value[string](t, h.db, "SELECT pg_current_wal_insert_lsn()::text"))
	require.NoError(t, err)
	wal, err := postgres.ReadWALGeometry(t.Context(), h.db.Pool(t))
	require.NoError(t, err)
	return events.Position(wal.End(uint64(p)))
}

// reader reads the stream from its beginning.
type reader struct {
	t    *testing.T
	iter jetstream.MessagesContext
	last uint64
}

func (h *harness) reader(t *testing.T) *reader {
	t.Helper()
	return h.readerAfter(t, 0)
}

// readerAfter reads the stream from the message after a sequence.
func (h *harness) readerAfter(t *testing.T, sequence uint64) *reader {
	t.Helper()
	c, err := h.js.OrderedConsumer(t.Context(), events.StreamName(source), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: sequence + 1,
	})
	require.NoError(t, err)
	iter, err := c.Messages()
	require.NoError(t, err)
	t.Cleanup(iter.Stop)
	return &reader{t: t, iter: iter, last: sequence}
}

// next returns the next message, which must be the next in the stream.
func (r *reader) next() jetstream.Msg {
	r.t.Helper()
	m, err := r.iter.Next(jetstream.NextMaxWait(patience))
	require.NoError(r.t, err)
	meta, err := m.Metadata()
	require.NoError(r.t, err)
	require.Equal(r.t, r.last+1, meta.Sequence.Stream, "a hole in the stream")
	r.last = meta.Sequence.Stream
	return m
}

// of returns the next message of a kind; others are left out.
func (r *reader) of(kind events.Kind) jetstream.Msg {
	r.t.Helper()
	for {
		m := r.next()
		got, err := events.SubjectKind(m.Subject())
		require.NoError(r.t, err)
		if got == kind {
			return m
		}
	}
}

// changes returns the next message of row changes. Those that say that a table is defined anew are left out: cdc adds some by itself.
func (r *reader) changes() *events.Changes {
	r.t.Helper()
	for {
		c := r.anyChanges()
		if c.Changes[0].Op != events.Define {
			return c
		}
	}
}

// anyChanges returns the next change message.
func (r *reader) anyChanges() *events.Changes {
	r.t.Helper()
	c, err := events.DecodeChanges(r.of(events.KindChange).Data())
	require.NoError(r.t, err)
	return c
}

func (r *reader) reset() *events.Reset {
	r.t.Helper()
	c, err := events.DecodeReset(r.of(events.KindReset).Data())
	require.NoError(r.t, err)
	return c
}

// watermark reads until the watermark is at or above a position.
func (r *reader) watermark(position events.Position) *events.Watermark {
	r.t.Helper()
	for {
		w, err := events.DecodeWatermark(r.of(events.KindWatermark).Data())
		require.NoError(r.t, err)
		if w.Position >= position {
			return w
		}
	}
}

func row(pairs ...string) (r events.Row) {
	for i := 0; i < len(pairs); i += 2 {
		r = append(r, events.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return r
}

// null is a field that is NULL.
func null(name string) events.Field { return events.Field{Name: name, Null: true} }
