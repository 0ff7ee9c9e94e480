package model

import (
	"fmt"
	"strings"
)

// Bounds of a configuration: they size the arrays of the state.
const (
	maxTransactions = 6
	maxMessages     = 8
)

// set is a set of transactions (bit i is the configuration's transaction i) or of buckets (bit 0 is A, bit 1 is B).
type set = uint8

// random is a value that the code draws at random: a chain, a generation or a token; 0 is none. Random values are only ever
// compared, so that states which differ in nothing but their names are one state; see canonical.
type random = uint8

// The two buckets that an entry can depend on, each of a shape of its own.
const (
	bucketA = 1 << iota // the entry is stored here: it is the first tag
	bucketB
	both = bucketA | bucketB
)

// state is everything that matters at one moment, in one comparable value. What is not in use is 0.
type state struct {
	db    database
	cdc   cdc
	log   stream
	redis server
	// replica is what redis was when it was last copied: failing over to it takes redis back there.
	replica      server
	invalidators [2]invalidator
	api          analysis
	fillers      [2]filler
	reader       reader
	left         budget
}

// database is Postgres. A transaction has its place in the WAL, its position, from the moment of its commit record; positions
// count from 1.
type database struct {
	begun   set // has written; known only of transactions that are long
	early   set // wrote when its table was not in the publication, or may have
	written set // its commit record is in the WAL
	visible set // to new snapshots. Its writer is told at the same moment: the earliest that is possible, the strongest promise
	wal     [maxTransactions]uint8
	inserts uint8 // the insert position: commit records in the WAL
	flushed uint8 // the flush position: what a walsender may send
	waiting bool  // the api has registered and has asked which transactions are in progress
	waitFor set   // those
}

// cdc is the process that publishes.
type cdc struct {
	sent uint8 // the position up to which everything is in the log
	at   set   // the time of the next watermark, as the set of what was visible then
	// probe ties a time to a position. step counts what was read of it: the clock, then the insert position.
	probe struct {
		step, position uint8
		at             set
	}
	lost     bool // the slot is gone
	created  bool // a new one begins at resume
	resume   uint8
	resuming set // what was in progress then, and must be visible before the reset is published
}

// Messages of the log: a transaction is its number + 1, with the watermark that follows it.
const (
	messageWatermark = maxTransactions + 1 + iota
	messageReset
)

type message struct {
	kind     uint8
	position uint8
	at       set
}

// stream is the log. Sequences count from 1; messages up to purged are gone.
type stream struct {
	messages    [maxMessages]message
	end, purged uint8
}

// bound is what an entry is bound to, as far as it was read.
type bound struct {
	depends set // the buckets
	chain   random
	shapes  [2]random // generations
	tokens  [2]random
}

// entry is a query result. content is its snapshot: the transactions that it reflects.
type entry struct {
	stored  bool
	content set
	bound   bound
}

// server is one Redis: the watermark hash, and the two buckets.
type server struct {
	chain    random // 0: there is no watermark
	stamp    random // of the write that stored the watermark
	shapes   [2]random
	catalog  random // the generation of the definitions
	sequence uint8
	position uint8
	at       set
	tokens   [2]random
	entry    entry // in bucket A
}

// invalidator is the state that it wrote or read last, and the shapes that it matches.
type invalidator struct {
	phase    uint8
	chain    random
	stamp    random // 0: there was no watermark
	sequence uint8
	active   set // the shapes with a generation in that state
	matched  set // the shapes that it matches changes to
	listed   set // the shapes that were read for the next step
	place    uint8
}

// analysis is what the api knows of the query's dependencies.
type analysis struct {
	depends set
	catalog random // the generation that it is bound to
	// Being made: what was read first, of the two.
	busy     bool
	held     random
	heldDeps set
}

// filler is a miss that is being filled. step counts the actions of model.filling that are done.
type filler struct {
	step    uint8
	catalog random // of the analysis, until it was compared
	content set
	bound   bound
}

