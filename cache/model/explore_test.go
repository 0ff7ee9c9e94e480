package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// exploration is the states that were found, in the order of their distance from the start.
type exploration struct {
	model  *model
	chunks [][]state // of chunkSize states: growing one slice would copy all of them again and again
	from   []uint32  // the state from which each was reached first; as many as there are states
	table  []uint32  // open addressing: index + 1 of the states with this hash
	hashes []uint32  // of each state
	seed   maphash.Seed
	taken  map[string]int // how many states each kind of step led to
	broken string         // the promise that is broken
	trace  string         // the shortest way there
}

const chunkSize = 1 << 12

// explore visits every state, breadth first, so that the first violation is found by the shortest way. It stops there.
func explore(m *model) *exploration {
	e := &exploration{model: m, table: make([]uint32, 1<<12), seed: maphash.MakeSeed(), taken: map[string]int{}}
	start := m.start()
	e.add(&start, 0)
	for i := uint32(0); int(i) < e.count() && e.broken == ""; i++ {
		e.visit(i)
	}
	return e
}

func (e *exploration) count() int { return len(e.from) }

func (e *exploration) state(i uint32) *state { return &e.chunks[i/chunkSize][i%chunkSize] }

func (e *exploration) visit(i uint32) {
	s := e.state(i)
	if broken := e.model.invariant(s); broken != "" {
		e.violation(i, broken)
		return
	}
	quiet := true
	e.model.steps(s, func(t step) {
		if e.broken != "" {
			return
		}
		quiet = quiet && aside(t.who)
		e.model.canonical(t.next)
		if e.add(t.next, i) || t.who == "reader" { // whose last step leads back to where it began
			e.taken[t.what]++
		}
		if t.broken != "" {
			e.violation(i, t.broken)
			e.trace += fmt.Sprintf("  then %s %s\n", t.who, t.what)
		}
	})
	if quiet && e.broken == "" && !e.model.staleOnly {
		if broken := e.model.settled(s); broken != "" {
			e.violation(i, broken)
		}
	}
}

// add adds a state unless it is known.
func (e *exploration) add(s *state, from uint32) bool {
	n := e.count()
	if 2*n >= len(e.table) {
		e.grow()
	}
	hash := uint32(maphash.Comparable(e.seed, *s))
	slot := hash & uint32(len(e.table)-1)
	for ; e.table[slot] != 0; slot = (slot + 1) & uint32(len(e.table)-1) {
		if i := e.table[slot] - 1; e.hashes[i] == hash && *e.state(i) == *s {
			return false
		}
	}
	if n%chunkSize == 0 {
		e.chunks = append(e.chunks, make([]state, chunkSize))
	}
	*e.state(uint32(n)) = *s
	e.from, e.hashes = append(e.from, from), append(e.hashes, hash)
	e.table[slot] = uint32(n + 1)
	return true
}

func (e *exploration) grow() {
	e.table = make([]uint32, 2*len(e.table))
	for i, hash := range e.hashes {
		slot := hash & uint32(len(e.table)-1)
		for e.table[slot] != 0 {
			slot = (slot + 1) & uint32(len(e.table)-1)
		}
		e.table[slot] = uint32(i + 1)
	}
}

// violation writes the way from the start to a state.
func (e *exploration) violation(i uint32, broken string) {
	e.broken = broken
	path := []uint32{i}
	for ; i != 0; i = e.from[i] {
		path = append(path, e.from[i])
	}
	var b strings.Builder
	slices.Reverse(path)
	for n, i := range path {
		s, label := e.state(i), "start"
		if n > 0 {
			label = e.label(path[n-1], s)
		}
		fmt.Fprintf(&b, "%4d %s\n%s", n, label, s.describe(e.model.config))
	}
	e.trace = b.String()
}

// label finds the step that leads from one state to another.
func (e *exploration) label(from uint32, to *state) (label string) {
	e.model.steps(e.state(from), func(t step) {
		if e.model.canonical(t.next); label == "" && *t.next == *to {
			label = t.who + " " + t.what
		}
	})
	return label
}
