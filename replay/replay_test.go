package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"freshet/cdc"
	"freshet/events"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/replay"
)

const (
	source      = "test"
	publication = "freshet_replay"
	patience    = 30 * time.Second
)

// site is a database whose changes cdc streams.
type site struct {
	t  *testing.T
	db *testenv.Database
	js jetstream.JetStream
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, db: testenv.Postgres(t)}
	server := testenv.NATS(t)
	s.js = server.JetStream(t)
	s.db.Migrate(t, migrations.Freshet)
	s.db.Exec(t, `CREATE TABLE items (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0);
		ALTER TABLE items REPLICA IDENTITY FULL; CREATE TABLE others (id int PRIMARY KEY)`)
	streaming := make(chan struct{}, 100)
	c, err := cdc.New(cdc.Config{
		DatabaseURL: s.db.URL, NATS: server.Conn(t), Source: source, Slot: strings.ToLower(fmt.Sprintf("replay_%d", time.Now().UnixNano())),
		Publication: publication, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OnStreaming: func() { streaming <- struct{}{} },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case <-streaming:
	case err := <-done:
		require.NoError(t, err, "cdc ended")
	case <-time.After(patience):
		require.Fail(t, "cdc does not stream")
	}
	s.db.Exec(t, "ALTER PUBLICATION "+publication+" ADD TABLE items, others")
	return s
}

// logged waits until everything that was committed is in the log.
func (s *site) logged() {
	s.t.Helper()
	end, err := events.ParsePosition(testenv.Value[string](s.t, s.db, "SELECT pg_current_wal_insert_lsn()::text"))
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, events.Consume(ctx, events.Subscription{JetStream: s.js, Source: source}, func(_ context.Context, m *events.Message) error {
		if m.Kind == events.KindWatermark && m.Watermark.Position >= end {
			return events.ErrStop
		}
		return nil
	}))
}

func (s *site) options() replay.Options {
	return replay.Options{JetStream: s.js, Source: source}
}

// print replays in a form.
func (s *site) print(format string, o replay.Options) string {
	s.t.Helper()
	var out bytes.Buffer
	p := replay.NewPrinter(&out, format, false)
	var tally replay.Tally
	require.NoError(s.t, replay.Run(s.t.Context(), o, p, &tally))
	require.NoError(s.t, p.Flush())
	return out.String()
}

func items() []events.Table { return []events.Table{{Schema: "public", Name: "items"}} }

func TestForms(t *testing.T) {
	s := newSite(t)
	s.db.Exec(t, "INSERT INTO items VALUES (1, 'one', 1), (2, E'two\\x1b[2J', 2)")
	s.db.Exec(t, "UPDATE items SET name = NULL, n = 7 WHERE id = 1")
	s.db.Exec(t, "INSERT INTO others VALUES (5)")
	s.db.Exec(t, "DELETE FROM items WHERE id = 2")
	s.db.Exec(t, "TRUNCATE items")
	s.logged()
	o := s.options()
	o.Tables = items()

	t.Run("json", func(t *testing.T) {
		var got []string
		for line := range strings.Lines(s.print(replay.JSON, o)) {
			var e replay.Event
			require.NoError(t, json.Unmarshal([]byte(line), &e))
			got = append(got, fmt.Sprint(e.Op, " ", e.Table, " ", e.Key))
			require.NotZero(t, e.Cursor.Sequence)
			require.NotZero(t, e.Position)
			require.WithinDuration(t, time.Now(), e.Committed, time.Hour)
		}
		require.Equal(t, []string{
			"reset  []", "insert items [{id 1 false}]", "insert items [{id 2 false}]", "update items [{id 1 false}]",
			"delete items [{id 2 false}]", "truncate items []",
		}, withoutDefinitions(got))
	})
	t.Run("where", func(t *testing.T) {
		o := o
		var err error
		o.Where, err = replay.ParseWhere("new.n > 1")
		require.NoError(t, err)
		got := s.print(replay.CloudEvents, o)
		require.Equal(t, 3, strings.Count(got, "\n"), got) // the reset, half of a message, a message
		var event struct {
			SpecVersion, ID, Type, Source, Subject, Time string
			Data                                         events.Changes
		}
		require.NoError(t, json.Unmarshal([]byte(strings.Split(got, "\n")[1]), &event))
		require.Equal(t, "1.0", event.SpecVersion)
		require.Equal(t, "freshet.change.v1", event.Type)
		require.Equal(t, "freshet/test", event.Source)
		require.Equal(t, "public.items", event.Subject)
		require.NotEmpty(t, event.ID)
		require.Len(t, event.Data.Changes, 1)
		require.Equal(t, "2", event.Data.Changes[0].Key[0].Value)
	})
	t.Run("table", func(t *testing.T) {
		got := s.print(replay.Table, o)
		require.Contains(t, got, "items                 insert    1                 id=1 name=one n=1\n")
		require.Contains(t, got, "items                 update    1                 name: one → NULL n: 1 → 7\n")
		require.Contains(t, got, "items                 delete    2                 id=2 name=two [2J n=2\n")
		require.NotContains(t, got, "\x1b")
	})
	t.Run("until", func(t *testing.T) {
		o := o
		o.Until = time.Now().Add(-time.Hour)
		require.Equal(t, 1, strings.Count(s.print(replay.JSON, o), "\n"), "the reset")
	})
	t.Run("published again", func(t *testing.T) {
		_, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "again", Subjects: []string{"again.>"}})
		require.NoError(t, err)
		var tally replay.Tally
		require.NoError(t, replay.Run(t.Context(), o, &replay.Publisher{JetStream: s.js, Subject: "again.items"}, &tally))
		stream, err := s.js.Stream(t.Context(), "again")
		require.NoError(t, err)
		require.EqualValues(t, tally.Selected, stream.CachedInfo().State.Msgs)
		err = replay.Run(t.Context(), o, &replay.Publisher{JetStream: s.js, Subject: "nobody.takes.it"}, &tally)
		require.ErrorContains(t, err, "no stream takes it")
	})
}

