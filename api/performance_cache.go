package api

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"freshet/cache"
	"freshet/internal/telemetry"
)

// cacheStats is the answer of GET /performance/cache/stats. docs/performance.md and performance.schema.json describe it.
type cacheStats struct {
	At       time.Time         `json:"at"`
	Queries  []queryCacheStats `json:"queries"`
	Contents *contentsStats    `json:"contents"` // nil before the first sample
	// Evictions are nil if Redis does not answer.
	Evictions *evictionStats `json:"evictions"`
	Clears    *clearStats    `json:"clears"`        // nil if no invalidator tells
	Over      *overStats     `json:"over_clearing"` // nil if nothing is verified
	Top       topStats       `json:"top_buckets"`
}

type queryCacheStats struct {
	Query   string              `json:"query"`
	Windows []queryCacheMinutes `json:"windows"`
}

type queryCacheMinutes struct {
	Minutes int `json:"minutes"`
	cacheMetrics
}

// contentsStats is how much is cached. All but Keys and SampledKeys are estimates if Estimate says so.
type contentsStats struct {
	At          time.Time    `json:"at"`
	Estimate    bool         `json:"estimate"`
	Keys        int64        `json:"keys"`
	SampledKeys int64        `json:"sampled_keys"`
	Buckets     int64        `json:"buckets"`
	Entries     int64        `json:"entries"`
	Bytes       *int64       `json:"bytes"` // nil if Redis does not say
	Tables      []tableStats `json:"tables"`
}

type tableStats struct {
	Table   string `json:"table"`
	Buckets int64  `json:"buckets"`
	Entries int64  `json:"entries"`
	Bytes   *int64 `json:"bytes"`
}

type evictionStats struct {
	// SinceStart counts since Redis was started; Minutes has what came in the last 1, 5 and 60 minutes.
	SinceStart int64           `json:"since_redis_started"`
	Policy     string          `json:"policy"`
	Windows    []evictedWindow `json:"windows"`
}

type evictedWindow struct {
	Minutes int   `json:"minutes"`
	Evicted int64 `json:"evicted"`
}

// clearStats add up what invalidators say, which count since they were started.
type clearStats struct {
	Since time.Time `json:"since"` // the oldest start
	// Tables are the buckets that changes of a table have cleared.
	Tables []tableClears `json:"tables"`
	// Everything is how often everything was cleared, by reason.
	Everything map[string]uint64 `json:"everything"`
}

type tableClears struct {
	Table   string           `json:"table"`
	Buckets uint64           `json:"buckets"`
	Windows []clearedMinutes `json:"windows"`
}

type clearedMinutes struct {
	Minutes int   `json:"minutes"`
	Buckets int64 `json:"buckets"`
}

// overStats is what the auditor has found of cleared entries whose refill was the same.
type overStats struct {
	Cleared     int64    `json:"cleared"`
	Overcleared int64    `json:"overcleared"`
	Ratio       *float64 `json:"ratio"` // nil if none was cleared
}

// topStats are the buckets that are hit and touched by changes most often, as far as Space-Saving can tell.
type topStats struct {
	Since time.Time `json:"since"`
	// HitStride says that one hit in so many was counted, as so many.
	HitStride int         `json:"hit_stride"`
	Hits      []bucketTop `json:"hits"`
	Clears    []bucketTop `json:"clears"`
}

type bucketTop struct {
	Bucket string `json:"bucket"`
	Count  uint64 `json:"count"`
	// AtMostTooMany is how much the count may be too large, apart from the chance of sampling.
	AtMostTooMany uint64 `json:"at_most_too_many"`
}

// cacheStats puts the answer together. It asks nobody.
func (p *performance) cacheStats() cacheStats {
	s := cacheStats{At: time.Now().UTC(), Queries: p.queryStats(), Contents: p.contentsStats()}
	s.Top = topStats{Since: p.began.UTC(), HitStride: hitStride, Hits: []bucketTop{}, Clears: []bucketTop{}}
	for _, c := range p.hits.Top(topBuckets) {
		s.Top.Hits = append(s.Top.Hits, bucketTop{cache.DefaultPrefix + c.Name, c.Count, c.Error})
	}
	latest := p.samples.latest()
	if latest == nil {
		return s
	}
	if latest.redis != nil {
		s.Evictions = &evictionStats{SinceStart: latest.redis.Evicted, Policy: latest.redis.Policy}
		for _, span := range telemetry.Spans {
			one := evictedWindow{Minutes: int(span / time.Minute)}
			if w := redisOf(p.samples.span(span)); w != nil {
				one.Evicted = w.Evicted
			}
			s.Evictions.Windows = append(s.Evictions.Windows, one)
		}
	}
	if len(latest.statuses) > 0 {
		s.Clears, s.Over = p.clearStats(latest.statuses), overOf(latest.statuses)
		s.Top.Clears = topClears(latest.statuses)
	}
	return s
}

