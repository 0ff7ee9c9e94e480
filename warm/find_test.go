package warm

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/example"
	"freshet/internal/testenv"
	"freshet/migrations"
	"freshet/query"
	"freshet/query/plan"
)

const (
	source  = "test"
	session = "s1"
)

// log is a stream that the test writes, as cdc would.
type log struct {
	t        *testing.T
	js       jetstream.JetStream
	builder  events.Builder
	position events.Position
}

func newLog(t *testing.T) *log {
	t.Helper()
	return newLogOn(t, testenv.NATS(t).JetStream(t))
}

func newLogOn(t *testing.T, js jetstream.JetStream) *log {
	t.Helper()
	l := &log{t: t, js: js, builder: events.Builder{Source: source}, position: 0x100}
	_, err := events.EnsureStream(t.Context(), l.js, events.StreamSettings{Source: source})
	require.NoError(t, err)
	m, err := events.Reset{Source: source, Reason: "test", Position: l.position, At: time.Now().Add(-10 * time.Hour)}.Message(session)
	require.NoError(t, err)
	l.publish(m)
	return l
}

func (l *log) publish(m *nats.Msg) {
	l.t.Helper()
	_, err := l.js.PublishMsgAsync(m)
	require.NoError(l.t, err)
}

// transaction writes the changes that a transaction made in a table.
func (l *log) transaction(committed time.Time, table string, changes ...events.Change) {
	l.t.Helper()
	l.position += 0x100
	l.builder.Begin(l.position, uint32(l.position), committed, 0)
	for i := range changes {
		if done := l.builder.Add(events.Table{Schema: "public", Name: table, Identity: "full"}, &changes[i]); done != nil {
			l.publish(done.Message(source, session))
		}
	}
	l.publish(l.builder.Flush(true).Message(source, session))
}

// written waits until the stream has it all.
func (l *log) written() {
	l.t.Helper()
	select {
	case <-l.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		require.Fail(l.t, "the stream does not take it")
	}
}

// examplePlans are those of the example's queries.
func examplePlans(t *testing.T) *plan.Set {
	t.Helper()
	db := testenv.Postgres(t)
	db.Migrate(t, migrations.Example)
	queries, err := query.Load(example.Queries())
	require.NoError(t, err)
	return plansOf(t, db, queries)
}

func insert(text string) events.Change { return events.Change{Op: events.Insert, New: row(text)} }

// From where, of which tables and queries, and how many: what is asked for is what is found, ranked.
func TestFind(t *testing.T) {
	l, plans := newLog(t), examplePlans(t)
	now := time.Now()
	l.transaction(now.Add(-5*time.Hour), "blogs", insert("id=1 slug=one author=ann status=draft"))
	second := l.position + 0x100
	l.transaction(now.Add(-time.Hour), "blogs", insert("id=2 slug=two author=ann status=draft"), insert("id=3 slug=three author=bob status=draft"))
	l.transaction(now.Add(-time.Hour), "attempts", insert("id=1 user_id=8 quiz_id=1"), insert("id=2 user_id=9 quiz_id=1"))
	l.transaction(now, "blogs", insert("id=3 slug=three author=bob status=draft"), events.Change{Op: events.Truncate})
	l.transaction(now, "elsewhere", insert("id=3"))
	l.written()
	drafts := "/blogs?limit=50&offset=0&status=draft"
	for _, tt := range []struct {
		name    string
		asked   Asked
		want    []string
		more    bool
		changes int64
	}{
		{"two hours unless said", Asked{}, []string{
			drafts, "/blogs/3", "/blogs/slug/three", "/blogs/2", "/blogs/slug/two", "/users/8/dashboard", "/users/9/dashboard",
		}, false, 6},
		{"all of it", Asked{Since: oldest, Tables: []string{"public.blogs"}, Queries: []string{"blog_by_id"}}, []string{"/blogs/3", "/blogs/2", "/blogs/1"}, false, 5},
		{"since a time", Asked{Since: "10m", Queries: []string{"blog_by_id"}}, []string{"/blogs/3"}, false, 2},
		{"from a position", Asked{FromPosition: second.String(), Queries: []string{"blog_by_id"}}, []string{"/blogs/3", "/blogs/2"}, false, 4},
		{"from a sequence", Asked{FromSequence: 5, Queries: []string{"blog_by_id"}}, []string{"/blogs/3"}, false, 2},
		{"two tables", Asked{Tables: []string{"attempts", "users"}}, []string{"/users/8/dashboard", "/users/9/dashboard"}, false, 2},
		{"the best", Asked{Since: oldest, Top: 2}, []string{drafts, "/blogs/3"}, true, 7},
		{"no row says who asks", Asked{Queries: []string{"blogs_by_tag"}}, nil, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, tt.asked.Fix(now))
			s := &Search{Asked: tt.asked, JetStream: l.js, Source: source, Plans: plans}
			require.NoError(t, s.Check())
			found, err := s.Find(t.Context(), now)
			require.NoError(t, err)
			var got []string
			for _, p := range found.Pairs {
				path, ok := p.Args.URL()
				require.True(t, ok)
				got = append(got, path)
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.more, found.More)
			require.Equal(t, tt.changes, s.Read().Changes.Load())
		})
	}
	for want, asked := range map[string]Asked{
		"there is no table that a query reads, public.blogz; there are public.attempts, public.blogs, public.quizzes, public.users": {Tables: []string{"blogz"}},
		"there is no read blog_create; there are blog_by_id, blog_by_slug,":                                                         {Queries: []string{"blog_create"}},
	} {
		s := &Search{Asked: asked, JetStream: l.js, Source: source, Plans: plans}
		var unknown *UnknownError
		require.ErrorAs(t, s.Check(), &unknown)
		require.ErrorContains(t, unknown, want)
	}
}

