package warm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

// filler is one that answers as a test says.
type filler func(ctx context.Context, p Pair) Outcome

func (f filler) Fill(ctx context.Context, p Pair) Outcome { return f(ctx, p) }

// numbered are n pairs of a query: /name/0 and on.
func numbered(t *testing.T, name string, n int) []Pair {
	t.Helper()
	q := read(t, name, "/"+name+"/{n}", "n int", "SELECT 1 AS one FROM t WHERE n = :n")
	pairs := make([]Pair, n)
	for i := range pairs {
		args, err := q.Bind(query.Values{Path: map[string]string{"n": strconv.Itoa(i)}})
		require.NoError(t, err)
		pairs[i] = Pair{q, args}
	}
	return pairs
}

// Each pair is asked for once, in their order, and counted by what became of it.
func TestJobCounts(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	outcomes := []Outcome{{Kind: Filled}, {Kind: Skipped}, {Kind: Refused, Reason: "x"}, {Kind: Refused, Reason: "y"}}
	j := &Job{Pairs: numbered(t, "q", 400), Rate: MaxRate, Concurrency: 1, Filler: filler(func(_ context.Context, p Pair) Outcome {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, p.Args.Key())
		return outcomes[len(asked)%4]
	})}
	require.NoError(t, j.Run(t.Context()))
	require.Len(t, asked, 400)
	for i := range asked {
		require.Equal(t, j.Pairs[i].Args.Key(), asked[i])
	}
	require.Equal(t, Tally{Filled: 100, Skipped: 100, Failed: map[string]int64{"x": 100, "y": 100}}, j.Tally)
	require.Equal(t, Progress{Tally: j.Tally, Pairs: 400}, j.Progress())
}

// The rate holds, and hits do not count.
func TestJobRate(t *testing.T) {
	for _, tt := range []struct {
		kind     Kind
		min, max time.Duration
	}{{Filled, 900 * time.Millisecond, 20 * time.Second}, {Skipped, 0, 800 * time.Millisecond}} {
		j := &Job{Pairs: numbered(t, "q", 200), Rate: 200, Concurrency: 4, Filler: filler(func(context.Context, Pair) Outcome { return Outcome{Kind: tt.kind} })}
		began := time.Now()
		require.NoError(t, j.Run(t.Context()))
		require.Greater(t, time.Since(began), tt.min)
		require.Less(t, time.Since(began), tt.max)
	}
}

// Never more at once than it is told, and fewer while fills take much longer than they need.
func TestJobBacksOffFromSlowness(t *testing.T) {
	var active, most atomic.Int64
	var atOnce []int64 // while it is slow
	var mu sync.Mutex
	var j *Job
	j = &Job{Pairs: numbered(t, "q", 400), Rate: MaxRate, Concurrency: 8, Filler: filler(func(context.Context, Pair) Outcome {
		n := active.Add(1)
		defer active.Add(-1)
		most.Store(max(most.Load(), n))
		if p := j.Progress(); p.Done() > 150 {
			mu.Lock()
			atOnce = append(atOnce, n)
			mu.Unlock()
			<-time.After(quick * 10)
		}
		return Outcome{Kind: Filled}
	})}
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	inner := j.Filler
	j.Filler = filler(func(ctx context.Context, p Pair) Outcome {
		o := inner.Fill(ctx, p)
		mu.Lock()
		defer mu.Unlock()
		if len(atOnce) > 60 {
			enough()
		}
		return o
	})
	require.ErrorIs(t, j.Run(ctx), context.Canceled)
	require.Equal(t, int64(8), most.Load())
	require.LessOrEqual(t, atOnce[len(atOnce)-1], int64(2), "%v", atOnce)
}

