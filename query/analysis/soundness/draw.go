package soundness

import "math/rand/v2"

// draw is where every random decision comes from, as a sequence of small numbers. It is recorded, so that a case can be made
// again, and made smaller: a sequence with numbers taken out or made smaller is another case, and everywhere 0 is the simplest
// choice. A sequence that is used up goes on with zeros.
type draw struct {
	rng   *rand.Rand // nil: replay
	taken []int
	at    int
}

func newDraw(rng *rand.Rand) *draw { return &draw{rng: rng} }

func replay(taken []int) *draw { return &draw{taken: taken} }

// n returns a number below n.
func (d *draw) n(n int) int {
	if n <= 1 {
		return 0
	}
	v := 0
	switch {
	case d.rng != nil:
		v = d.rng.IntN(n)
		d.taken = append(d.taken, v)
	case d.at < len(d.taken):
		v = d.taken[d.at] % n
	}
	d.at++
	return v
}

// chance is true in so many of 100 cases.
func (d *draw) chance(percent int) bool { return d.n(100) >= 100-percent }

// weighted returns an index, each as often as its weight says. The first is the simplest.
func (d *draw) weighted(weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	v := d.n(sum)
	for i, w := range weights {
		if v < w {
			return i
		}
		v -= w
	}
	return 0
}

// pick returns one of the elements; there has to be one.
func pick[T any](d *draw, from []T) T { return from[d.n(len(from))] }
