package cache

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

var (
	byID     = NewShape("public", "blogs", "id")
	byStatus = NewShape("public", "blogs", "status")
	users    = NewShape("public", "users", "id")
)

// rig is a Redis with a watermark of our own, and a reader in front of it: the test is its invalidator.
type rig struct {
	t      *testing.T
	server *testenv.RedisServer
	client *redis.Client
	store  *Redis
	reader *Reader
	state  State
}

// newRig begins a chain in which the shapes are active.
func newRig(t *testing.T, shapes ...Shape) *rig {
	t.Helper()
	r := &rig{t: t, server: testenv.Redis(t)}
	r.client = quickClient(t, r.server)
	r.store = NewRedis(r.client, DefaultPrefix)
	r.reader = r.newReader()
	r.begin(shapes...)
	return r
}

// quickClient does not try for long when the server is gone: that is what the breaker is for.
func quickClient(t *testing.T, server *testenv.RedisServer) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(server.URL)
	require.NoError(t, err)
	options.MaxRetries, options.DialerRetries = 1, 1
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// newReader is another reader of the same cache, as in another process.
func (r *rig) newReader(edit ...func(*ReaderConfig)) *Reader {
	cfg := ReaderConfig{
		Store: r.store, Source: "test", Now: time.Now, MaxTTL: time.Hour, FillTimeout: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
	for _, e := range edit {
		e(&cfg)
	}
	reader := NewReader(cfg)
	r.t.Cleanup(reader.Close)
	return reader
}

func (r *rig) begin(shapes ...Shape) {
	r.t.Helper()
	next := State{
		Chain: NewToken(), Session: "s1", Sequence: r.state.Sequence + 1, Mark: Mark{Position: 100}, At: time.Now(), Stamp: NewToken(),
		Generations: map[string]string{},
	}
	for _, s := range shapes {
		next.Generations[s.String()] = NewToken()
	}
	ok, err := r.store.Begin(r.t.Context(), r.state, next)
	require.NoError(r.t, err)
	require.True(r.t, ok)
	r.state = next
}

// apply stores the next state, and clears.
func (r *rig) apply(b Batch) (cleared int) {
	r.t.Helper()
	changed := b.Next.Generations
	b.Next = r.state
	b.Next.Sequence++
	b.Next.Position += 100
	b.Next.At = time.Now()
	b.Next.Generations = changed
	b.Next.Stamp = NewToken()
	cleared, ok, err := r.store.Apply(r.t.Context(), r.state, b)
	require.NoError(r.t, err)
	require.True(r.t, ok)
	all := maps.Clone(r.state.Generations)
	maps.Copy(all, changed)
	for _, name := range b.Retire {
		delete(all, name)
	}
	r.state = b.Next
	r.state.Generations = all
	return cleared
}

// clear invalidates tags.
func (r *rig) clear(tags ...Tag) int {
	r.t.Helper()
	return r.apply(Batch{Clear: tags})
}

// renew gives a shape a new generation.
func (r *rig) renew(s Shape) {
	r.t.Helper()
	r.apply(Batch{Next: State{Generations: map[string]string{s.String(): NewToken()}}})
}

func blog(id string) Request {
	return Request{Field: "blog@1?" + id, Tags: []Tag{byID.Tag(id)}, TTL: time.Minute, MaxStaleness: time.Minute}
}

// strictly is a request that asks for more than age.
func strictly(id string, edit func(*Request)) Request {
	req := blog(id)
	edit(&req)
	return req
}

func linearizable(req *Request) { req.Linearizable = true }

func atLeast(m Mark) func(*Request) { return func(req *Request) { req.AtLeast = m } }

// get asks the reader; the fill returns body.
func (r *rig) get(req Request, body string) *Answer {
	r.t.Helper()
	answer, err := r.reader.Get(r.t.Context(), req, constant(body))
	require.NoError(r.t, err)
	return answer
}

func constant(body string) Fill {
	return func(context.Context) (Result, error) {
		return Result{Found: true, Body: []byte(body), ETag: `"e"`}, nil
	}
}

// seen is a fill whose snapshot shows nothing later than the mark.
func seen(body string, m Mark) Fill {
	return func(context.Context) (Result, error) {
		return Result{Found: true, Body: []byte(body), Seen: m}, nil
	}
}

// unwanted is a fill that must not be run.
func (r *rig) unwanted(context.Context) (Result, error) {
	r.t.Error("a statement that nobody wants was run")
	return Result{}, nil
}

// slow is a fill that has read its row and is held up before it returns.
type slow struct {
	body    string
	began   chan struct{}
	release chan struct{}
}

func newSlow(body string) *slow {
	return &slow{body: body, began: make(chan struct{}), release: make(chan struct{})}
}

func (s *slow) fill(ctx context.Context) (Result, error) {
	close(s.began)
	select {
	case <-s.release:
		return Result{Found: true, Body: []byte(s.body)}, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// outcome is what a Get in a goroutine returned.
type outcome struct {
	answer *Answer
	err    error
}

// start asks in a goroutine.
func (r *rig) start(ctx context.Context, req Request, fill Fill) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		answer, err := r.reader.Get(ctx, req, fill)
		out <- outcome{answer, err}
	}()
	return out
}

// eventually waits until the two numbers are the same.
func eventually(t *testing.T, look func() (got, want int)) {
	t.Helper()
	testenv.Eventually(t, 10*time.Second, func() (bool, string) {
		got, want := look()
		return got == want, fmt.Sprintf("it is %d, not %d", got, want)
	})
}

// joined waits until so many requests wait for flights that others began.
func (r *rig) joined(want int) {
	r.t.Helper()
	testenv.Eventually(r.t, 10*time.Second, func() (bool, string) {
		f := &r.reader.flights
		f.mu.Lock()
		defer f.mu.Unlock()
		n := 0
		for _, fl := range f.running {
			n += fl.joined
		}
		return n == want, fmt.Sprintf("%d requests have joined a flight, want %d", n, want)
	})
}

// delayed asks with a fill that is held up, and returns when it has read its row.
func (r *rig) delayed(req Request, body string) (finish func() *Answer) {
	r.t.Helper()
	s := newSlow(body)
	out := r.start(r.t.Context(), req, s.fill)
	<-s.began
	return func() *Answer {
		r.t.Helper()
		close(s.release)
		got := <-out
		require.NoError(r.t, got.err)
		return got.answer
	}
}
