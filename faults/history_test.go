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
)

// instant is a time on the monotonic clock, since the history began.
type instant time.Duration

func (i instant) String() string { return fmt.Sprintf("%.4fs", time.Duration(i).Seconds()) }

// never is the end of an operation that may take effect at any time from its beginning on.
const never = instant(math.MaxInt64)

// place is the group of a row.
type place int

const (
	nowhere  place = -1 // the row is deleted
	anywhere place = -2 // of a read: it asks for the row by its key
)

// state is a version of a register, and where the row is then.
type state struct {
	version int64
	place   place
}

// shows tells whether a read that looks there finds the row.
func (s state) shows(in place) bool {
	return s.place == in || in == anywhere && s.place != nowhere
}

// outcome is what is known of a write.
type outcome int

const (
	committed outcome = iota // acknowledged
	unknown                  // no answer: it may have happened, or may happen yet
	aborted                  // rolled back: nobody may ever see it
)

func (o outcome) String() string { return []string{"committed", "unknown", "aborted"}[o] }

// write is a version of a register. Each register has one owner, whose versions only grow: the order of the versions is the order
// in which they take effect.
type write struct {
	state

	turn         int64 // of the transaction, among those of the owner
	began, ended instant
	outcome      outcome
}

// observation is a read that must be linearizable.
type observation struct {
	client int
	// version is what was shown; unseen if the row was not there.
	version      int64
	in           place
	began, ended instant
	how          string
}

// unseen is the version of a row that a read did not find.
const unseen = -1

// owner writes registers, one transaction after the other: whatever is seen of them at one moment is what the first so many of its
// transactions have left.
type owner struct {
	// mu guards the registers too.
	mu   sync.Mutex
	turn int64
}

// register is a row, and what is known of it.
type register struct {
	id int64
	*owner

	base    state // when the history began
	settled state // when it was last judged
	// Versions above lostFrom up to lostTo were acknowledged, and lost at lostAt.
	lostFrom, lostTo int64
	lostAt           instant
	writes           []*write // since the history began: a read that may be behind may show one of before it was judged
	reads            []observation
}

// history is what was written and read.
type history struct {
	origin    time.Time
	registers map[int64]*register
}

func newHistory() *history { return &history{origin: time.Now(), registers: map[int64]*register{}} }

// own gives an owner its rows, which are there already. It is not called once somebody reads or writes.
func (h *history) own(rows map[int64]place) {
	o := &owner{}
	for id, at := range rows {
		h.registers[id] = &register{id: id, owner: o, base: state{place: at}, settled: state{place: at}}
	}
}

func (h *history) now() instant { return instant(time.Since(h.origin)) }

// transaction is a change of some registers of one owner.
type transaction struct {
	owner *owner
	of    map[int64]*write
}

// begin notes that registers are about to be changed in one transaction; end tells what became of it.
func (h *history) begin(to map[int64]state) *transaction {
	tx := &transaction{of: map[int64]*write{}}
	for id := range to {
		tx.owner = h.registers[id].owner
	}
	tx.owner.mu.Lock()
	defer tx.owner.mu.Unlock()
	tx.owner.turn++
	began := h.now()
	for id, s := range to {
		w := &write{state: s, turn: tx.owner.turn, began: began, ended: never, outcome: unknown}
		tx.of[id] = w
		h.registers[id].writes = append(h.registers[id].writes, w)
	}
	return tx
}

func (h *history) end(tx *transaction, o outcome) {
	tx.owner.mu.Lock()
	defer tx.owner.mu.Unlock()
	now := h.now()
	for _, w := range tx.of {
		w.outcome = o
		if o == committed {
			w.ended = now
		}
	}
}

// floor is the latest version that was acknowledged before an instant.
func (r *register) floor(before instant) int64 {
	for _, w := range slices.Backward(r.writes[:r.begun(before)]) {
		if w.outcome == committed && w.ended < before {
			return w.version
		}
	}
	return r.base.version
}

// begun is how many writes had begun before an instant.
func (r *register) begun(before instant) int {
	return sort.Search(len(r.writes), func(i int) bool { return r.writes[i].began >= before })
}

// after is the first write of a later version.
func (r *register) after(version int64) int {
	return sort.Search(len(r.writes), func(i int) bool { return r.writes[i].version > version })
}

// tail is the end of a register's history, for those who have to find out.
func (r *register) tail() string {
	const shown = 12
	var b strings.Builder
	fmt.Fprintf(&b, "  the last writes of row %d (since version %d in group %d):\n", r.id, r.settled.version, r.settled.place)
	for _, w := range r.writes[max(0, len(r.writes)-shown):] {
		end, where := w.ended.String(), fmt.Sprintf("in group %d", w.place)
		if w.ended == never {
			end = "?"
		}
		if w.place == nowhere {
			where = "deleted"
		}
		fmt.Fprintf(&b, "    version %d (%s) from %s to %s, %s, in the owner's transaction %d\n", w.version, where, w.began, end, w.outcome, w.turn)
	}
	b.WriteString("  the last linearizable reads:\n")
	for _, o := range r.reads[max(0, len(r.reads)-shown):] {
		fmt.Fprintf(&b, "    version %d from %s to %s by client %d (%s)\n", o.version, o.began, o.ended, o.client, o.how)
	}
	return b.String()
}

// settle lets the history go on from what is there. A write that nobody answered is known to have happened then, if that is its version.
func (r *register) settle(now state, at instant) {
	r.settled, r.reads = now, nil
	if i := r.after(now.version - 1); i < len(r.writes) && r.writes[i].version == now.version && r.writes[i].outcome == unknown {
		r.writes[i].outcome, r.writes[i].ended = committed, at
	}
}

// lose lets the history go on with what is left in a database that has lost its newest transactions. What they wrote was true until
// now: a read that may be behind may show it for a while, and no other.
func (h *history) lose(left map[int64]state) error {
	lost := 0
	for id, r := range h.registers {
		r.mu.Lock()
		r.lostFrom, r.lostTo, r.lostAt = left[id].version, r.settled.version, h.now()
		if r.lostTo > r.lostFrom {
			lost++
		}
		r.writes = r.writes[:r.after(left[id].version)]
		r.settle(left[id], r.lostAt)
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