// While the time is bad it pauses, longer and longer, and loses no pair: what was asked for in vain is asked for again.
func TestJobWaitsOutATrouble(t *testing.T) {
	var asked atomic.Int64
	var began, back time.Time
	j := &Job{Pairs: numbered(t, "q", 100), Rate: MaxRate, Concurrency: 4, Filler: filler(func(context.Context, Pair) Outcome {
		n := asked.Add(1)
		if n == 50 {
			began, back = time.Now(), time.Now().Add(time.Second)
		}
		if n >= 50 && time.Now().Before(back) {
			return Outcome{Kind: Busy, Reason: "down"}
		}
		return Outcome{Kind: Filled}
	})}
	require.NoError(t, j.Run(t.Context()))
	require.Equal(t, Tally{Filled: 100}, j.Tally)
	require.Greater(t, time.Since(began), time.Second)
	require.Less(t, asked.Load(), int64(130), "a pause each, and not as fast as it can")
}

// A pair that never goes through, while others do, holds up nothing.
func TestJobLeavesOutWhatNeverWorks(t *testing.T) {
	pairs := numbered(t, "q", 2000)
	j := &Job{Pairs: pairs, Rate: MaxRate, Concurrency: 2, Filler: filler(func(_ context.Context, p Pair) Outcome {
		if p.Args.Key() == pairs[3].Args.Key() {
			return Outcome{Kind: Busy, Reason: "the api answers 503 Service Unavailable"}
		}
		return Outcome{Kind: Filled}
	})}
	require.NoError(t, j.Run(t.Context()))
	require.Equal(t, Tally{Filled: 1999, Failed: map[string]int64{"the api answers 503 Service Unavailable": 1}}, j.Tally)
}

// A query that is not cached yet comes after all others, and is warmed when it is.
func TestJobPutsOffWhatIsNotCachedYet(t *testing.T) {
	waiting, ready := numbered(t, "waiting", 50), numbered(t, "ready", 50)
	var filled atomic.Int64
	var asked atomic.Int64
	j := &Job{Pairs: append(waiting, ready...), Rate: MaxRate, Concurrency: 4, Filler: filler(func(_ context.Context, p Pair) Outcome {
		if p.Query.Name == "waiting" {
			asked.Add(1)
			if filled.Load() < 50 {
				return Bypassed("shape-inactive")
			}
		} else {
			filled.Add(1)
		}
		return Outcome{Kind: Filled}
	})}
	require.NoError(t, j.Run(t.Context()))
	require.Equal(t, Tally{Filled: 100}, j.Tally)
	require.Less(t, asked.Load(), int64(80), "not each of them twice")
}

// If nothing works for too long it says so, with the reason.
func TestJobGivesUp(t *testing.T) {
	j := &Job{Pairs: numbered(t, "q", 10), Rate: MaxRate, Concurrency: 2, Patience: 300 * time.Millisecond, Filler: filler(func(context.Context, Pair) Outcome {
		return Outcome{Kind: Busy, Reason: "the api cannot be reached"}
	})}
	err := j.Run(t.Context())
	require.ErrorIs(t, err, ErrGivenUp)
	require.ErrorContains(t, err, "nothing has worked for 300ms: the api cannot be reached")
	require.Zero(t, j.Next)
	require.Equal(t, "the api cannot be reached", j.Progress().Waiting)
}

