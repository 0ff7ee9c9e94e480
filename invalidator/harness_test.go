package invalidator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/testenv"
)

const source = "test"

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

var (
	blogTable = events.Table{Schema: "public", Name: "blogs", Identity: "full"}
	byID      = cache.NewShape("public", "blogs", "id")
	byStatus  = cache.NewShape("public", "blogs", "status")
	users     = cache.NewShape("public", "users", "id")
)

// rig is a NATS server and a Redis: the test writes the log, as cdc would, and reads the cache.
type rig struct {
	t      *testing.T
	js     jetstream.JetStream
	redis  *testenv.RedisServer
	client *redis.Client
	store  *cache.Redis
	reader *cache.Reader

	session  string // of the messages that are published
	previous string // goes into the next message
	position events.Position
	last     uint64 // sequence of the last message

	mu     sync.Mutex
	shapes []cache.Shape
}

func newRig(t *testing.T, shapes ...cache.Shape) *rig {
	t.Helper()
	r := &rig{t: t, js: testenv.NATS(t).JetStream(t), redis: testenv.Redis(t), session: "s1", position: 1000, shapes: shapes}
	r.client, r.store, r.reader = newCache(t, r.redis)
	r.createStream()
	r.watermark()
	return r
}

// newCache is a client that does not try for long, a store and a reader.
func newCache(t *testing.T, server *testenv.RedisServer) (*redis.Client, *cache.Redis, *cache.Reader) {
	t.Helper()
	redis.SetLogger(quiet{}) // it reports every failure to dial a server that a test has stopped
	options, err := redis.ParseURL(server.URL)
	require.NoError(t, err)
	options.MaxRetries, options.DialerRetries = 1, 1
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	store := cache.NewRedis(client, cache.DefaultPrefix)
	reader := cache.NewReader(cache.ReaderConfig{Store: store, Now: time.Now, MaxTTL: time.Hour, FillTimeout: patience})
	t.Cleanup(reader.Close)
	return client, store, reader
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func (r *rig) createStream() {
	r.t.Helper()
	_, err := events.EnsureStream(r.t.Context(), r.js, events.StreamSettings{Source: source})
	require.NoError(r.t, err)
}

func (r *rig) stream() jetstream.Stream {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), events.StreamName(source))
	require.NoError(r.t, err)
	return s
}

// publish appends a message and returns its sequence.
func (r *rig) publish(m *nats.Msg) uint64 {
	r.t.Helper()
	if r.previous != "" {
		m.Header[events.HeaderPrevious] = []string{r.previous}
		r.previous = ""
	}
	ack, err := r.js.PublishMsg(r.t.Context(), m)
	require.NoError(r.t, err)
	require.False(r.t, ack.Duplicate)
	r.last = ack.Sequence
	return ack.Sequence
}

// change publishes one transaction with one change.
func (r *rig) change(table events.Table, c events.Change) uint64 {
	r.t.Helper()
	r.position += 16
	b := events.Builder{Source: source}
	b.Begin(r.position, 7, time.Now(), 0)
	require.Nil(r.t, b.Add(table, &c))
	return r.publish(b.Flush(true).Message(source, r.session))
}

// update publishes an update of the blog with that id.
func (r *rig) update(id string) uint64 {
	r.t.Helper()
	return r.change(blogTable, events.Change{
		Op: events.Update, Old: row("id", id, "status", "draft"), New: row("id", id, "status", "draft"),
	})
}

// watermark publishes one.
func (r *rig) watermark() uint64 {
	r.t.Helper()
	r.position += 16
	m, err := events.Watermark{Source: source, Position: r.position, At: time.Now()}.Message(r.session)
	require.NoError(r.t, err)
	return r.publish(m)
}

// reset publishes one, of a new session.
func (r *rig) reset(session string) uint64 {
	r.t.Helper()
	r.session, r.position = session, r.position-100 // another cluster may be behind
	m, err := events.Reset{Source: source, Reason: "the slot was lost", Position: r.position, At: time.Now()}.Message(session)
	require.NoError(r.t, err)
	return r.publish(m)
}

// register publishes a change of the registry's table.
func (r *rig) register(op events.Op, old, is string) uint64 {
	r.t.Helper()
	line := func(ready string) events.Row {
		if ready == "" {
			return nil
		}
		return row("schema_name", "public", "table_name", "blogs", "columns", "{id}", "ready", ready)
	}
	return r.change(events.Table{Schema: cache.RegistrySchema, Name: cache.RegistryTable, Identity: "full"},
		events.Change{Op: op, Old: line(old), New: line(is)})
}

// setShapes says what the registry's table holds from now on.
func (r *rig) setShapes(shapes ...cache.Shape) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shapes = shapes
}