// reader is a request that looks an entry up. step counts the actions of model.reading that are done.
type reader struct {
	step     uint8
	catalog  random
	promised set   // what its writers had been told when the request began: for no-cache
	need     uint8 // the insert position that was taken for it
	position uint8 // of the watermark
	at       set
	usable   bool
	bound    bound
	entry    entry
}

// budget is how often what could go on for ever may still happen.
type budget struct {
	fills, evictions, failovers, resets, purges, probes, restarts uint8
}

// eachRandom visits every random value, always in the same order.
func (s *state) eachRandom(visit func(*random)) {
	s.redis.eachRandom(visit)
	s.replica.eachRandom(visit)
	for i := range s.invalidators {
		visit(&s.invalidators[i].chain)
		visit(&s.invalidators[i].stamp)
	}
	visit(&s.api.catalog)
	visit(&s.api.held)
	for i := range s.fillers {
		visit(&s.fillers[i].catalog)
		s.fillers[i].bound.eachRandom(visit)
	}
	visit(&s.reader.catalog)
	s.reader.bound.eachRandom(visit)
	s.reader.entry.bound.eachRandom(visit)
}

func (r *server) eachRandom(visit func(*random)) {
	visit(&r.chain)
	visit(&r.stamp)
	visit(&r.shapes[0])
	visit(&r.shapes[1])
	visit(&r.catalog)
	visit(&r.tokens[0])
	visit(&r.tokens[1])
	r.entry.bound.eachRandom(visit)
}

func (b *bound) eachRandom(visit func(*random)) {
	visit(&b.chain)
	visit(&b.shapes[0])
	visit(&b.shapes[1])
	visit(&b.tokens[0])
	visit(&b.tokens[1])
}

// fresh returns a maker of random values that are nowhere yet.
func (s *state) fresh() func() random {
	var last random
	s.eachRandom(func(r *random) { last = max(last, *r) })
	return func() random {
		last++
		return last
	}
}

// reflects is the set of the transactions at or below a position.
func (d *database) reflects(position uint8) set {
	var s set
	for _, t := range d.wal[:position] {
		s |= 1 << t
	}
	return s
}

func (l *stream) publish(m message) {
	l.messages[l.end] = m
	l.end++
}

// describe prints what a person needs to follow a trace.
func (s *state) describe(c *config) string {
	const indent = "         "
	var b strings.Builder
	fmt.Fprintf(&b, "%sWAL %s, visible %s; log %d to %d, position %d\n", indent, c.order(s.db.wal[:s.db.inserts]), c.names(s.db.visible),
		s.log.purged+1, s.log.end, s.cdc.sent)
	fmt.Fprintf(&b, "%sRedis: %s\n", indent, s.redis.describe(c))
	if s.replica != (server{}) && s.replica != s.redis {
		fmt.Fprintf(&b, "%sreplica: %s\n", indent, s.replica.describe(c))
	}
	return b.String()
}

func (r *server) describe(c *config) string {
	var b strings.Builder
	if r.chain == 0 {
		b.WriteString("no watermark")
	} else {
		fmt.Fprintf(&b, "sequence %d, position %d, at %s, chain #%d, shapes %v, catalog #%d", r.sequence, r.position, c.names(r.at), r.chain,
			named(r.shapes), r.catalog)
	}
	fmt.Fprintf(&b, "; tokens %v", named(r.tokens))
	if e := r.entry; e.stored {
		fmt.Fprintf(&b, "; an entry that reflects %s, bound to #%d %v %v", c.names(e.content), e.bound.chain, named(e.bound.shapes), named(e.bound.tokens))
	}
	return b.String()
}

// named prints random values: numbers, given anew in each state.
func named(values [2]random) string {
	var names [2]string
	for i, v := range values {
		names[i] = "-"
		if v != 0 {
			names[i] = fmt.Sprintf("#%d", v)
		}
	}
	return names[0] + " " + names[1]
}
