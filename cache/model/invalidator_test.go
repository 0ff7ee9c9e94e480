package model

// The phases of an invalidator.
const (
	starting  = iota // it is going to read the stored state
	listing          // and then the list of shapes
	running          // it applies the log
	reloaded         // it has read the list of shapes again, for the next message
	compared         // without oneStep: it has compared, and is going to clear
	ending           // there is a gap, or no watermark: it is going to read where the log stands
	relisting        // and then the list of shapes
	beginning        // and then begins a chain
)

var invalidatorNames = [2]string{"invalidator 1", "invalidator 2"}

// invalidate: see Invalidator.session and applier in the package invalidator. A batch is one message here.
func (m *model) invalidate(s *state, i int, yield func(step)) {
	next := *s
	v := &next.invalidators[i]
	do := func(what string) {
		// Where the list of shapes never changes, reading it is no step of its own.
		if !m.registry() && (v.phase == listing || v.phase == relisting) {
			m.list(&next, v)
		}
		yield(step{who: invalidatorNames[i], what: what, next: &next})
	}
	switch v.phase {
	case starting:
		m.load(&next, v)
		do("reads the stored state")
	case listing, relisting:
		m.list(&next, v)
		do("reads the list of shapes")
	case running:
		m.run(&next, v, do)
	case reloaded, compared:
		do(m.script(&next, v))
	case ending:
		v.place, v.phase = m.beginningOf(s), relisting
		if !m.has(placeFirst) {
			v.phase = beginning
		}
		do("reads where the log stands")
	case beginning:
		m.begin(&next, v)
		do("begins a new chain")
	}
	if v := &s.invalidators[i]; s.left.restarts != 0 && v.phase != starting {
		next := *s
		next.left.restarts--
		next.invalidators[i] = invalidator{}
		yield(step{who: "fault", what: "an invalidator is killed and started again", next: &next})
	}
}

// load: Redis.Load. Nothing found: everything must be cleared.
func (m *model) load(s *state, v *invalidator) {
	r := &s.redis
	*v = invalidator{phase: listing, chain: r.chain, stamp: r.stamp, sequence: r.sequence, active: r.active()}
	if r.chain == 0 {
		*v = m.gap(invalidator{})
	}
}

// gap is an invalidator that is going to begin a chain in place of the state that it has.
func (m *model) gap(v invalidator) invalidator {
	v.phase, v.place = ending, 0
	if !m.has(placeFirst) {
		v.phase = relisting
	}
	return v
}

func (m *model) list(s *state, v *invalidator) {
	switch v.phase {
	case listing:
		v.matched, v.phase = m.ready(s.db.visible), running
	case relisting:
		v.listed, v.phase = m.ready(s.db.visible), beginning
		if !m.has(placeFirst) {
			v.phase = ending
		}
	case running:
		v.listed, v.phase = m.ready(s.db.visible), reloaded
	}
}

// run takes the next message.
func (m *model) run(s *state, v *invalidator, do func(string)) {
	if v.sequence < s.log.purged && m.has(gapDetected) {
		*v = m.gap(*v)
		do("finds a gap in the log")
		return
	}
	if m.following(s, v) == s.log.end {
		if m.has(stateCompared) && !m.stored(v, &s.redis) {
			m.moved(s, v)
			do("has nothing to apply but a watermark with a new time, and finds another state stored")
		}
		return
	}
	v.listed = v.matched
	switch msg := s.log.messages[m.following(s, v)]; {
	case m.isRegistry(msg) || msg.kind == messageReset && m.registry():
		m.list(s, v) // rule 5: shapes ride the log
		do("reads the list of shapes for the next message")
	case !m.has(oneStep) && m.stored(v, &s.redis):
		v.phase = compared
		do("compares the stored state, and clears in a second step")
	default:
		do(m.script(s, v))
	}
}

// following is the sequence after which the next message is applied: the invalidator's own, unless it does not mind a gap.
func (m *model) following(s *state, v *invalidator) uint8 {
	if m.has(gapDetected) {
		return v.sequence
	}
	return max(v.sequence, s.log.purged)
}

// stored tells whether the stored state is the one that it wrote or read last (apply.lua). That it is at the same place in the log is
// not enough: before a failover another invalidator may have come there with another list of shapes.
func (m *model) stored(v *invalidator, r *server) bool {
	if !m.has(stampCompared) {
		return v.chain == r.chain && (v.chain == 0 || v.sequence == r.sequence)
	}
	return v.stamp == r.stamp
}

