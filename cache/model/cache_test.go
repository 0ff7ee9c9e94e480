package model

// action is one step of a fill or of a lookup: a command of Redis, or a question to Postgres.
type action uint8

const (
	openA       action = iota // HSETNX of a token in bucket A
	openB                     // the same in B
	readMark                  // HMGET of the watermark
	readA                     // HMGET of bucket A: its token, and the entry
	readB                     // HMGET of bucket B: its token
	snapshot                  // the statement begins
	store                     // HSET of the entry
	begin                     // a request arrives
	askPosition               // pg_current_wal_insert_lsn()
)

var actionNames = [...]string{
	openA: "opens bucket A", openB: "opens bucket B", readMark: "reads the watermark", readA: "reads bucket A", readB: "reads bucket B",
	snapshot: "takes its snapshot", store: "stores the entry", begin: "begins", askPosition: "takes the insert position",
}

var fillerNames = [2]string{"filler 1", "filler 2"}

// fill: a miss (Reader.miss). It reads the tokens of the buckets, making those that are missing, then runs the SQL, then stores.
func (m *model) fill(s *state, i int, yield func(step)) {
	if s.fillers[i].step == 0 && (s.left.fills == 0 || i == 1 && m.fillers == 2 && s.fillers[0].step == 0) {
		return // the two are alike: the first begins
	}
	next := *s
	f := &next.fillers[i]
	if f.step == 0 {
		next.left.fills--
		f.catalog, f.bound.depends = s.api.catalog, s.api.depends
	}
	what := m.filling[f.step]
	f.step++
	switch what {
	case openA, openB:
		if t := &next.redis.tokens[what-openA]; *t == 0 {
			*t = s.fresh()()
		}
	case readMark:
		f.bound.chain, f.bound.shapes = s.redis.chain, m.masked(s.redis.shapes, f.bound.depends)
		if !m.usable(&s.redis, f.bound.depends, f.catalog) {
			*f = filler{} // answered from Postgres, not stored
		}
		f.catalog = 0
	case readA, readB:
		f.bound.tokens[what-readA] = s.redis.tokens[what-readA]
		if s.redis.tokens[what-readA] == 0 {
			*f = filler{} // cleared while it was being opened: the entry would never be served
		}
	case snapshot:
		f.content = s.db.visible
	case store:
		next.redis.entry = entry{stored: true, content: f.content, bound: f.bound}
		*f = filler{}
	}
	for f.step != 0 && f.bound.depends&bucketB == 0 && (m.filling[f.step] == openB || m.filling[f.step] == readB) {
		f.step++
	}
	yield(step{who: fillerNames[i], what: actionNames[what], next: &next})
}

// filled tells whether everything that the entry is bound to was read.
func (m *model) filled(f *filler) bool {
	return m.filling[f.step] == store || m.filling[f.step] == snapshot && m.has(tokensBeforeSnapshot)
}

// read: a lookup (Reader.Get), for a request of any kind at once: what a no-cache request was promised counts if the watermark
// satisfies it, what the watermark's position and time say counts always.
func (m *model) read(s *state, yield func(step)) {
	next := *s
	r := &next.reader
	if r.step == 0 {
		r.catalog, r.bound.depends, r.usable = s.api.catalog, s.api.depends, true
	}
	what := m.reading[r.step]
	r.step++
	switch what {
	case begin:
		r.promised = s.db.visible
	case askPosition:
		r.need = s.db.inserts
		if !m.has(insertPosition) {
			r.need = s.db.flushed
		}
	case readMark:
		r.bound.chain, r.bound.shapes = s.redis.chain, m.masked(s.redis.shapes, r.bound.depends)
		r.position, r.at, r.usable = s.redis.position, s.redis.at, m.usable(&s.redis, r.bound.depends, r.catalog)
		if m.has(positionAwaited) && r.position < r.need {
			r.promised = 0 // no answer to a no-cache request
		}
		r.need, r.catalog = 0, 0
	case readA:
		r.bound.tokens[0], r.entry = s.redis.tokens[0], s.redis.entry
	case readB:
		r.bound.tokens[1] = s.redis.tokens[1]
	}
	for int(r.step) < len(m.reading) && r.bound.depends&bucketB == 0 && m.reading[r.step] == readB {
		r.step++
	}
	label, broken := actionNames[what], ""
	if int(r.step) == len(m.reading) {
		label, broken = m.answer(s, r)
		*r = reader{}
	} else if m.hopeless(r, what) {
		*r = reader{}
	}
	yield(step{who: "reader", what: label, next: &next, broken: broken})
}

