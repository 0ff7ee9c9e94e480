package faults

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// instant is a time on the monotonic clock, since the history began.
type instant time.Duration

func (i instant) String() string { return fmt.Sprintf("%.4fs", time.Duration(i).Seconds()) }

// never is the end of an operation that may take effect at any time from its beginning on.
const never = instant(math.MaxInt64)

// outcome is what is known of a write.
type outcome int

const (
	committed outcome = iota // acknowledged
	unknown                  // no answer: it may have happened, or may happen yet
	aborted                  // rolled back: nobody may ever see it
)

func (o outcome) String() string { return []string{"committed", "unknown", "aborted"}[o] }

// write is a version of a register. Each register has one writer, whose versions only grow: the order of the versions is the order
// in which they take effect.
type write struct {
	version      int64
	began, ended instant
	outcome      outcome
}

// observation is a read that must be linearizable.
type observation struct {
	client       int
	version      int64
	began, ended instant
	how          string
}

// register is a row, and what is known of it.
type register struct {
	id int64

	mu   sync.Mutex
	base int64 // the version when the history began, or was last judged
	// Versions above lostFrom up to lostTo were acknowledged, and lost at lostAt.
	lostFrom, lostTo int64
	lostAt           instant
	writes           []*write
	reads            []observation
}

// history is what was written and read.
type history struct {
	origin    time.Time
	registers map[int64]*register
}

func newHistory(ids []int64) *history {
	h := &history{origin: time.Now(), registers: map[int64]*register{}}
	for _, id := range ids {
		h.registers[id] = &register{id: id}
	}
	return h
}

func (h *history) now() instant { return instant(time.Since(h.origin)) }

// begin notes that a version is about to be written; end tells what became of it.
func (h *history) begin(id, version int64) *write {
	r := h.registers[id]
	w := &write{version: version, began: h.now(), ended: never, outcome: unknown}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, w)
	return w
}

func (h *history) end(id int64, w *write, o outcome) {
	r := h.registers[id]
	r.mu.Lock()
	defer r.mu.Unlock()
	w.outcome = o
	if o == committed {
		w.ended = h.now()
	}
}

// floor is the latest version that was acknowledged before an instant.
func (r *register) floor(before instant) int64 {
	for _, w := range slices.Backward(r.writes[:r.begun(before)]) {
		if w.outcome == committed && w.ended < before {
			return w.version
		}
	}
	return r.base
}

// begun is how many writes had begun before an instant.
func (r *register) begun(before instant) int {
	return sort.Search(len(r.writes), func(i int) bool { return r.writes[i].began >= before })
}

// demand is what a read asked for, in the words of the oracle.
type demand struct {
	// linearizable reads see all that was acknowledged before they began.
	linearizable bool
	// within bounds how long ago something may have been acknowledged without being seen. Ignored if negative.
	within time.Duration
	// least is a version that must be seen.
	least int64
}

// staleError is an answer that breaks its promise: what all this is about.
type staleError struct {
	what    string
	history string
}

func (e *staleError) Error() string { return "BROKEN PROMISE: " + e.what + "\n" + e.history }

