package cache

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"freshet/events"
)

// Mark is a place in the history of a database: a position, and the timeline that it is on. After a failover to a server that lacked
// the last transactions, positions are given out a second time; only those of one timeline can be compared.
type Mark struct {
	// Timeline is 0 if it is not known.
	Timeline uint32
	Position events.Position
}

// Unreached is a mark that no cache ever reaches: it stands for one that nobody knows. Who asks for it is answered by Postgres.
var Unreached = Mark{Position: math.MaxUint64}

// Reachable is false of a mark that no cache will reach: an unknown one, or one of a server that has crashed and that the log does not
// follow yet.
func (m Mark) Reachable() bool {
	return m.Position != Unreached.Position && m.Timeline != noTimeline
}

// noTimeline is postgres.NoTimeline.
const noTimeline = math.MaxUint32

// String is 0/16B3748 on the first timeline, and on others 0/16B3748;timeline=2.
func (m Mark) String() string {
	if m.Timeline <= 1 {
		return m.Position.String()
	}
	return m.Position.String() + timelineParameter + strconv.FormatUint(uint64(m.Timeline), 10)
}

const timelineParameter = ";timeline="

// ParseMark is the inverse of String. A position without a timeline is compared as if it were on whatever timeline the cache is.
func ParseMark(text string) (Mark, error) {
	position, timeline, given := strings.Cut(strings.TrimSpace(text), ";")
	if !given {
		return parseMark("", position)
	}
	timeline, ok := strings.CutPrefix(strings.TrimSpace(timeline), "timeline=")
	if !ok || timeline == "" {
		return Mark{}, fmt.Errorf("position %q: behind the semicolon only timeline=N may stand", text)
	}
	return parseMark(timeline, strings.TrimSpace(position))
}

func parseMark(timeline, position string) (m Mark, err error) {
	if timeline != "" {
		n, err := strconv.ParseUint(timeline, 10, 32)
		if err != nil {
			return Mark{}, fmt.Errorf("timeline %q is no number", timeline)
		}
		m.Timeline = uint32(n)
	}
	m.Position, err = events.ParsePosition(position)
	return m, err
}

// Reached tells whether a cache that has applied everything up to m has applied what other stands for. A later timeline is not
// compared: what was acknowledged on it may have positions below those of the one before.
func (m Mark) Reached(other Mark) bool {
	if !other.Reachable() || other.Timeline > m.Timeline && m.Timeline != 0 {
		return false
	}
	return m.Position >= other.Position
}

// On is a mark that may have been given without its timeline, as one on the timeline of the primary, whose WAL ends at end. A cache
// that is still on the timeline before a failover would otherwise seem to have passed positions of the one after it.
func (m Mark) On(end Mark) Mark {
	if m.Timeline == 0 {
		m.Timeline = end.Timeline
	}
	return m
}

// before tells whether m is of an earlier timeline than other.
func (m Mark) before(other Mark) bool { return m.Timeline != 0 && m.Timeline < other.Timeline }

// alongside tells whether both are of one timeline, as far as is known.
func (m Mark) alongside(other Mark) bool {
	return m.Timeline == 0 || other.Timeline == 0 || m.Timeline == other.Timeline
}

// Max is the later of two marks. Whoever has reached it has reached both, except that a mark of an earlier timeline gives way: what
// it stands for was lost in the failover, or is below every position of the later timeline. If a timeline is not known, there
// is no telling, and the larger position counts.
func (m Mark) Max(other Mark) Mark {
	switch {
	case m.Position == 0:
		return other
	case other.Position == 0:
		return m
	case m.Timeline == 0 || other.Timeline == 0 || m.Timeline == other.Timeline:
		return Mark{max(m.Timeline, other.Timeline), max(m.Position, other.Position)}
	case m.Timeline > other.Timeline:
		return m
	}
	return other
}