// A log that does not reach back as far as was asked for says so; without a beginning it is read from its oldest message.
func TestFindBeforeTheLogBegins(t *testing.T) {
	l, plans := newLog(t), examplePlans(t)
	l.transaction(time.Now(), "blogs", insert("id=1 slug=one author=ann status=draft"))
	l.transaction(time.Now(), "blogs", insert("id=2 slug=two author=ann status=draft"))
	l.written()
	stream, err := l.js.Stream(t.Context(), events.StreamName(source))
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(3))) // as when they are older than the retention
	find := func(asked Asked) (*Found, error) {
		require.NoError(t, asked.Fix(time.Now()))
		asked.Queries = []string{"blog_by_id"}
		return (&Search{Asked: asked, JetStream: l.js, Source: source, Plans: plans}).Find(t.Context(), time.Now())
	}
	for _, asked := range []Asked{{Since: "3h"}, {FromPosition: "0/100"}, {FromSequence: 1}} {
		var expired *events.ExpiredError
		_, err := find(asked)
		require.ErrorAs(t, err, &expired)
		require.Equal(t, uint64(3), expired.Oldest)
	}
	for _, asked := range []Asked{{}, {Since: oldest}} {
		found, err := find(asked)
		require.NoError(t, err)
		require.Len(t, found.Pairs, 1)
	}
}

// However long the log is, the memory that it takes to read it is the same.
func TestFindInFlatMemory(t *testing.T) {
	const perTransaction = 50
	// A server of its own: one within the test keeps what it sends in the same memory.
	l, plans := newLogOn(t, testenv.NATSProcess(t).JetStream(t)), examplePlans(t)
	at := time.Now().Add(-time.Hour)
	id := 0
	write := func(changes int) {
		for range changes / perTransaction {
			all := make([]events.Change, perTransaction)
			for i := range all {
				id++
				all[i] = insert(fmt.Sprintf("id=%d slug=slug-of-%d author=author-%d status=published title=%0200d", id, id, id%50_000, id))
			}
			at = at.Add(time.Millisecond)
			l.transaction(at, "blogs", all...)
		}
		l.written()
	}
	peak := func() (most uint64, found *Found, took time.Duration) {
		runtime.GC()
		ctx, stop := context.WithCancel(t.Context())
		var peaks []uint64
		done := make(chan struct{})
		go func() { // ends with ctx
			defer close(done)
			for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peaks = append(peaks, m.HeapAlloc)
			}
		}()
		began := time.Now()
		s := &Search{Asked: Asked{Since: oldest, Top: 1000}, JetStream: l.js, Source: source, Plans: plans}
		found, err := s.Find(t.Context(), time.Now())
		require.NoError(t, err)
		took = time.Since(began)
		stop()
		<-done
		return slices.Max(peaks), found, took
	}
	write(50_000)
	short, _, _ := peak()
	write(450_000)
	long, found, took := peak()
	t.Logf("peak heap of 50,000 changes: %d MB, of 500,000: %d MB; the latter read in %s (%.0f changes/s)", short>>20, long>>20, took, 500_000/took.Seconds())
	require.Less(t, long, short+short/2+16<<20) // what the garbage collector lets stand
	require.Len(t, found.Pairs, 1000)
	require.True(t, found.More)
}