func (p *performance) queryStats() []queryCacheStats {
	all := []queryCacheStats{}
	at := map[string]int{}
	for _, span := range telemetry.Spans {
		for _, q := range p.api.Stats(span).Queries {
			if !q.Reads {
				continue
			}
			i, known := at[q.Name]
			if !known {
				i = len(all)
				at[q.Name] = i
				all = append(all, queryCacheStats{Query: q.Name})
			}
			all[i].Windows = append(all[i].Windows, queryCacheMinutes{int(span / time.Minute), cacheOf(q.Answers)})
		}
	}
	return all
}

func (p *performance) contentsStats() *contentsStats {
	c := p.contents.Load()
	if c == nil {
		return nil
	}
	bytes := func(n float64) *int64 {
		if !c.BytesKnown {
			return nil
		}
		whole := int64(n)
		return &whole
	}
	s := &contentsStats{
		At: c.at.UTC(), Estimate: !c.Whole, Keys: c.Keys, SampledKeys: c.SampledKeys,
		Buckets: int64(c.Buckets), Entries: int64(c.Entries), Bytes: bytes(c.Bytes), Tables: []tableStats{},
	}
	for table, t := range c.Tables {
		s.Tables = append(s.Tables, tableStats{table, int64(t.Buckets), int64(t.Entries), bytes(t.Bytes)})
	}
	slices.SortFunc(s.Tables, func(a, b tableStats) int {
		return cmp.Or(cmp.Compare(b.Buckets, a.Buckets), strings.Compare(a.Table, b.Table))
	})
	return s
}

func (p *performance) clearStats(statuses []cache.InvalidatorStatus) *clearStats {
	s := &clearStats{Since: statuses[0].Began.UTC(), Tables: []tableClears{}, Everything: map[string]uint64{}}
	tables := map[string]uint64{}
	for _, one := range statuses {
		if one.Began.Before(s.Since) {
			s.Since = one.Began.UTC()
		}
		for table, n := range one.ClearsByTable {
			tables[table] += n
		}
		for reason, n := range one.ClearsByReason {
			s.Everything[reason] += n
		}
	}
	for table, n := range tables {
		s.Tables = append(s.Tables, tableClears{Table: table, Buckets: n})
	}
	slices.SortFunc(s.Tables, func(a, b tableClears) int {
		return cmp.Or(cmp.Compare(b.Buckets, a.Buckets), strings.Compare(a.Table, b.Table))
	})
	for _, span := range telemetry.Spans {
		cleared := p.samples.cleared(span)
		for i := range s.Tables {
			t := &s.Tables[i]
			t.Windows = append(t.Windows, clearedMinutes{int(span / time.Minute), cleared[t.Table]})
		}
	}
	return s
}

func overOf(statuses []cache.InvalidatorStatus) *overStats {
	var s *overStats
	for _, one := range statuses {
		if one.Verify == nil {
			continue
		}
		if s == nil {
			s = &overStats{}
		}
		s.Cleared += one.Verify.Cleared
		s.Overcleared += one.Verify.Overcleared
	}
	if s != nil && s.Cleared > 0 {
		ratio := float64(s.Overcleared) / float64(s.Cleared)
		s.Ratio = &ratio
	}
	return s
}

func topClears(statuses []cache.InvalidatorStatus) []bucketTop {
	all := map[string]bucketTop{}
	for _, one := range statuses {
		for _, t := range one.TopTags {
			b := all[t.Tag]
			all[t.Tag] = bucketTop{cache.DefaultPrefix + t.Tag, b.Count + t.Count, b.AtMostTooMany + t.Error}
		}
	}
	top := make([]bucketTop, 0, len(all))
	for _, b := range all {
		top = append(top, b)
	}
	slices.SortFunc(top, func(a, b bucketTop) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Bucket, b.Bucket))
	})
	return top[:min(topBuckets, len(top))]
}
