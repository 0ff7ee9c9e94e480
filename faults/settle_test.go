package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model that porcupine checks: a register, of which every read shows the last write, or that the row is not where it was looked for.
type operation struct {
	write bool
	to    state
	in    place
}

var registerModel = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(now, input, output any) (bool, any) {
		op, at := input.(operation), now.(state)
		if op.write {
			return true, op.to
		}
		if version := output.(int64); version != unseen {
			return version == at.version, now
		}
		return !at.shows(op.in), now
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		op := input.(operation)
		if op.write {
			return fmt.Sprintf("write %d", op.to.version)
		}
		return fmt.Sprintf("read %d", output)
	},
}

// checkTimeout bounds the search for an order of one row's operations.
const checkTimeout = time.Minute

// settle has porcupine look for an order that explains what was read; then it goes on from what the database says now. Nobody may
// read or write meanwhile. It returns how many reads were judged.
func (h *history) settle(now map[int64]state) (judged int, err error) {
	for id, r := range h.registers {
		r.mu.Lock()
		result := porcupine.CheckOperationsTimeout(registerModel, r.operations(now[id], h.now()), checkTimeout)
		judged += len(r.reads)
		switch last := r.floor(never); {
		case now[id].version < last:
			err = &staleError{fmt.Sprintf("row %d has version %d, and %d was acknowledged: Postgres has lost it", id, now[id].version, last), r.tail()}
		case result != porcupine.Ok:
			err = &staleError{fmt.Sprintf("the reads of row %d are not linearizable (porcupine: %s)", id, result), r.tail()}
		}
		if err == nil {
			r.settle(now[id], h.now())
		}
		r.mu.Unlock()
		if err != nil {
			return judged, err
		}
	}
	return judged, nil
}

// operations are those of a register, for porcupine. What is there in the end is a read too: a write that nobody answered, and that
// somebody has seen, must not be gone.
func (r *register) operations(last state, end instant) []porcupine.Operation {
	ops := []porcupine.Operation{{Input: operation{write: true, to: r.settled}, Call: -2, Return: -1}}
	// A write that nobody answered has happened before a later one did, or as well as never: right before that one nobody can have seen
	// it. Were it open for ever, porcupine would have to try it at every place after it.
	latest := never
	for _, w := range slices.Backward(r.writes[r.after(r.settled.version):]) {
		if w.outcome == committed {
			latest = w.ended
			end = max(end, w.ended+1)
		}
		if w.outcome != aborted {
			ops = append(ops, porcupine.Operation{Input: operation{write: true, to: w.state}, Call: int64(w.began), Return: int64(latest)})
		}
	}
	for _, o := range r.reads {
		ops = append(ops, porcupine.Operation{
			ClientId: o.client, Input: operation{in: o.in}, Output: o.version, Call: int64(o.began), Return: int64(o.ended),
		})
		end = max(end, o.ended+1)
	}
	return append(ops, porcupine.Operation{Input: operation{}, Output: last.version, Call: int64(end), Return: int64(end)})
}
