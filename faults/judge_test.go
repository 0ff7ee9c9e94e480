package faults

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// demand is what a read asked for, in the words of the oracle.
type demand struct {
	// linearizable reads see all that was acknowledged before they began.
	linearizable bool
	// within bounds how long ago something may have been acknowledged without being seen. Ignored if negative.
	within time.Duration
	// least is a version that must be seen.
	least int64
}

// sight is what an answer shows of one row.
type sight struct {
	demand

	id int64
	// version is what was shown; unseen if the row was not there.
	version int64
	// in is where it was looked for: in a group, or anywhere.
	in place

	// What the judge finds: the version that was seen, or the least that it can have been; the owner's transaction that wrote it, 0 for
	// what was there before; and whether the version is one that the database has lost.
	found, turn int64
	lost        bool
}

// staleError is an answer that breaks its promise: what all this is about.
type staleError struct {
	what    string
	history string
}

func (e *staleError) Error() string { return "BROKEN PROMISE: " + e.what + "\n" + e.history }

// judge checks what one answer shows of rows of one owner, all at one moment.
func (h *history) judge(sights []sight, seen observation) error {
	for _, s := range sights {
		if h.registers[s.id] == nil {
			return &staleError{what: fmt.Sprintf("the row %d was read, which nobody has", s.id)}
		}
	}
	o := h.registers[sights[0].id].owner
	o.mu.Lock()
	defer o.mu.Unlock()
	lost := false
	for i := range sights {
		s := &sights[i]
		r := h.registers[s.id]
		if r.owner != o {
			return fmt.Errorf("the rows %d and %d have different owners", sights[0].id, s.id)
		}
		if wrong := r.judge(s, seen); wrong != "" {
			what := fmt.Sprintf("showed version %d", s.version)
			if s.version == unseen {
				what = "did not show it"
			}
			return &staleError{fmt.Sprintf("row %d, read from %s to %s (%s), %s: %s", s.id, seen.began, seen.ended, seen.how, what, wrong), r.tail()}
		}
		lost = lost || s.lost || r.mayShowLost(s, seen)
	}
	if lost || len(sights) == 1 { // of lost versions nobody knows any more when they were there
		return nil
	}
	return h.together(sights, seen)
}

// mayShowLost tells whether an answer may show the row as it was in a version that was lost: one that may be behind, by as much.
func (r *register) mayShowLost(s *sight, seen observation) bool {
	return !s.linearizable && r.lostTo > r.lostFrom && seen.began <= r.lostAt+instant(max(0, s.within))
}

// judge says what is wrong with what was seen of one register; "" if nothing is.
func (r *register) judge(s *sight, seen observation) (wrong string) {
	if r.isLost(s.version) {
		s.found, s.lost = s.version, true
		if s.linearizable || s.within >= 0 && seen.began > r.lostAt+instant(s.within) {
			return "the database has lost that"
		}
		return ""
	}
	why := "its session has seen or written"
	if floor := r.floor(seen.began); s.linearizable && floor >= s.least {
		s.least, why = floor, "had been acknowledged before"
	}
	if s.within >= 0 {
		if floor := r.floor(seen.began - instant(s.within)); floor > s.least {
			s.least, why = floor, fmt.Sprintf("had been acknowledged %s before", s.within)
		}
	}
	if s.version == unseen {
		if wrong = r.judgeUnseen(s, seen, why); wrong != "" {
			return wrong
		}
	} else {
		if wrong = r.judgeShown(s, seen, why); wrong != "" {
			return wrong
		}
	}
	if s.linearizable {
		seen.version, seen.in = s.version, s.in
		r.reads = append(r.reads, seen)
	}
	return ""
}

func (r *register) judgeShown(s *sight, seen observation, why string) string {
	of := r.base
	if s.version > of.version {
		i := r.after(s.version - 1)
		switch {
		case i >= r.begun(seen.ended) || r.writes[i].version != s.version:
			return "nobody had written that by then"
		case r.writes[i].outcome == aborted:
			return "it was rolled back"
		}
		of, s.turn = r.writes[i].state, r.writes[i].turn
	}
	switch s.found = s.version; {
	case s.version == of.version && !of.shows(s.in):
		return fmt.Sprintf("in that version it was in group %d", of.place)
	case s.version < s.least:
		return fmt.Sprintf("STALE: version %d %s", s.least, why)
	}
	return ""
}