func (r *rig) ready(context.Context) ([]cache.Shape, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.shapes), nil
}

// running is an invalidator that runs.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	ended  bool
	err    error

	mu      sync.Mutex
	began   []string // the reasons
	applied []cache.State
}

func (r *rig) config() Config {
	return Config{Source: source, JetStream: r.js, Store: r.store, Ready: r.ready}
}

// start runs an invalidator until it is stopped, or the test ends.
func (r *rig) start() *running {
	r.t.Helper()
	return start(r.t, r.config())
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	v := &running{t: t, done: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg.OnBegin = func(reason string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.began = append(v.began, reason)
	}
	cfg.OnApplied = func(s cache.State) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.applied = append(v.applied, s)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	v.cancel = cancel
	go func() {
		err := New(cfg).Run(ctx)
		cfg.Log.Info("the invalidator has ended", "error", err)
		v.done <- err
	}()
	t.Cleanup(func() { v.stop() })
	return v
}

// stop ends it, if it still runs, and returns what Run returned.
func (v *running) stop() error {
	v.cancel()
	return v.wait()
}

// wait waits until it has ended by itself.
func (v *running) wait() error {
	v.t.Helper()
	if !v.ended {
		select {
		case v.err = <-v.done:
			v.ended = true
		case <-time.After(patience):
			require.Fail(v.t, "the invalidator does not end")
		}
	}
	return v.err
}

// reasons lists why it has cleared everything.
func (v *running) reasons() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.began)
}

// begun waits until they have cleared everything so many times, together. They say so just after it is stored.
func begun(t *testing.T, times int, all ...*running) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		var reasons []string
		for _, v := range all {
			reasons = append(reasons, v.reasons()...)
		}
		return len(reasons) == times, fmt.Sprintf("everything should be cleared %d times, and was for %q", times, reasons)
	})
}

// applications counts the steps.
func (v *running) applications() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.applied)
}

// state is the stored state; ok is false if there is none.
func (r *rig) state() (cache.State, bool) {
	s, found, err := r.store.Load(r.t.Context())
	if err != nil {
		return cache.State{}, false
	}
	return s, found
}

// caughtUp waits until everything that was published is applied.
func (r *rig) caughtUp() cache.State {
	r.t.Helper()
	var s cache.State
	testenv.Eventually(r.t, patience, func() (bool, string) {
		var found bool
		s, found = r.state()
		// A new chain on a log without a watermark has no session yet.
		same := s.Session == r.session || s.Session == ""
		return found && s.Sequence >= r.last && same, fmt.Sprintf("the state is %v, the log ends at %d", s, r.last)
	})
	return s
}

// newChain waits for another chain than this one, caught up.
func (r *rig) newChain(old cache.State) cache.State {
	r.t.Helper()
	testenv.Eventually(r.t, patience, func() (bool, string) {
		s, found := r.state()
		return found && s.Chain != old.Chain, "everything should be cleared"
	})
	return r.caughtUp()
}

func blog(id string) cache.Request {
	return cache.Request{Field: "blog@1?" + id, Tags: []cache.Tag{byID.Tag(id)}, TTL: time.Hour, MaxStaleness: time.Hour}
}

// get asks for a blog; the fill returns body.
func (r *rig) get(id, body string) *cache.Answer {
	r.t.Helper()
	answer, err := r.reader.Get(r.t.Context(), blog(id), func(context.Context) (cache.Result, error) {
		return cache.Result{Found: true, Body: []byte(body)}, nil
	})
	require.NoError(r.t, err)
	return answer
}

// fill puts entries into the cache.
func (r *rig) fill(body string, ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		got := r.get(id, body)
		require.True(r.t, got.Stored || got.Status == cache.Hit, "blog %s: %s %s", id, got.Status, got.Reason)
	}
}

// hit requires that the cache serves this.
func (r *rig) hit(id, body string) {
	r.t.Helper()
	got := r.get(id, "from the database")
	require.Equal(r.t, cache.Hit, got.Status, "blog %s: %s", id, got.Reason)
	require.Equal(r.t, body, string(got.Body))
}

// miss requires that the cache has nothing for the blog, and may be used for it.
func (r *rig) miss(id string) {
	r.t.Helper()
	got := r.get(id, "from the database")
	require.Equal(r.t, cache.Miss, got.Status, "blog %s: %s %q", id, got.Reason, got.Body)
}

func row(pairs ...string) (r events.Row) {
	for i := 0; i < len(pairs); i += 2 {
		f := events.Field{Name: pairs[i], Value: pairs[i+1]}
		if f.Value == null {
			f = events.Field{Name: f.Name, Null: true}
		}
		r = append(r, f)
	}
	return r
}

// null stands for NULL in row.
const null = "\x00null"
