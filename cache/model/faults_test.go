package model

// faults: what can be lost at any time.
func (m *model) faults(s *state, yield func(step)) {
	if s.left.evictions != 0 {
		m.evict(s, yield)
	}
	if s.left.failovers != 0 && s.replica != s.redis {
		next := *s
		next.replica = s.redis
		yield(step{who: "replica", what: "catches up", next: &next})
		next = *s
		next.left.failovers--
		next.redis = s.replica
		m.cut(&next)
		yield(step{who: "fault", what: "Redis fails over to the replica", next: &next})
	}
	if s.left.purges != 0 && s.log.purged < s.log.end {
		next := *s
		next.left.purges--
		next.log.purged = s.log.end
		yield(step{who: "fault", what: "the stream is purged", next: &next})
	}
}

// evict: Redis may lose any key at any time, or all of them.
func (m *model) evict(s *state, yield func(step)) {
	lose := func(what string, lost func(*server)) {
		next := *s
		lost(&next.redis)
		if next.redis != s.redis {
			next.left.evictions--
			yield(step{who: "fault", what: what, next: &next})
		}
	}
	lose("bucket A is lost", func(r *server) { r.tokens[0], r.entry = 0, entry{} })
	lose("bucket B is lost", func(r *server) { r.tokens[1] = 0 })
	lose("the watermark is lost", func(r *server) { *r = server{tokens: r.tokens, entry: r.entry} })
	lose("everything is lost", func(r *server) { *r = server{} })
}

// cut ends the lookups that are under way: their commands are on one connection, to the server that is gone.
func (m *model) cut(s *state) {
	s.reader = reader{}
	for i := range s.fillers {
		if f := &s.fillers[i]; f.step != 0 && !m.filled(f) {
			*f = filler{}
		}
	}
}
