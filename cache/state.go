package cache

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// State is what the watermark key of a cache holds: how far the log was applied to this very server, and the shapes that are
// active on it. It is written in the same step as the buckets are cleared, so it is always true of the server that holds it,
// also after a failover to a replica that lags or the restore of an old dump (rule 4).
type State struct {
	// Source names the log. A cache belongs to one source.
	Source string
	// Chain is a random value made when everything was cleared. Entries are bound to it, so that a new chain clears
	// everything at once, in one step.
	Chain string
	// Session and Sequence name the last message of the log that was applied.
	Session  string
	Sequence uint64
	// Mark and At are those of the last watermark message that was applied.
	Mark
	At time.Time
	// Stamp is a random value of the write that stored the state. Rule 4 compares it.
	Stamp string
	// Generations has one for each active shape, by its name; see NewGeneration. Entries are bound to those of their shapes: a new
	// one clears all the buckets of a shape. A shape that is not here is not active: nothing may be cached under it (rule 5).
	Generations map[string]string
}

// The fields of the watermark hash.
const (
	fieldSource   = "source"
	fieldChain    = "chain"
	fieldSession  = "session"
	fieldSequence = "sequence"
	fieldPosition = "position"
	fieldTimeline = "timeline"
	fieldStamp    = "stamp"
	fieldAt       = "at" // Unix microseconds by the clock of the Postgres server
	fieldShape    = "shape:"
)

// NewToken returns a random value for a bucket, a chain or a generation.
func NewToken() string { return rand.Text()[:16] }

func unixMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros)
}

// parseState reads the hash; ok is false if it is none of ours (missing, or fields missing or mangled): that is the same as
// no watermark.
func parseState(fields map[string]string) (s State, ok bool) {
	s = State{Source: fields[fieldSource], Chain: fields[fieldChain], Session: fields[fieldSession], Stamp: fields[fieldStamp], Generations: map[string]string{}}
	var err error
	if s.Sequence, err = strconv.ParseUint(fields[fieldSequence], 10, 64); err != nil || s.Chain == "" {
		return State{}, false
	}
	if s.Mark, err = parseMark(fields[fieldTimeline], fields[fieldPosition]); err != nil || s.Stamp == "" {
		return State{}, false
	}
	at, err := strconv.ParseInt(fields[fieldAt], 10, 64)
	if err != nil {
		return State{}, false
	}
	s.At = timeOf(at)
	for name, value := range fields {
		if shape, is := strings.CutPrefix(name, fieldShape); is {
			s.Generations[shape] = value
		}
	}
	return s, true
}

func (s State) String() string {
	return fmt.Sprintf("chain %s, sequence %d, position %s", s.Chain, s.Sequence, s.Mark)
}