// withoutDefinitions leaves out that a table was defined anew: cdc adds some by itself.
func withoutDefinitions(lines []string) (kept []string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, "ddl ") {
			kept = append(kept, line)
		}
	}
	return kept
}

// mirror is a copy of a table, made from what is replayed.
type mirror struct {
	t    *testing.T
	rows map[string]events.Row
	each func(e *replay.Event)
}

func (m *mirror) Write(_ context.Context, _ *events.Message, selected []replay.Event) error {
	for i := range selected {
		e := &selected[i]
		switch e.Op {
		case replay.Snapshotted, events.Insert:
			id := e.Key[0].Value
			_, there := m.rows[id]
			require.False(m.t, there, "%s of row %s, which is there", e.Op, id)
			m.rows[id] = e.New
		case events.Update:
			id := e.Key[0].Value
			require.Equal(m.t, m.rows[id], e.Old, "the row before")
			m.rows[id] = e.New
		case events.Delete:
			id := e.Key[0].Value
			require.Equal(m.t, m.rows[id], e.Old, "the row before")
			delete(m.rows, id)
		default:
			continue
		}
		if m.each != nil {
			m.each(e)
		}
	}
	return nil
}

// The rows as they are at one moment and every change after it make the table, whatever is written meanwhile: none missing, none twice.
func TestSnapshotUnderWrites(t *testing.T) {
	const writers, last = 6, 1 << 20
	s := newSite(t)
	s.db.Exec(t, "INSERT INTO items SELECT i, 'row ' || i FROM generate_series(1, 2000) i")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing errgroup.Group
	for w := range writers {
		conn := s.db.Conn(t)
		writing.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				id := 1 + (w+writers*n)%2500
				_, err := conn.Exec(context.WithoutCancel(ctx), []string{
					"UPDATE items SET n = n + 1 WHERE id = $1",
					"DELETE FROM items WHERE id = $1",
					"INSERT INTO items VALUES ($1, 'again') ON CONFLICT DO NOTHING",
					"WITH gone AS (DELETE FROM items WHERE id = $1 RETURNING *) INSERT INTO items SELECT id + 10000, name, n FROM gone ON CONFLICT DO NOTHING",
				}[n%4], id)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 5 {
		m := &mirror{t: t, rows: map[string]events.Row{}}
		o := s.options()
		o.Follow = true
		followed := 0
		m.each = func(e *replay.Event) {
			if e.Op != replay.Snapshotted {
				followed++
			}
		}
		reading, enough := context.WithCancel(t.Context())
		sink := sinkFunc(func(ctx context.Context, raw *events.Message, selected []replay.Event) error {
			if err := m.Write(ctx, raw, selected); err != nil {
				return err
			}
			if followed >= 500 {
				enough()
			}
			return nil
		})
		var tally replay.Tally
		err := replay.Snapshot(reading, s.db.URL, publication, items()[0], o, sink, &tally)
		require.ErrorIs(t, err, context.Canceled)
		enough()
	}
	// The last one is compared with the table.
	m := &mirror{t: t, rows: map[string]events.Row{}}
	o := s.options()
	o.Follow = true
	reading, enough := context.WithTimeout(t.Context(), 2*patience)
	defer enough()
	taken := make(chan struct{})
	m.each = func(e *replay.Event) {
		if len(m.rows) == 1 && e.Op == replay.Snapshotted {
			close(taken)
		}
		if e.Key[0].Value == fmt.Sprint(last) {
			enough()
		}
	}
	done := make(chan error, 1)
	var tally replay.Tally
	go func() { done <- replay.Snapshot(reading, s.db.URL, publication, items()[0], o, m, &tally) }()
	select {
	case <-taken:
	case err := <-done:
		require.NoError(t, err)
	}
	stop()
	require.NoError(t, writing.Wait())
	s.db.Exec(t, "INSERT INTO items VALUES ($1, 'the end')", last)
	require.ErrorIs(t, <-done, context.Canceled)
	rows, err := s.db.Conn(t).Query(t.Context(), "SELECT id::text, name, n::text FROM items")
	require.NoError(t, err)
	want := map[string]events.Row{}
	var id, n string
	var name *string
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &n}, func() error {
		f := events.Field{Name: "name", Null: name == nil}
		if name != nil {
			f.Value = *name
		}
		want[id] = events.Row{{Name: "id", Value: id}, f, {Name: "n", Value: n}}
		return nil
	})
	require.NoError(t, err)
	for id := range want {
		require.Equal(t, want[id], m.rows[id], "row %s", id)
	}
	require.Len(t, m.rows, len(want))
}

type sinkFunc func(context.Context, *events.Message, []replay.Event) error

func (f sinkFunc) Write(ctx context.Context, raw *events.Message, selected []replay.Event) error {
	return f(ctx, raw, selected)
}

func TestSnapshotErrors(t *testing.T) {
	s := newSite(t)
	s.logged()
	s.db.Exec(t, "CREATE TABLE private (id int)")
	var tally replay.Tally
	for table, want := range map[string]string{
		"absent":  "there is no such table",
		"private": `ALTER PUBLICATION freshet_replay ADD TABLE "public"."private"`,
	} {
		err := replay.Snapshot(t.Context(), s.db.URL, publication, events.Table{Schema: "public", Name: table}, s.options(), &mirror{t: t}, &tally)
		require.ErrorContains(t, err, want)
	}
}
