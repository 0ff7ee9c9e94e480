package model

// model is a configuration, perhaps without one of the rules.
type model struct {
	*config
	without rule
	// staleOnly leaves out the check at rest: a cache that is not used any more keeps its promises.
	staleOnly bool
	filling   []action // what a fill does
	reading   []action // what a lookup does
}

func newModel(c *config, without rule) *model {
	m := &model{config: c, without: without}
	m.filling = []action{openA, openB, readMark, readA, readB, snapshot, store}
	if without == tokensBeforeSnapshot {
		m.filling = []action{snapshot, openA, openB, readMark, readA, readB, store}
	}
	m.reading = []action{begin, askPosition, readMark, readA, readB}
	switch without {
	case positionAfterRequest:
		m.reading = []action{askPosition, begin, readMark, readA, readB}
	case watermarkFirst:
		m.reading = []action{begin, askPosition, readA, readB, readMark}
	}
	return m
}

// has tells whether a rule holds in this run.
func (m *model) has(r rule) bool { return m.without != r }

// step is one atomic step: who does what, and the state afterwards. broken says which promise it broke, if it did.
type step struct {
	who, what string
	next      *state
	broken    string
}

// steps yields every step that can be taken.
func (m *model) steps(s *state, yield func(step)) {
	m.writers(s, yield)
	m.clock(s, yield)
	m.publish(s, yield)
	m.slot(s, yield)
	for i := range m.invalidators {
		m.invalidate(s, i, yield)
	}
	m.analyze(s, yield)
	for i := range m.fillers {
		m.fill(s, i, yield)
	}
	if m.reader {
		m.read(s, yield)
	}
	m.faults(s, yield)
}

// start is a cache in use: a chain, the generations of the shapes that are active, no bucket.
func (m *model) start() state {
	var s state
	fresh := s.fresh()
	s.redis.chain, s.redis.stamp, s.redis.catalog = fresh(), fresh(), fresh()
	active := m.ready(0)
	for i := range s.redis.shapes {
		if active&(1<<i) != 0 {
			s.redis.shapes[i] = fresh()
		}
	}
	for i := range m.invalidators {
		s.invalidators[i] = invalidator{phase: running, chain: s.redis.chain, stamp: s.redis.stamp, active: active, matched: active}
	}
	s.api = analysis{depends: m.depends[0], catalog: s.redis.catalog}
	s.left = m.left
	if s.left.failovers != 0 {
		s.replica = s.redis
	}
	m.canonical(&s)
	return s
}

// invariant is checked in every state, as if somebody looked the entry up in one step: it reflects what the watermark says, by its
// position and by its time. It returns the promise that is broken.
//
// When all has been applied, the position is the last one: so an entry that is valid then is what the database holds.
func (m *model) invariant(s *state) string {
	r := &s.redis
	if !r.entry.stored || r.entry.bound.depends != s.api.depends || !m.usable(r, s.api.depends, s.api.catalog) || !m.alive(&r.entry.bound, r) {
		return ""
	}
	return m.judge(s, r.entry.content, r.position, r.at, 0)
}

// judge returns which promise an answer from the cache breaks, if it does.
func (m *model) judge(s *state, content set, position uint8, at, promised set) string {
	switch {
	case m.lacks(content, promised):
		return "a no-cache read lacks what was visible before it began"
	case m.lacks(content, s.db.reflects(position)):
		return "an answer lacks what is at or below its watermark's position"
	case m.lacks(content, at):
		return "an answer lacks what was visible at its watermark's time"
	}
	return ""
}

// aside tells whether a step neither writes nor brings what was written to the cache.
func aside(who string) bool {
	switch who {
	case "reader", "replica", "fault", "analysis", fillerNames[0], fillerNames[1]:
		return true
	}
	return false
}

// settled is checked where only steps aside are left: everything is published and applied, and the shapes that are active are those
// that are ready. It returns what is amiss.
func (m *model) settled(s *state) string {
	switch {
	case s.redis.chain == 0:
		return "nothing more happens, and there is no watermark"
	case s.redis.sequence != s.log.end || s.cdc.sent != s.db.inserts:
		return "nothing more happens, and not everything was applied"
	}
	for i, generation := range s.redis.shapes {
		if m.ready(s.db.visible)&(1<<i) != 0 != (generation != 0) {
			return "nothing more happens, and the shapes that are active are not those that are ready"
		}
	}
	return ""
}

// canonical makes states that differ only in names one: equal processes are put in order, random values are numbered as they come,
// and what can never matter again is dropped.
func (m *model) canonical(s *state) {
	m.drop(s)
	if a, b := &s.fillers[0], &s.fillers[1]; fillerLess(b, a) {
		*a, *b = *b, *a
	}
	if a, b := &s.invalidators[0], &s.invalidators[1]; m.invalidators == 2 && invalidatorLess(b, a) {
		*a, *b = *b, *a
	}
	var number [64]random
	var last random
	s.eachRandom(func(r *random) {
		if *r == 0 {
			return
		}
		if number[*r] == 0 {
			last++
			number[*r] = last
		}
		*r = number[*r]
	})
}

// drop forgets entries that no reader will ever be served, and fills that can only store such an entry: the random values that they
// are bound to are gone from every server, and never come back.
func (m *model) drop(s *state) {
	for _, r := range []*server{&s.redis, &s.replica} {
		if r.entry.stored && !m.alive(&r.entry.bound, r) {
			r.entry = entry{}
		}
	}
	if s.left.failovers == 0 {
		s.replica = server{}
	}
	if m.sharing {
		return // a fill can be of use without its entry
	}
	for i := range s.fillers {
		f := &s.fillers[i]
		if f.step != 0 && m.filled(f) && !m.alive(&f.bound, &s.redis) && (s.replica == server{} || !m.alive(&f.bound, &s.replica)) {
			*f = filler{}
		}
	}
}

func fillerLess(a, b *filler) bool {
	if a.step != b.step {
		return a.step > b.step
	}
	if a.content != b.content {
		return a.content > b.content
	}
	return a.bound.depends > b.bound.depends
}

func invalidatorLess(a, b *invalidator) bool {
	if a.sequence != b.sequence {
		return a.sequence < b.sequence
	}
	if a.phase != b.phase {
		return a.phase < b.phase
	}
	if a.matched != b.matched {
		return a.matched < b.matched
	}
	if a.active != b.active {
		return a.active < b.active
	}
	return a.place < b.place
}
