package cdc_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

// writers insert numbered rows into the table w until they are stopped, in transactions of one to several rows. They outlive
// a server that restarts.
type writers struct {
	t      *testing.T
	h      *harness
	pace   time.Duration // between two transactions
	cancel context.CancelFunc
	group  sync.WaitGroup
}

const writerCount = 3

func startWriters(t *testing.T, h *harness) *writers {
	t.Helper()
	return startWritersAt(t, h, 2*time.Millisecond) // what is written has to be checked too
}

func startWritersAt(t *testing.T, h *harness, pace time.Duration) *writers {
	t.Helper()
	h.db.Exec(t, `CREATE TABLE w (writer int, n int, PRIMARY KEY (writer, n))`)
	h.publish(t, "w")
	w := &writers{t: t, h: h, pace: pace}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	for i := range writerCount {
		w.group.Go(func() {
			for ctx.Err() == nil {
				w.write(ctx, i)
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

// write writes until its connection fails.
func (w *writers) write(ctx context.Context, writer int) {
	conn, err := pgx.Connect(ctx, w.h.db.URL)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The last transaction may have been committed without our hearing of it.
	var n int
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(n), 0) FROM w WHERE writer = $1", writer).Scan(&n); err != nil {
		return
	}
	pace := time.NewTicker(w.pace)
	defer pace.Stop()
	for ctx.Err() == nil {
		<-pace.C
		rows := 1 + n%4
		// Not ctx: what is under way when the writers are stopped must be known to have ended.
		if _, err := conn.Exec(context.WithoutCancel(ctx), "INSERT INTO w SELECT $1, i FROM generate_series($2::int, $3) i", writer, n+1, n+rows); err != nil {
			return
		}
		n += rows
	}
}

func (w *writers) stop() {
	w.cancel()
	w.group.Wait()
}

// verifyAll stops the writers and checks that the log has exactly their rows, in order. It returns what the log is like.
func (w *writers) verifyAll(r *reader) logState {
	w.t.Helper()
	w.stop()
	var want [writerCount]int
	for i := range want {
		want[i] = testenv.Value[int](w.t, w.h.db, "SELECT count(*) FROM w WHERE writer = $1", i)
	}
	log := logState{decode: decodeSmall}
	var got [writerCount]int
	r.verify(&log, w.h.position(w.t), func(c *events.Changes) {
		if c.Table != "w" {
			return
		}
		for _, change := range c.Changes {
			var writer, n int
			for column, into := range map[string]*int{"writer": &writer, "n": &n} {
				f, _ := change.New.Get(column)
				_, err := fmt.Sscan(f.Value, into)
				require.NoError(w.t, err)
			}
			got[writer]++
			require.Equal(w.t, got[writer], n, "a change of writer %d is missing, or there twice", writer)
		}
	})
	require.Equal(w.t, want, got)
	w.t.Logf("%v rows, %d sessions, of which %d went on within a transaction", got, len(log.sessions), log.resumed)
	return log
}

// decodeSmall decodes a change message, but only counts the changes of the table large.
func decodeSmall(body []byte) (*events.Changes, error) {
	if !bytes.Contains(body[:min(len(body), 500)], []byte(`"table":"large"`)) {
		return events.DecodeChanges(body)
	}
	c, changes, err := decodeHead(body)
	if err == nil {
		c.Changes = make([]events.Change, bytes.Count(changes, []byte(`{"op":"insert"`)))
	}
	return c, err
}

// awaitGrowth waits until the stream has this many more messages.
func awaitGrowth(t *testing.T, h *harness, messages uint64) {
	t.Helper()
	begin := h.end(t)
	testenv.Eventually(t, patience, func() (bool, string) {
		end := h.end(t)
		return end >= begin+messages, fmt.Sprintf("the stream grew from %d to %d", begin, end)
	})
}

// awaitPartOf waits until the stream ends within a transaction in the table "large", with more of it than before.
func awaitPartOf(t *testing.T, h *harness, more int64) int64 {
	t.Helper()
	stream, err := h.js.Stream(t.Context(), events.StreamName(source))
	require.NoError(t, err)
	var part int64
	testenv.Eventually(t, patience, func() (bool, string) {
		m, err := stream.GetLastMsgForSubject(t.Context(), events.ChangeSubject(source, "public", "large"))
		if err != nil {
			return false, err.Error()
		}
		c, err := events.DecodeChanges(m.Data)
		require.NoError(t, err)
		require.False(t, c.Last, "too late: the transaction is in the stream")
		part = c.Sequence + int64(len(c.Changes))
		return part > more, fmt.Sprintf("only %d changes", part)
	})
	return part
}

func TestKilledInMidStream(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	path := program(t)
	h.db.Exec(t, `CREATE TABLE large (id int PRIMARY KEY, filler text)`)
	p := h.process(t, path)
	h.publish(t, "large")
	r := h.reader(t)
	w := startWriters(t, h)
	for range 4 {
		awaitGrowth(t, h, 300)
		p.Kill()
		p = h.process(t, path)
	}
	h.db.Exec(t, `INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i`)
	var part int64
	for range 3 {
		part = awaitPartOf(t, h, part)
		p.Kill()
		p = h.process(t, path)
	}
	awaitGrowth(t, h, 300)
	log := w.verifyAll(r)
	require.Len(t, log.sessions, 8)
	require.Equal(t, 3, log.resumed, "sessions that went on within the large transaction")
	require.Len(t, log.resets, 1, "the first start is the only reset")
}

func TestStoppedWithinATransaction(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE TABLE large (id int PRIMARY KEY, filler text)`)
	stop := h.start(t)
	h.publish(t, "large")
	w := startWriters(t, h)
	h.db.Exec(t, `INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i`)
	var part int64
	for range 2 {
		part = awaitPartOf(t, h, part)
		stop()
		stop = h.start(t)
	}
	log := w.verifyAll(h.reader(t))
	require.Equal(t, 2, log.resumed)
	require.Len(t, log.resets, 1)
	stop()
	require.LessOrEqual(t, h.conn.NumSubscriptions(), 1, "sessions leave subscriptions behind; one is that of the connection's requests")
}

func TestNATSRestartsInMidStream(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	h.start(t)
	w := startWriters(t, h)
	for range 5 {
		awaitGrowth(t, h, 100)
		require.NoError(t, h.nats.Server.Restart(t.Context()))
	}
	awaitGrowth(t, h, 100)
	log := w.verifyAll(h.reader(t))
	require.Len(t, log.resets, 1)
}

func TestPostgresRestartsInMidStream(t *testing.T) {
	h := newHarness(t, testenv.PrivatePostgres(t, nil))
	h.cfg.NATSSyncInterval = 2 * time.Minute // nothing is confirmed during the test
	c := h.run(t)
	c.awaitStreaming()
	w := startWriters(t, h)
	for range 2 {
		awaitGrowth(t, h, 100)
		require.NoError(t, h.db.Server.Restart(t.Context()))
		c.awaitStreaming()
	}
	awaitGrowth(t, h, 100)
	w.stop()
	h.db.Pool(t).Reset() // connections of the server's earlier lives
	h.reader(t).watermark(h.position(t))
	t.Run("a fast shutdown does not wait for confirmations", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, h.db.Server.Stop(ctx))
	})
	require.NoError(t, h.db.Server.Restart(t.Context()))
	c.awaitStreaming()
	h.db.Pool(t).Reset()
	h.db.Exec(t, "INSERT INTO w SELECT 0, max(n) + 1 FROM w WHERE writer = 0")
	log := w.verifyAll(h.reader(t))
	require.Len(t, log.resets, 1)
}

// What could be seen on a server that crashes may be gone afterwards, and the log cannot tell: it begins anew.
func TestPostgresCrashes(t *testing.T) {
	h := newHarness(t, testenv.PrivatePostgres(t, nil))
	c := h.run(t)
	c.awaitStreaming()
	r := h.reader(t)
	require.Equal(t, "the replication slot is new", r.reset().Reason)
	for range 2 {
		require.NoError(t, h.db.Server.Kill())
		require.NoError(t, h.db.Server.Restart(t.Context()))
		c.awaitStreaming()
		require.Contains(t, r.reset().Reason, "recovered from a crash")
	}
}

func TestStreamIsGoneInMidStream(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	c := h.run(t)
	c.awaitStreaming()
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
	h.publish(t, "t")
	h.reader(t).watermark(h.position(t))
	require.NoError(t, h.js.DeleteStream(t.Context(), events.StreamName(source)))
	c.awaitStreaming()
	r := h.reader(t)
	require.Equal(t, "the stream is new", r.reset().Reason)
	require.EqualValues(t, 1, r.last, "the reset comes first")
	h.db.Exec(t, "INSERT INTO t VALUES (1)")
	require.Equal(t, row("id", "1"), r.changes().Changes[0].New)
}

// What is changed while there is no publication can never be decoded, though the publication is made again: the log begins anew.
func TestPublicationIsDroppedForAWhile(t *testing.T) {
	h := newHarness(t, testenv.Postgres(t))
	c := h.run(t)
	c.awaitStreaming()
	h.db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY)")
	h.publish(t, "t")
	r := h.reader(t)
	r.reset()
	r.watermark(h.position(t))
	h.db.Exec(t, "DROP PUBLICATION freshet_test")
	h.db.Exec(t, "INSERT INTO t VALUES (1)")
	require.Contains(t, r.reset().Reason, "the publication was dropped")
	c.awaitStreaming()
	h.publish(t, "t")
	h.db.Exec(t, "INSERT INTO t VALUES (2)")
	require.Equal(t, row("id", "2"), r.changes().Changes[0].New)
}
