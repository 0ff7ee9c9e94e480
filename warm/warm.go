// Package warm fills a cache that is empty, or that has lost much: it reads from the log what was changed, works out which requests
// those rows matter to, and asks for the answers before users do.
//
// It owns the choice (which pairs of a query and its arguments, in which order), the pace, which spares Postgres, and the state of a
// warm-up that can be gone on with. It must never write to a cache: every answer that it causes to be stored goes through a Reader, in
// this process or behind an api, so that a warm-up beside heavy writes is as safe as any read (rule 2).
package warm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet/events"
	"freshet/query"
)

// Pair is a query and the arguments to ask it with.
type Pair struct {
	Query *query.Query
	Args  query.Args
}

// Asked is what a warm-up is of: a part of the log, and what to make of it. At most one of Since, FromPosition and FromSequence is given;
// without any it is the last two hours, or as much of them as the log has.
type Asked struct {
	// Since is how long ago (2h), a time (2026-02-03T04:05:06Z), or oldest.
	Since string `json:"since,omitempty"`
	// FromPosition is a position of the WAL.
	FromPosition string `json:"from_position,omitempty"`
	// FromSequence is a sequence of the stream.
	FromSequence uint64 `json:"from_sequence,omitempty"`
	// Tables are those whose changes count, TABLE or SCHEMA.TABLE; none: all that the queries read.
	Tables []string `json:"tables,omitempty"`
	// Queries are the names of those to warm; none: all.
	Queries []string `json:"queries,omitempty"`
	// Top is how many pairs to warm at most; 0: DefaultTop.
	Top int `json:"top,omitempty"`
}

const (
	// DefaultTop is how many pairs a warm-up has unless it is said.
	DefaultTop = 10_000
	// MaxTop is how many it can have.
	MaxTop = 1_000_000
	// defaultSince is how far back the log is read.
	defaultSince = 2 * time.Hour
	// oldest stands for the oldest message of the log.
	oldest = "oldest"
)

// Fix makes what is relative to now absolute, so that a warm-up that is gone on with later is of the same part of the log.
func (a *Asked) Fix(now time.Time) error {
	given := 0
	for _, is := range []bool{a.Since != "", a.FromPosition != "", a.FromSequence != 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		return errors.New("since, from-position and from-sequence exclude one another")
	}
	if a.Top == 0 {
		a.Top = DefaultTop
	}
	if a.Top < 1 || a.Top > MaxTop {
		return fmt.Errorf("top must be 1 to %d, not %d", MaxTop, a.Top)
	}
	if a.Since != "" && a.Since != oldest {
		t, err := events.ParseWhen(a.Since, now)
		if err != nil {
			return fmt.Errorf("since: %w, or %s", err, oldest)
		}
		a.Since = t.UTC().Format(time.RFC3339Nano)
	}
	_, err := a.from(now)
	return err
}

// from is where to begin to read.
func (a *Asked) from(now time.Time) (start events.Start, err error) {
	switch {
	case a.FromPosition != "":
		p, err := events.ParsePosition(a.FromPosition)
		if err != nil {
			return start, fmt.Errorf("from-position: %w", err)
		}
		return events.FromPosition(p), nil
	case a.FromSequence != 0:
		return events.FromSequence(a.FromSequence), nil
	case a.Since == oldest:
		return events.FromOldest(), nil
	case a.Since != "":
		t, err := events.ParseWhen(a.Since, now)
		return events.Since(t), err
	}
	return events.Since(now.Add(-defaultSince)), nil
}

// bounded tells whether a beginning was asked for: without one, a log that does not reach back as far is read from its oldest message.
func (a *Asked) bounded() bool { return a.Since != "" || a.FromPosition != "" || a.FromSequence != 0 }

// UnknownError says that there is no table, or no query, of a name.
type UnknownError struct {
	Kind, Name string
	// Known are those that there are.
	Known []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no %s %s; there are %s", e.Kind, e.Name, strings.Join(e.Known, ", "))
}

// Merge joins rankings, each with its best first, into one: the pairs of the first before those of the second, each pair once, top at most.
func Merge(top int, rankings ...[]Pair) []Pair {
	type id struct {
		query *query.Query
		key   string
	}
	seen := map[id]bool{}
	var all []Pair
	for _, p := range slices.Concat(rankings...) {
		one := id{p.Query, p.Args.Key()}
		if len(all) < top && !seen[one] {
			seen[one] = true
			all = append(all, p)
		}
	}
	return all
}
