package api

import (
	"fmt"
	"testing"
	"time"

	"freshet/cache"
	"freshet/internal/heavy"
	"freshet/internal/telemetry"
	"freshet/query"
)

func BenchmarkAnswered(b *testing.B) {
	q := &query.Query{}
	p := &performance{api: &API{metrics: &telemetry.API{}}, hits: heavy.New(topCounters), distinct: map[*query.Query]*distinct{q: {began: time.Now()}}}
	reqs := make([]cache.Request, 5000)
	for i := range reqs {
		reqs[i].Tags = []cache.Tag{cache.NewShape("public", "blogs", "id").Tag(fmt.Sprint(i))}
	}
	answer := &cache.Answer{Status: cache.Hit}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			p.answered(q, &reqs[i%len(reqs)], answer)
		}
	})
}

func TestDistinctEstimate(t *testing.T) {
	for _, n := range []int{0, 1, 50, 1000, 20000} {
		d := &distinct{began: time.Now()}
		for i := range n {
			d.add(fmt.Sprint(i))
			d.add(fmt.Sprint(i))
		}
		if got := float64(d.estimate()); got < 0.9*float64(n) || got > 1.1*float64(n) {
			t.Errorf("%d different names are estimated as %g", n, got)
		}
	}
}