// script: rule 4: compares, clears and advances at once. If the stored state is another one it goes on from there, or loads it.
func (m *model) script(s *state, v *invalidator) (what string) {
	r := &s.redis
	if m.has(stateCompared) && v.phase != compared && !m.stored(v, r) {
		m.moved(s, v)
		return "finds another state stored"
	}
	v.sequence = m.following(s, v)
	msg := s.log.messages[v.sequence]
	v.sequence++
	if msg.kind == messageReset && m.has(resetClears) {
		m.newChain(s, v)
	} else {
		m.clear(s, v, msg)
	}
	v.phase, v.matched, v.active, v.listed = running, v.listed, v.listed, 0
	v.stamp = s.fresh()()
	r.stamp = v.stamp
	r.chain, r.sequence, r.position, r.at = v.chain, v.sequence, msg.position, msg.at
	return "applies a message"
}

// clear: rule 3: clearing is deleting. Shapes get new generations where all of their buckets go, or where they have none.
func (m *model) clear(s *state, v *invalidator, msg message) {
	r, fresh := &s.redis, s.fresh()
	var renew, touched set
	if m.has(comesOrGoes) {
		renew = v.matched ^ v.listed
	}
	if msg.kind != 0 && msg.kind <= maxTransactions {
		t := m.transactions[msg.kind-1]
		touched = t.touches & v.matched
		if t.kind == retire && m.has(interruptRenews) {
			renew |= v.matched // they may be registered again by now, and something was not published in between
		}
		if t.kind == define {
			if m.has(definitionRenewsShapes) {
				renew = v.listed
			}
			if m.has(definitionRenewsCatalog) {
				r.catalog = fresh()
			}
		}
	}
	for i := range r.shapes {
		bit := set(1) << i
		if touched&bit != 0 {
			if m.has(tokenDiesWithBucket) {
				r.tokens[i] = 0
			}
			if i == 0 {
				r.entry = entry{}
			}
		}
		switch {
		case v.listed&bit == 0 && v.active&bit != 0:
			r.shapes[i] = 0 // retired
		case v.listed&bit != 0 && (renew|^v.active)&bit != 0:
			r.shapes[i] = fresh()
		}
	}
}

// newChain: everything is bound to the chain, so that a new one clears everything.
func (m *model) newChain(s *state, v *invalidator) {
	r, fresh := &s.redis, s.fresh()
	v.chain = fresh()
	r.chain, r.catalog = v.chain, fresh()
	for i := range r.shapes {
		r.shapes[i] = 0
		if v.listed&(1<<i) != 0 {
			r.shapes[i] = fresh()
		}
	}
}

// begin stores a new chain, unless somebody was faster. Its position is not known before the next message.
func (m *model) begin(s *state, v *invalidator) {
	r := &s.redis
	if !m.stored(v, r) {
		*v = invalidator{}
		return
	}
	m.newChain(s, v)
	v.stamp = s.fresh()()
	r.stamp = v.stamp
	r.sequence, r.position, r.at = v.place, 0, 0
	v.phase, v.sequence, v.matched, v.active = running, v.place, v.listed, v.listed
	v.listed, v.place = 0, 0
}

// beginningOf is where a new chain begins: just before the last watermark, or at the end of the log where it has none.
func (m *model) beginningOf(s *state) uint8 {
	for at := s.log.end; at > s.log.purged; at-- {
		if s.log.messages[at-1].kind != messageReset {
			return at - 1
		}
	}
	return s.log.end
}

// moved: another invalidator was faster, or the server lost writes: applier.apply.
func (m *model) moved(s *state, v *invalidator) {
	r := &s.redis
	if r.chain == 0 || r.sequence < v.sequence {
		*v = invalidator{}
		return
	}
	read := r.chain != v.chain || r.active()&^v.matched != 0
	for at := v.sequence; at < r.sequence; at++ {
		msg := s.log.messages[at]
		read = read || m.isRegistry(msg) || msg.kind == messageReset
	}
	*v = invalidator{phase: running, chain: r.chain, stamp: r.stamp, sequence: r.sequence, active: r.active(), matched: v.matched}
	if read && m.has(listAgain) {
		v.phase = listing
		if !m.registry() {
			m.list(s, v)
		}
	}
}

// active is the set of shapes with a generation.
func (r *server) active() set {
	var active set
	for i, generation := range r.shapes {
		if generation != 0 {
			active |= 1 << i
		}
	}
	return active
}