func (r *register) judgeUnseen(s *sight, seen observation, why string) string {
	missing := absence{r, []place{s.in}, s.least, unseen}
	for st, turn := range missing.states(seen.ended) {
		s.found, s.turn = st.version, turn
		return ""
	}
	if r.mayShowLost(s, seen) {
		s.lost = true // it may have been elsewhere in a version that was lost
		return ""
	}
	return fmt.Sprintf("STALE: version %d %s, and it was there then and ever since", s.least, why)
}

// absence is that a row was not where it was looked for.
type absence struct {
	*register

	in      []place
	least   int64 // version that must be seen
	version int64 // in which it was seen elsewhere; unseen if it was not
}

// states are those which explain it, from the least one on, of those that had begun before an instant, with the transactions that wrote
// them.
func (a *absence) states(before instant) func(yield func(state, int64) bool) {
	explains := func(s state) bool {
		return s.version >= a.least && (a.version == unseen || a.version == s.version) && !slices.ContainsFunc(a.in, s.shows)
	}
	return func(yield func(state, int64) bool) {
		if explains(a.base) && !yield(a.base, 0) {
			return
		}
		end := a.begun(before)
		for _, w := range a.writes[min(a.after(a.least-1), end):end] {
			if w.outcome != aborted && explains(w.state) && !yield(w.state, w.turn) {
				return
			}
		}
	}
}

// moment is a time at which several things were seen: after the owner's transaction from, and before its transaction until.
type moment struct {
	from, until int64
	// first and last are the sights that bound it.
	first, last int
	shown       []int64 // the transactions that are seen: they have happened, acknowledged or not
	before      instant
}

// together looks for one moment at which all that was seen is true.
func (h *history) together(sights []sight, seen observation) error {
	m := moment{until: math.MaxInt64, before: seen.ended, shown: make([]int64, 0, len(sights))}
	for i := range sights {
		if sights[i].version != unseen {
			m.shown = append(m.shown, sights[i].turn)
		}
	}
	// What was shown is true from the last of these transactions until the first one that changed any of it.
	for i := range sights {
		s := &sights[i]
		if s.turn > m.from {
			m.from, m.first = s.turn, i
		}
		if s.version == unseen {
			continue
		}
		if end := h.registers[s.id].until(s.version, m.shown); end < m.until {
			m.until, m.last = end, i
		}
	}
	missing := h.absences(sights)
	if m.from < m.until && m.allows(missing) {
		return nil
	}
	if m.from < m.until {
		m.last = slices.IndexFunc(sights, func(s sight) bool { return s.version == unseen })
	}
	a, b := &sights[m.last], &sights[m.first]
	return &staleError{
		fmt.Sprintf("read from %s to %s (%s): row %d with version %d and row %d with version %d were never so at one moment (%d: not there)",
			seen.began, seen.ended, seen.how, a.id, a.version, b.id, b.version, unseen), h.registers[a.id].tail() + h.registers[b.id].tail(),
	}
}

// absences are what was not there, by row.
func (h *history) absences(sights []sight) []*absence {
	var all []*absence
	for i := range sights {
		s := &sights[i]
		if s.version != unseen {
			continue
		}
		of := h.registers[s.id]
		if known := slices.IndexFunc(all, func(a *absence) bool { return a.register == of }); known >= 0 {
			all[known].in = append(all[known].in, s.in)
			continue
		}
		a := &absence{of, []place{s.in}, s.least, unseen}
		if j := slices.IndexFunc(sights, func(other sight) bool { return other.id == s.id && other.version != unseen }); j >= 0 {
			a.version = sights[j].version
		}
		all = append(all, a)
	}
	return all
}

// allows tells whether some transaction of the moment left all the rows where they were not looked for.
func (m *moment) allows(missing []*absence) bool {
	if len(missing) == 0 || m.after(m.from, missing) {
		return true
	}
	for _, a := range missing {
		for _, turn := range a.states(m.before) {
			if turn > m.from && turn < m.until && m.after(turn, missing) {
				return true
			}
		}
	}
	return false
}

// after tells whether all of that may have been so after a transaction, and before the next one.
func (m *moment) after(turn int64, missing []*absence) bool {
	for _, a := range missing {
		found := false
		for st, from := range a.states(m.before) {
			if found = from <= turn && turn < a.until(st.version, m.shown); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// until is the transaction that ended a version: the next one of its row that was acknowledged, or that was seen.
func (r *register) until(version int64, shown []int64) int64 {
	for _, w := range r.writes[r.after(version):] {
		if w.outcome == committed || w.outcome == unknown && slices.Contains(shown, w.turn) {
			return w.turn
		}
	}
	return math.MaxInt64
}