// hopeless tells whether a lookup cannot end in an answer from the cache any more.
func (m *model) hopeless(r *reader, last action) bool {
	switch last {
	case readMark:
		return !r.usable
	case readA:
		return !m.sharing && !r.entry.stored
	}
	return false
}

// How a lookup ends.
const (
	aMiss       = "has read everything: a miss"
	aHit        = "has read everything: a hit"
	aNoCacheHit = "has read everything: a hit, for a no-cache request too"
	aSharedFill = "has read everything: a miss, and shares a fill that is under way"
)

// answer ends a lookup, and returns the promise that an answer from the cache breaks. A miss that has read the same tokens as a fill
// that is under way shares that fill: it is as fresh as a hit.
func (m *model) answer(s *state, r *reader) (label, broken string) {
	if !r.usable {
		return aMiss, ""
	}
	if r.entry.stored && m.same(&r.entry.bound, &r.bound) {
		label = aHit
		if r.promised != 0 {
			label = aNoCacheHit
		}
		return label, m.judge(s, r.entry.content, r.position, r.at, r.promised)
	}
	label = aMiss
	for i := range s.fillers {
		f := &s.fillers[i]
		if !m.sharing || f.step == 0 || m.filling[f.step] != store || m.has(sameTokensShared) && !m.same(&f.bound, &r.bound) {
			continue
		}
		label = aSharedFill
		if broken := m.judge(s, f.content, r.position, r.at, r.promised); broken != "" {
			return label, broken
		}
	}
	return label, ""
}

// usable tells whether the cache may be used for a query: there is a watermark, the query's shapes are active, and its analysis is of
// the catalog's generation (Reader.unusable).
func (m *model) usable(r *server, depends set, catalog random) bool {
	return r.chain != 0 && (depends&^r.active() == 0 || !m.has(activeOnly)) && (catalog == r.catalog || !m.has(analysisCompared))
}

// alive tells whether everything that an entry is bound to is there: rule 2.
func (m *model) alive(b *bound, r *server) bool {
	now := bound{b.depends, r.chain, m.masked(r.shapes, b.depends), m.masked(r.tokens, b.depends)}
	return m.same(b, &now)
}

func (m *model) same(a, b *bound) bool {
	if a.depends != b.depends || a.chain != b.chain || a.chain == 0 || a.shapes != b.shapes || a.tokens[0] != b.tokens[0] || a.tokens[0] == 0 {
		return false
	}
	if m.has(activeOnly) && (a.shapes[0] == 0 || a.depends&bucketB != 0 && a.shapes[1] == 0) {
		return false
	}
	if !m.has(everyTokenCompared) {
		return true
	}
	return a.tokens[1] == b.tokens[1] && (a.depends&bucketB == 0 || a.tokens[1] != 0)
}

// masked leaves what belongs to the buckets that are depended on.
func (m *model) masked(values [2]random, depends set) [2]random {
	for i := range values {
		if depends&(1<<i) == 0 {
			values[i] = 0
		}
	}
	return values
}

// analyze: the api analyzes the query again when the generation of the catalog is not that of its analysis any more, and now and then.
func (m *model) analyze(s *state, yield func(step)) {
	next := *s
	a := &next.api
	switch {
	case !a.busy && (s.redis.chain == 0 || s.redis.catalog == a.catalog && m.find(define) == 0):
	case !a.busy && m.has(generationFirst):
		a.busy, a.held = true, s.redis.catalog
		yield(step{who: "analysis", what: "reads the generation of the catalog", next: &next})
	case !a.busy:
		a.busy, a.heldDeps = true, m.definition(s.db.visible)
		yield(step{who: "analysis", what: "reads the catalog", next: &next})
	case m.has(generationFirst):
		*a = analysis{depends: m.definition(s.db.visible), catalog: a.held}
		yield(step{who: "analysis", what: "reads the catalog, and analyzes", next: &next})
	default:
		*a = analysis{depends: a.heldDeps, catalog: s.redis.catalog}
		yield(step{who: "analysis", what: "reads the generation of the catalog, and analyzes", next: &next})
	}
}