// Stopped at any time, what was saved last is true: every pair before next is counted, and none after it. Another job goes on there,
// and together they have asked for all.
func TestJobIsGoneOnWith(t *testing.T) {
	pairs := numbered(t, "q", 3000)
	var mu sync.Mutex
	asked := map[string]int{}
	next, tally := 0, Tally{}
	for round := 0; next < len(pairs); round++ {
		ctx, stop := context.WithCancel(t.Context())
		var here atomic.Int64
		j := &Job{Pairs: pairs, Next: next, Tally: tally.clone(), Rate: MaxRate, Concurrency: 8,
			Filler: filler(func(_ context.Context, p Pair) Outcome {
				if here.Add(1) == 700 {
					stop()
				}
				mu.Lock()
				defer mu.Unlock()
				asked[p.Args.Key()]++
				return []Outcome{{Kind: Filled}, {Kind: Skipped}, {Kind: Refused, Reason: "x"}}[here.Load()%3]
			}),
			Save: func(n int, t Tally) error {
				next, tally = n, t
				return nil
			},
		}
		err := j.Run(ctx)
		stop()
		require.Equal(t, int64(next), tally.Done(), "the pairs before next, and no other")
		if next < len(pairs) {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.LessOrEqual(t, here.Load(), int64(700+2*j.Concurrency), "it ends at once, not when it has to wait for something else")
		require.Less(t, round, 10)
	}
	require.Len(t, asked, len(pairs))
	require.Equal(t, int64(len(pairs)), tally.Done())
}

// What cannot be saved could not be gone on with.
func TestJobEndsIfItCannotBeSaved(t *testing.T) {
	full := errors.New("the disk is full")
	j := &Job{Pairs: numbered(t, "q", 10), Filler: filler(func(context.Context, Pair) Outcome { return Outcome{Kind: Filled} }), Save: func(int, Tally) error { return full }}
	require.ErrorIs(t, j.Run(t.Context()), full)
}

// What an api's answers mean.
func TestOutcomes(t *testing.T) {
	var status atomic.Int64
	var header, retry atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if h := header.Load().(string); h != "" {
			w.Header().Set("Cache-Status", h)
		}
		if r := retry.Load().(string); r != "" {
			w.Header().Set("Retry-After", r)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	h := NewHTTP(server.URL+"/", 1, 10*time.Second)
	defer h.Client.CloseIdleConnections()
	pair := numbered(t, "q", 1)[0]
	for _, tt := range []struct {
		status        int
		header, retry string
		want          Outcome
	}{
		{200, "freshet; hit; ttl=5; detail=redis", "", Outcome{Kind: Skipped}},
		{200, "freshet; fwd=miss; stored", "", Outcome{Kind: Filled}},
		{404, "freshet; fwd=miss; stored", "", Outcome{Kind: Filled}}, // the row is gone, and that is cached
		{404, "freshet; hit; ttl=5; detail=redis", "", Outcome{Kind: Skipped}},
		{404, "", "", Outcome{Kind: Refused, Reason: "the api does not serve the query: the api answers 404 Not Found"}},
		{200, "freshet; fwd=miss", "", Outcome{Kind: Busy, Reason: "not stored"}},
		{200, "freshet; hit; ttl=5; detail=stale", "", Outcome{Kind: Busy, Reason: "Postgres does not answer"}},
		{200, "freshet; fwd=bypass; detail=untagged", "", Outcome{Kind: Refused, Reason: "bypass: untagged"}},
		{200, "freshet; fwd=bypass; detail=query-disabled", "", Outcome{Kind: Refused, Reason: "bypass: query-disabled"}},
		{200, "freshet; fwd=bypass; detail=redis-unavailable", "", Outcome{Kind: Busy, Reason: "bypass: redis-unavailable"}},
		{200, "freshet; fwd=bypass; detail=watermark-stale", "", Outcome{Kind: Busy, Reason: "bypass: watermark-stale"}},
		{200, "freshet; fwd=bypass; detail=shape-inactive", "", Outcome{Kind: Busy, Reason: "bypass: shape-inactive", Own: true}},
		{503, "", "3", Outcome{Kind: Busy, Reason: "the api answers 503 Service Unavailable", After: 3 * time.Second}},
		{504, "", "", Outcome{Kind: Busy, Reason: "the api answers 504 Gateway Timeout", Own: true}},
		{400, "", "", Outcome{Kind: Refused, Reason: "the api answers 400 Bad Request"}},
		{500, "", "", Outcome{Kind: Refused, Reason: "the api answers 500 Internal Server Error"}},
	} {
		status.Store(int64(tt.status))
		header.Store(tt.header)
		retry.Store(tt.retry)
		require.Equal(t, tt.want, h.Fill(t.Context(), pair), fmt.Sprint(tt.status, " ", tt.header))
	}
	server.Close()
	require.Equal(t, Outcome{Kind: Busy, Reason: "the api cannot be reached"}, h.Fill(t.Context(), pair))
}
