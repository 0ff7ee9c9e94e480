package cdc_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // goose speaks database/sql
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/cdc"
	"freshet/events"
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

func newHarness(t *testing.T, db *testenv.Database) *harness {
	h := &harness{db: db, nats: testenv.NATS(t)}
	h.conn = h.nats.Conn(t)
	h.js = h.nats.JetStream(t)
	migrate(t, db)
	h.cfg = cdc.Config{
		DatabaseURL: db.URL, NATS: h.conn, Source: source,
		Slot: fmt.Sprintf("freshet_%d", time.Now().UnixNano()), Publication: "freshet_test",
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	return h
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}

func migrate(t *testing.T, db *testenv.Database) {
	conn, err := sql.Open("pgx", db.URL)
	require.NoError(t, err)
	defer conn.Close()
	m, err := migrations.New(conn, migrations.Freshet)
	require.NoError(t, err)
	_, err = m.Up(t.Context())
	require.NoError(t, err)
}

// start runs cdc until the returned function is called, or the test ends.
func (h *harness) start(t *testing.T) (stop func()) {
	streaming := make(chan struct{}, 100)
	cfg := h.cfg
	cfg.OnStreaming = func() { streaming <- struct{}{} }
	c, err := cdc.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	select {
	case <-streaming:
	case err := <-done:
		stopped = true
		require.NoError(t, err, "cdc ended")
	case <-time.After(20 * time.Second):
		require.Fail(t, "cdc does not stream")
	}
	return stop
}

// publish adds tables to the publication.
func (h *harness) publish(t *testing.T, tables ...string) {
	for _, table := range tables {
		h.db.Exec(t, "ALTER PUBLICATION freshet_test ADD TABLE "+table)
	}
}

// reader reads the stream from its beginning.
type reader struct {
	t    *testing.T
	iter jetstream.MessagesContext
	last uint64
}

func (h *harness) reader(t *testing.T) *reader {
	c, err := h.js.OrderedConsumer(t.Context(), events.StreamName(source), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	require.NoError(t, err)
	iter, err := c.Messages()
	require.NoError(t, err)
	t.Cleanup(iter.Stop)
	return &reader{t: t, iter: iter}
}

// next returns the next message, which must be the next in the stream.
func (r *reader) next() jetstream.Msg {
	m, err := r.iter.Next(jetstream.NextMaxWait(20 * time.Second))
	require.NoError(r.t, err)
	meta, err := m.Metadata()
	require.NoError(r.t, err)
	require.Equal(r.t, r.last+1, meta.Sequence.Stream, "a hole in the stream")
	r.last = meta.Sequence.Stream
	return m
}

// changes returns the next change message, watermarks left out.
func (r *reader) changes() *events.Changes {
	for {
		m := r.next()
		if kind, err := events.SubjectKind(m.Subject()); err == nil && kind == events.KindChange {
			c, err := events.DecodeChanges(m.Data())
			require.NoError(r.t, err)
			return c
		}
	}
}

// watermark reads until the watermark is at or above a position.
func (r *reader) watermark(position events.Position) *events.Watermark {
	for {
		m := r.next()
		if kind, err := events.SubjectKind(m.Subject()); err == nil && kind == events.KindWatermark {
			w, err := events.DecodeWatermark(m.Data())
			require.NoError(r.t, err)
			if w.Position >= position {
				return w
			}
		}
	}
}

func (h *harness) position(t *testing.T) events.Position {
	p, err := events.ParsePosition(testenv.Value[string](t, h.db, "SELECT pg_current_wal_flush_lsn()::text"))
	require.NoError(t, err)
	return p
}
