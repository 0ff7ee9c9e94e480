package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/internal/testenv"
	"freshet/query/plan"
)

// run lets the audit run until the summary is as it should be.
func (r *rig) run(until func(Summary) bool) Summary {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() { r.a.Run(ctx, 0); close(done) }()
	testenv.Eventually(r.t, patience, func() (bool, string) {
		s := r.a.Summary()
		return until(s), fmt.Sprintf("%+v", s)
	})
	stop()
	<-done
	return r.a.Summary()
}

// The loop finds every entry, whichever bucket it is in, and tells of a stale one once.
func TestRunFindsTheOneThatIsStale(t *testing.T) {
	r := newRig(t)
	for id := range 40 {
		r.read(r.item(fmt.Sprint(id + 1)))
	}
	r.read(r.group("1"))
	r.forge(r.item("23"), `{"id":23,"grp":3,"n":-1}`)
	r.apply()
	s := r.run(func(s Summary) bool { return s.Stale > 3 && s.Queries["items"].Checked > 0 && s.Checked > 300 })
	require.Len(t, r.stale, 1)
	require.Equal(t, map[string]any{"id": "23"}, r.stale[0].Params)
	require.EqualValues(t, 1, s.StaleEntries)
	require.Equal(t, s.Stale, s.Queries["item"].Stale)
	require.Greater(t, s.Consistency.StaleAtMost, float64(s.Stale)/float64(s.Checked))
	require.Positive(t, s.EntryAge.P50)
	require.Zero(t, s.Evicted)
	require.Equal(t, s.Sampled, s.Checked+s.Behind+s.Undecided+s.Dead+s.Failed)
}

// Nothing to sample is nothing that was checked, and bounds nothing.
func TestEmptyCache(t *testing.T) {
	r := newRig(t)
	began := time.Now()
	r.a.Run(t.Context(), 300*time.Millisecond)
	require.Less(t, time.Since(began), patience)
	s := r.a.Summary()
	require.Zero(t, s.Sampled)
	require.Equal(t, Consistency{Confidence: 0.95, StaleAtMost: 1}, s.Consistency)
}

// Entries that are none of these queries' are counted, each with why.
func TestForeignIsCounted(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	good, _ := strings.CutSuffix(s.req.Field, "id=1:1")
	tag := s.req.Tags[0].Name
	long := r.ask("items", "grp=1:1 least=300:"+strings.Repeat("x", 300)+" any=-")
	p := r.a.plans.Load()
	for name, tt := range map[string]struct {
		tag, field, reason string
	}{
		"ours":                        {tag, s.req.Field, ""},
		"something else":              {tag, "fieldname", foreignName},
		"no key":                      {tag, "item@1", foreignName},
		"a query that is not here":    {tag, "gone@0011223344556677.00000000?id=1:1", foreignQuery},
		"an older file":               {tag, "item@0011223344556677.00000000?id=1:1", foreignVersion},
		"parameters that are none":    {tag, good + "id=1:x", foreignParameter},
		"a name that was hashed":      {long.req.Tags[0].Name, p.byName["items"].Prefix + "~" + strings.Repeat("0", 64), unreadable},
		"a bucket of another value":   {r.item("2").req.Tags[0].Name, s.req.Field, foreignElsewhere},
		"too many values to be there": {tag, r.ask("items", "grp=1:1 least=0: any=0[]").req.Field, foreignElsewhere},
	} {
		got, reason, err := r.a.identify(t.Context(), p, cache.Place{Tag: tt.tag, Field: tt.field})
		require.NoError(t, err)
		require.Equal(t, tt.reason, reason, name)
		require.Equal(t, reason == "", got != nil, name)
	}
	p.byName["item"].Refused = context.Canceled // a definition has made it so
	_, reason, err := r.a.identify(t.Context(), p, cache.Place{Tag: tag, Field: s.req.Field})
	require.NoError(t, err)
	require.Equal(t, foreignRefused, reason)
	p.byName["item"].Refused = nil

	r.read(s)
	require.NoError(t, r.client.HSet(t.Context(), r.store.Bucket(s.req.Tags[0]), "gone@1.0?", "x", "item@1.0?", "x").Err())
	require.NoError(t, r.client.Set(t.Context(), "freshet:no hash", "x", 0).Err())
	sum := r.run(func(s Summary) bool {
		return s.Checked > 0 && s.Foreign[foreignQuery] > 0 && s.Foreign[foreignVersion] > 0
	})
	require.Equal(t, sum.Sampled, sum.Checked+sum.Undecided+sum.Foreign[foreignQuery]+sum.Foreign[foreignVersion])
	require.Empty(t, sum.Failures)
}

// Entries that go while others write and fill are never stale: thousands of looks at a busy cache whose invalidator keeps the rules.
func TestBusyRunIsClean(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Rate = MaxRate })
	conn := r.db.Conn(t)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { // the only writer, and the invalidator
		draw := rand.New(rand.NewPCG(1, 2))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint(1 + draw.IntN(40))
			var grp string
			if err := conn.QueryRow(t.Context(), "UPDATE items SET n = $2 WHERE id = $1::text::int RETURNING grp::text", id, 1000+n).Scan(&grp); err != nil {
				t.Error(err)
				return
			}
			r.apply(r.item(id).req.Tags[0], r.group(grp).req.Tags[0])
		}
	})
	for range 2 {
		writing.Go(func() { // a reader
			draw := rand.New(rand.NewPCG(3, 4))
			for {
				select {
				case <-stop:
					return
				default:
				}
				r.read(r.item(fmt.Sprint(1 + draw.IntN(40))))
				r.read(r.group(fmt.Sprint(draw.IntN(4))))
			}
		})
	}
	s := r.run(func(s Summary) bool { return s.Checked > 2000 && s.Cleared > 50 && s.Behind+s.Dead > 50 })
	close(stop)
	writing.Wait()
	t.Logf("%+v", s)
	require.Zero(t, s.Stale)
	require.Empty(t, s.Failures)
	require.Empty(t, s.Foreign)
	require.Zero(t, s.Reordered)
}