// judge checks a version that was read.
func (h *history) judge(id, version int64, d demand, seen observation) error {
	r := h.registers[id]
	if r == nil {
		return &staleError{what: fmt.Sprintf("the row %d was read, which nobody has", id)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong := func(format string, args ...any) error {
		return &staleError{
			fmt.Sprintf("row %d, read from %s to %s (%s), showed version %d: ", id, seen.began, seen.ended, seen.how, version) +
				fmt.Sprintf(format, args...), r.tail(),
		}
	}
	if r.isLost(version) {
		if d.linearizable || d.within >= 0 && seen.began > r.lostAt+instant(d.within) {
			return wrong("the database has lost that")
		}
		return nil
	}
	if version > r.base {
		upTo := r.writes[:r.begun(seen.ended)]
		i := sort.Search(len(upTo), func(i int) bool { return upTo[i].version >= version })
		switch {
		case i == len(upTo) || upTo[i].version != version:
			return wrong("nobody had written that by then")
		case upTo[i].outcome == aborted:
			return wrong("it was rolled back")
		}
	}
	if floor := r.floor(seen.began); d.linearizable && version < floor {
		return wrong("STALE: version %d had been acknowledged before", floor)
	}
	if d.within >= 0 {
		if floor := r.floor(seen.began - instant(d.within)); version < floor {
			return wrong("STALE: version %d had been acknowledged %s before", floor, d.within)
		}
	}
	if version < d.least {
		return wrong("STALE: its session has seen or written version %d before", d.least)
	}
	if d.linearizable {
		seen.version = version
		r.reads = append(r.reads, seen)
	}
	return nil
}

// tail is the end of a register's history, for those who have to find out.
func (r *register) tail() string {
	const shown = 12
	var b strings.Builder
	fmt.Fprintf(&b, "  the last writes of row %d (since version %d):\n", r.id, r.base)
	for _, w := range r.writes[max(0, len(r.writes)-shown):] {
		end := w.ended.String()
		if w.ended == never {
			end = "?"
		}
		fmt.Fprintf(&b, "    version %d from %s to %s, %s\n", w.version, w.began, end, w.outcome)
	}
	b.WriteString("  the last linearizable reads:\n")
	for _, o := range r.reads[max(0, len(r.reads)-shown):] {
		fmt.Fprintf(&b, "    version %d from %s to %s by client %d (%s)\n", o.version, o.began, o.ended, o.client, o.how)
	}
	return b.String()
}

// The model that porcupine checks: a register, of which every read shows the last write.
type operation struct {
	write   bool
	version int64
}

var registerModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		op := input.(operation)
		if op.write {
			return true, op.version
		}
		return output.(int64) == state.(int64), state
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		op := input.(operation)
		if op.write {
			return fmt.Sprintf("write %d", op.version)
		}
		return fmt.Sprintf("read %d", output)
	},
}

// checkTimeout bounds the search for an order of one row's operations.
const checkTimeout = time.Minute

// settle has porcupine look for an order that explains what was read; then the history begins anew with what the database says
// now. Nobody may read or write meanwhile. It returns how many reads were judged.
func (h *history) settle(now map[int64]int64) (judged int, err error) {
	for id, r := range h.registers {
		r.mu.Lock()
		result := porcupine.CheckOperationsTimeout(registerModel, r.operations(now[id], h.now()), checkTimeout)
		judged += len(r.reads)
		switch last := r.floor(never); {
		case now[id] < last:
			err = &staleError{fmt.Sprintf("row %d has version %d, and %d was acknowledged: Postgres has lost it", id, now[id], last), r.tail()}
		case result != porcupine.Ok:
			err = &staleError{fmt.Sprintf("the reads of row %d are not linearizable (porcupine: %s)", id, result), r.tail()}
		}
		r.base, r.writes, r.reads = now[id], nil, nil
		r.mu.Unlock()
		if err != nil {
			return judged, err
		}
	}
	return judged, nil
}

// lose lets the history go on with what is left in a database that has lost its newest transactions. What they wrote was true until
// now: a read that may be behind may show it for a while, and no other.
func (h *history) lose(left map[int64]int64) error {
	lost := 0
	for id, r := range h.registers {
		r.mu.Lock()
		r.lostFrom, r.lostTo, r.lostAt = left[id], r.base, h.now()
		if r.base > left[id] {
			lost++
		}
		r.base = left[id]
		r.mu.Unlock()
	}
	if lost == 0 {
		return errors.New("the database has lost nothing")
	}
	return nil
}

// wasLost tells whether a version is one that the database has lost.
func (h *history) wasLost(id, version int64) bool {
	r := h.registers[id]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isLost(version)
}

func (r *register) isLost(version int64) bool { return version > r.lostFrom && version <= r.lostTo }

// operations are those of a register, for porcupine. What is there in the end is a read too: a write that nobody answered, and that
// somebody has seen, must not be gone.
func (r *register) operations(last int64, end instant) []porcupine.Operation {
	ops := []porcupine.Operation{{Input: operation{true, r.base}, Call: -2, Return: -1}}
	for _, w := range r.writes {
		if w.outcome != aborted {
			ops = append(ops, porcupine.Operation{Input: operation{true, w.version}, Call: int64(w.began), Return: int64(w.ended)})
		}
		if w.outcome == committed {
			end = max(end, w.ended+1)
		}
	}
	for _, o := range r.reads {
		ops = append(ops, porcupine.Operation{ClientId: o.client, Input: operation{}, Output: o.version, Call: int64(o.began), Return: int64(o.ended)})
		end = max(end, o.ended+1)
	}
	return append(ops, porcupine.Operation{Input: operation{}, Output: last, Call: int64(end), Return: int64(end)})
}
