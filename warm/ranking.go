package warm

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// ranking keeps the keys that are changed most, and most recently, in memory that is bounded however long the log is.
//
// Each change of a key counts, and counts half as much after halfLife: a score is the sum of 2^(t/halfLife) over its changes, which
// orders keys the same at any later time, as all of them decay alike (forward decay: Cormode, Shkapenyuk, Srivastava and Xu, 2009). It
// is kept as its logarithm: the power itself would overflow after some days.
//
// With capacity keys in it, a new one takes the place of that with the least score, and its score too (Space-Saving: Metwally, Agrawal and
// El Abbadi, 2005): whatever has more than 1/capacity of all the weight is in it.
type ranking struct {
	capacity int
	halfLife float64 // seconds
	zero     time.Time
	byKey    map[string]*ranked
	heap     []*ranked // the least score first
	replaced bool      // there were more keys than capacity
}

// ranked is a key with its score.
type ranked struct {
	key   string
	score float64 // the logarithm, to the base 2
	at    int     // in the heap
}

func newRanking(capacity int, halfLife time.Duration) *ranking {
	return &ranking{capacity: capacity, halfLife: halfLife.Seconds(), byKey: map[string]*ranked{}}
}

// add counts a change of a key. It keeps a copy of the key.
func (r *ranking) add(key []byte, at time.Time) {
	if r.zero.IsZero() {
		r.zero = at
	}
	weight := at.Sub(r.zero).Seconds() / r.halfLife
	one := r.byKey[string(key)]
	switch {
	case one != nil:
		one.score = logSum(one.score, weight)
	case len(r.heap) < r.capacity:
		one = &ranked{key: string(key), score: weight, at: len(r.heap)}
		r.byKey[one.key] = one
		r.heap = append(r.heap, one)
		r.up(one.at)
		return
	default:
		r.replaced = true
		one = r.heap[0]
		delete(r.byKey, one.key)
		one.key, one.score = string(key), logSum(one.score, weight)
		r.byKey[one.key] = one
	}
	r.down(one.at) // a score only grows
}

// logSum is log2(2^a + 2^b).
func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log1p(math.Exp2(b-a))/math.Ln2
}

// best are the keys, the one with the greatest score first.
func (r *ranking) best() []string {
	all := slices.SortedFunc(slices.Values(r.heap), func(x, y *ranked) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.key, y.key))
	})
	keys := make([]string, len(all))
	for i, one := range all {
		keys[i] = one.key
	}
	return keys
}

func (r *ranking) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if r.heap[parent].score <= r.heap[i].score {
			return
		}
		r.swap(i, parent)
		i = parent
	}
}

func (r *ranking) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(r.heap); child++ {
			if r.heap[child].score < r.heap[least].score {
				least = child
			}
		}
		if least == i {
			return
		}
		r.swap(i, least)
		i = least
	}
}

func (r *ranking) swap(i, j int) {
	r.heap[i], r.heap[j] = r.heap[j], r.heap[i]
	r.heap[i].at, r.heap[j].at = i, j
}
