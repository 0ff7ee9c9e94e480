package model

// writers: a transaction writes its commit record, is flushed, and becomes visible. Which of those that are under way at once is
// visible first is not decided by the order in the WAL (ProcArrayEndTransaction in Postgres's procarray.c).
func (m *model) writers(s *state, yield func(step)) {
	for i, t := range m.transactions {
		bit := set(1) << i
		if s.db.written&bit == 0 {
			m.commit(s, i, t, yield)
			continue
		}
		if s.db.visible&bit == 0 && (t.async || s.db.reflects(s.db.flushed)&bit != 0) {
			next := *s
			next.db.visible |= bit
			yield(step{who: t.name, what: "is visible, and its writer is told", next: &next})
		}
	}
	if s.db.flushed < s.db.inserts {
		next := *s
		next.db.flushed = s.db.inserts
		yield(step{who: "Postgres", what: "flushes the WAL", next: &next})
	}
	if !s.db.waiting && m.find(register) != 0 && m.find(register)&^s.db.visible == 0 {
		next := *s
		next.db.waiting = true
		if m.has(writersAwaited) {
			next.db.waitFor = s.db.begun &^ s.db.visible
		}
		yield(step{who: "api", what: "asks which transactions are in progress", next: &next})
	}
}

func (m *model) commit(s *state, i int, t transaction, yield func(step)) {
	bit := set(1) << i
	if t.after&^s.db.visible != 0 || t.kind == activate && m.find(register) != 0 && (!s.db.waiting || s.db.waitFor&^s.db.visible != 0) {
		return
	}
	begun := s.db.begun&bit != 0
	for j, other := range m.transactions {
		if j != i && !begun && other.row == t.row && t.row != 0 && s.db.begun&^s.db.visible&(1<<j) != 0 {
			return // the row is locked
		}
	}
	next := *s
	next.db.begun |= bit
	switch {
	case !begun && !m.member(s):
		next.db.early |= bit
	case t.kind == retire: // what is being written may be published or not
		next.db.early |= s.db.begun &^ s.db.written
	}
	if t.long && !begun {
		yield(step{who: t.name, what: "writes", next: &next})
		return
	}
	next.db.wal[s.db.inserts] = uint8(i)
	next.db.inserts++
	next.db.written |= bit
	if !t.async {
		next.db.flushed = next.db.inserts
	}
	yield(step{who: t.name, what: "has its commit record in the WAL", next: &next})
}

// member tells whether the table is in the publication. It leaves with its last shape (Registry.retire).
func (m *model) member(s *state) bool {
	joins, leaves := m.find(register), m.find(retire)
	if joins != 0 && s.db.written&joins == joins {
		return true
	}
	return (m.published || !m.unregistered) && s.db.written&leaves == 0
}

// clock: cdc ties a time to a position: whatever was visible at the time is at or below the position.
func (m *model) clock(s *state, yield func(step)) {
	probe := s.cdc.probe
	readsClock := probe.step == 0
	if !m.has(clockFirst) {
		readsClock = !readsClock
	}
	next := *s
	p := &next.cdc.probe
	switch {
	case probe.step == 0 && s.left.probes == 0:
	case probe.step == 2:
		if m.probed(s) && next.log.end < maxMessages {
			m.reached(&next)
			next.log.publish(message{messageWatermark, s.cdc.sent, next.cdc.at})
			yield(step{who: "cdc", what: "publishes a watermark with a new time", next: &next})
		}
	case readsClock:
		p.step++
		p.at = s.db.visible
		next.left.probes -= 1 - probe.step
		yield(step{who: "cdc", what: "reads the clock", next: &next})
	default:
		p.step++
		p.position = s.db.inserts
		if !m.has(insertPosition) {
			p.position = s.db.flushed
		}
		next.left.probes -= 1 - probe.step
		yield(step{who: "cdc", what: "reads the insert position", next: &next})
	}
}

// probed tells whether the log has reached the position of the probe.
func (m *model) probed(s *state) bool {
	return s.cdc.probe.step == 2 && (s.cdc.probe.position <= s.cdc.sent || !m.has(clockBehind))
}

// reached takes the time of a probe whose position was reached.
func (m *model) reached(s *state) {
	if m.probed(s) {
		s.cdc.at = s.cdc.probe.at
		s.cdc.probe.step, s.cdc.probe.position, s.cdc.probe.at = 0, 0, 0
	}
}

// publish: cdc publishes the next transaction, and the watermark behind it. (A watermark that comes later says less, no more.) A
// transaction that has nothing in the publication only moves the watermark.
func (m *model) publish(s *state, yield func(step)) {
	if s.cdc.lost || s.cdc.sent == s.db.flushed {
		return
	}
	i := s.db.wal[s.cdc.sent]
	t, bit := m.transactions[i], set(1)<<i
	next := *s
	next.cdc.sent++
	m.reached(&next)
	if early := t.kind == write && s.db.early&bit != 0; early {
		unpublished := next
		unpublished.log.publish(message{messageWatermark, next.cdc.sent, next.cdc.at})
		yield(step{who: "cdc", what: "passes over " + t.name + ", which wrote before its table joined", next: &unpublished})
		if !t.long {
			return
		}
	}
	// Rule 1: visible before published.
	if m.has(visibleBeforePublished) && s.db.visible&bit == 0 {
		return
	}
	next.log.publish(message{i + 1, next.cdc.sent, next.cdc.at})
	yield(step{who: "cdc", what: "publishes " + t.name, next: &next})
}

// slot: the slot is lost, and with it what was not published. A new one begins here, and the log says so.
func (m *model) slot(s *state, yield func(step)) {
	next := *s
	switch {
	case !s.cdc.lost && s.left.resets != 0:
		next.left.resets--
		next.cdc.lost = true
		yield(step{who: "fault", what: "the slot is lost", next: &next})
	case s.cdc.lost && !s.cdc.created:
		next.cdc.created, next.cdc.resume = true, s.db.flushed
		if m.has(resetAfterVisible) {
			next.cdc.resuming = s.db.begun &^ s.db.visible
		}
		yield(step{who: "cdc", what: "makes a new slot", next: &next})
	case s.cdc.lost && s.cdc.resuming&^s.db.visible == 0:
		next.cdc.sent = s.cdc.resume
		next.log.publish(message{kind: messageReset, position: s.cdc.resume})
		next.cdc.lost, next.cdc.created, next.cdc.resume, next.cdc.resuming, next.cdc.at = false, false, 0, 0, 0
		yield(step{who: "cdc", what: "publishes a reset", next: &next})
	}
}