// A clear is for nothing if the refill has the same bytes. It does not matter whether somebody has filled it again yet.
func TestOverclearing(t *testing.T) {
	for name, tt := range map[string]struct {
		write              string
		clear              func(r *rig, s *subject)
		refill             bool
		cleared, identical int64
		whole, gone        bool
	}{
		"for nothing":                   {clear: clears, cleared: 1, identical: 1},
		"for nothing, and filled again": {clear: clears, refill: true, cleared: 1, identical: 1},
		"for nothing, filled again, and written since": {clear: func(r *rig, s *subject) {
			clears(r, s)
			r.read(s)
			r.db.Exec(r.t, "UPDATE items SET n = 77 WHERE id = 1")
		}, cleared: 1, identical: 1},
		"rightly":                   {write: "UPDATE items SET n = 77 WHERE id = 1", clear: clears, cleared: 1},
		"rightly, and filled again": {write: "UPDATE items SET n = 77 WHERE id = 1", clear: clears, refill: true, cleared: 1},
		"the row is gone":           {write: "DELETE FROM items WHERE id = 1", clear: clears, cleared: 1},
		"everything": {clear: func(r *rig, _ *subject) {
			r.begin()
		}, cleared: 1, identical: 1, whole: true},
		"not cleared": {clear: func(r *rig, _ *subject) { r.apply() }},
		"only its field is gone": {clear: func(r *rig, s *subject) {
			require.NoError(r.t, r.client.HDel(r.t.Context(), r.store.Bucket(s.req.Tags[0]), s.req.Field).Err())
		}, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.item("1")
			r.read(s)
			r.a.one(t.Context(), cache.Place{Tag: s.req.Tags[0].Name, Field: s.req.Field})
			require.EqualValues(t, 1, r.a.Summary().Checked)
			require.Len(t, r.a.memory.queue, 1)
			r.a.recall(t.Context())
			require.Len(t, r.a.memory.queue, 1, "too soon")
			if tt.write != "" {
				r.db.Exec(t, tt.write)
			}
			tt.clear(r, s)
			if tt.refill {
				r.read(s)
			}
			r.a.memory.queue[0].at = time.Now().Add(-time.Second)
			r.a.recall(t.Context())
			sum := r.a.Summary()
			require.Equal(t, tt.cleared, sum.Cleared)
			require.Equal(t, tt.identical, sum.Identical)
			require.Equal(t, tt.whole, sum.Whole > 0)
			if tt.cleared == 0 {
				require.Nil(t, sum.Overclearing)
				require.Len(t, r.a.memory.queue, map[bool]int{true: 0, false: 1}[tt.gone])
			}
		})
	}
}

func clears(r *rig, s *subject) { r.apply(s.req.Tags...) }

// An entry whose ttl is over is no clear, although its bucket may be gone.
func TestExpiryIsNoClear(t *testing.T) {
	r := newRig(t)
	s := r.item("1")
	r.read(s)
	r.a.one(t.Context(), cache.Place{Tag: s.req.Tags[0].Name, Field: s.req.Field})
	q := r.a.memory.queue
	q[0].at = time.Now().Add(-time.Second)
	q[0].look.Expires = time.Now().Add(-time.Millisecond)
	r.apply(s.req.Tags...)
	r.a.recall(t.Context())
	require.Zero(t, r.a.Summary().Cleared)
	require.Empty(t, r.a.memory.queue)
}

// What is remembered is bounded, and each entry is remembered once.
func TestMemoryIsBounded(t *testing.T) {
	var m memory
	for i := range 3 * maxRemembered {
		r := remembered{subject: &subject{planned: &planned{Plan: &plan.Plan{}}, req: cache.Request{Field: fmt.Sprint(i / 2)}}, look: &cache.Inspection{Identity: "i"}}
		m.add(r)
	}
	require.Len(t, m.queue, maxRemembered)
	require.Len(t, m.known, maxRemembered)
	// One that depends on the time would differ without a reason to clear it.
	var other memory
	other.add(remembered{subject: &subject{planned: &planned{Plan: &plan.Plan{Timed: true}}}, look: &cache.Inspection{}})
	require.Empty(t, other.queue)
	_, ok := m.take(time.Now())
	require.True(t, ok)
	require.Len(t, m.known, maxRemembered-1)
}

// When the definitions have changed the plans are made anew, and the audit goes on.
func TestPlansFollowTheCatalog(t *testing.T) {
	r := newRig(t)
	r.read(r.item("1"))
	r.applyTo(r.end(), map[string]string{cache.CatalogShape.String(): cache.NewToken()})
	s := r.run(func(s Summary) bool { return s.Checked > 0 })
	require.Positive(t, s.Unserved[cache.ReasonSchema])
}

// A rate that is none is refused.
func TestRate(t *testing.T) {
	for _, rate := range []float64{0, -1, MaxRate + 1} {
		_, err := New(t.Context(), Config{Rate: rate})
		require.ErrorContains(t, err, "a rate of")
	}
}
