package audit

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// Summary is what an audit has found.
type Summary struct {
	Began    time.Time     `json:"began"`
	Duration time.Duration `json:"-"`
	Seconds  float64       `json:"seconds"`
	// Sampled counts the entries that were drawn. Each is counted once more in exactly one of Checked, Behind, Undecided, Reordered,
	// Timed, Dead, Failed, Unserved and Foreign.
	Sampled int64 `json:"sampled"`
	// Tally has the sums over all queries.
	Tally
	// Dead entries are those that no reader would get: cleared through another bucket, expired, or gone before they were looked at.
	Dead   int64 `json:"dead"`
	Failed int64 `json:"failed"`
	// Unserved are entries that a reader would have passed over, by its reason; Foreign those that no api with these queries has made,
	// or of which the question is not known, by why.
	Unserved map[string]int64 `json:"unserved"`
	Foreign  map[string]int64 `json:"foreign"`
	Failures map[string]int64 `json:"failures"`
	// StaleEntries counts different stale entries: Stale counts each time that one was drawn.
	StaleEntries int64 `json:"stale_entries"`
	// Consistency bounds the share of entries that are not stale.
	Consistency Consistency `json:"consistency"`
	// Overclearing is the share of the cleared entries whose refill is identical; nil if none was cleared.
	Overclearing *float64 `json:"overclearing"`
	// Evicted counts the keys that Redis has evicted meanwhile, which count as cleared if they were watched; -1: not known.
	Evicted int64 `json:"evicted"`
	// EntryAge is the time since the fill, WatermarkAge since the watermark, of the entries that were judged, in seconds. BehindFor is
	// how long those that were behind were still there.
	EntryAge     Distribution `json:"entry_age"`
	WatermarkAge Distribution `json:"watermark_age"`
	BehindFor    Distribution `json:"behind_for"`
	// AnsweredByAPI counts the entries that an api was asked for and gave from the cache, NotByAPI those that it did not.
	AnsweredByAPI int64            `json:"answered_by_api"`
	NotByAPI      int64            `json:"not_by_api"`
	Queries       map[string]Tally `json:"queries"`
}

// Tally is what was found of one query, or of all.
type Tally struct {
	// Checked are the entries that are proved fresh, or stale.
	Checked int64 `json:"checked"`
	Stale   int64 `json:"stale"`
	// Behind differed, and were gone before or when the watermark had passed what they lacked: not stale, as far as can be told.
	Behind int64 `json:"behind"`
	// Undecided differed, and nothing could be said in time.
	Undecided int64 `json:"undecided"`
	// Reordered had the same rows in another order; Timed differed, and depend on the time.
	Reordered int64 `json:"reordered"`
	Timed     int64 `json:"timed"`
	// Cleared are watched entries that were cleared, Identical those of them whose refill is the same, and Whole those that went with a
	// whole shape or with everything.
	Cleared   int64 `json:"cleared"`
	Identical int64 `json:"identical"`
	Whole     int64 `json:"whole"`
}

func (t *Tally) add(v verdict) {
	switch v {
	case fresh:
		t.Checked++
	case stale:
		t.Checked++
		t.Stale++
	case behind:
		t.Behind++
	case undecided:
		t.Undecided++
	case reordered:
		t.Reordered++
	case timed:
		t.Timed++
	}
}

// Consistency says how sure the share of entries that are not stale is. It takes the entries that were checked for draws that do not
// depend on one another.
type Consistency struct {
	// Confidence is 0.95.
	Confidence float64 `json:"confidence"`
	// StaleAtMost is the largest share of stale entries that Confidence does not exclude (Clopper and Pearson, one-sided): about three
	// in as many as were checked, if none was stale. 1 if nothing was checked.
	StaleAtMost float64 `json:"stale_at_most"`
	// Nines are those of 1-StaleAtMost: 3 for 99.9 %.
	Nines float64 `json:"nines"`
}

const confidence = 0.95

func consistency(stale, checked int64) Consistency {
	bound := upperBound(stale, checked)
	return Consistency{Confidence: confidence, StaleAtMost: bound, Nines: math.Abs(math.Log10(bound))}
}

// upperBound is the largest probability with which so few of n draws would come with at least 1-confidence: the exact bound of
// Clopper and Pearson, by bisection of the binomial distribution.
func upperBound(k, n int64) float64 {
	if n == 0 || k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 200 { // far beyond the precision of a float64 between them
		p := (low + high) / 2
		if atMost(k, n, p) > 1-confidence {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the probability of at most k hits in n draws of probability p.
func atMost(k, n int64, p float64) float64 {
	if p <= 0 {
		return 1
	}
	if p >= 1 {
		return 0
	}
	lgamma := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	sum := 0.0
	for i := range k + 1 {
		sum += math.Exp(lgamma(n) - lgamma(i) - lgamma(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(1, sum)
}

// Distribution is that of a number of times, in seconds.
type Distribution struct {
	N   int64   `json:"n"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// QueryNames are the names of the queries of which something was found, the most checked first.
func (s *Summary) QueryNames() []string {
	return slices.SortedFunc(maps.Keys(s.Queries), func(x, y string) int {
		return cmp.Or(cmp.Compare(s.Queries[y].Checked, s.Queries[x].Checked), cmp.Compare(x, y))
	})
}
