// Package advice turns what is measured into findings: what is slow, coarse, too small or unused, with the numbers that say so and
// the exact remedy.
//
// A rule is a pure function of the [Evidence]; [Postgres] and [Redis] in it are gathered by [GatherPostgres] and [GatherRedis], the
// counters come from whoever serves requests. The package must never change anything: it reads statistics and asks for plans, in
// read-only transactions and in bounded time. And it must never guess: a rule whose numbers are missing finds nothing.
package advice

import (
	"cmp"
	"slices"
	"strings"
)

// Severity says how much a finding matters.
type Severity string

// The severities.
const (
	Info     Severity = "info"     // could be better
	Warning  Severity = "warning"  // costs requests time now, or will soon
	Critical Severity = "critical" // what is promised is not kept, or is about to break
)

// rank orders severities: the gravest first.
func (s Severity) rank() int {
	switch s {
	case Critical:
		return 0
	case Warning:
		return 1
	}
	return 2
}

// Finding is something to be done, why, and how.
type Finding struct {
	// ID names the rule that found it, such as hit-rate.cleared. docs/operations.md has a paragraph for each.
	ID string `json:"id"`
	// Subject is what it is about: the name of a query, schema.table, an index, a slot; pool, redis or log.
	Subject  string   `json:"subject"`
	Severity Severity `json:"severity"`
	// Title is one sentence for people.
	Title string `json:"title"`
	// Evidence are the facts that it rests on; at least one of them is a number.
	Evidence []Fact `json:"evidence"`
	Remedy   Remedy `json:"remedy"`
	// Weight is the share of all requests that it concerns, 0 to 1.
	Weight float64 `json:"weight"`
}

// Remedy is what to do about a finding.
type Remedy struct {
	// Text says what to do, and what else it does.
	Text string `json:"text"`
	// Code is what to run or to write, ready to be pasted: SQL, a Redis command, a setting, or lines of a query file. It may be
	// empty where there is no such thing.
	Code string `json:"code,omitempty"`
}

// rules are all rules. Each looks at one thing, and finds nothing where its numbers are missing.
var rules = []func(*Evidence) []Finding{
	hitRate, idleTTL,
	coarseShapes,
	missingIndex, invalidIndex, unusedIndex, oldStatistics,
	busyPool, slowQueries, slowStatements,
	slots, lag,
	memory, evictionPolicy,
}

// Findings applies every rule. The gravest findings come first, and of one severity those that concern most requests.
func Findings(e *Evidence) []Finding {
	all := []Finding{} // not nil: in JSON it is a list, also when it is empty
	for _, rule := range rules {
		all = append(all, rule(e)...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.rank(), b.Severity.rank()), cmp.Compare(b.Weight, a.Weight),
			strings.Compare(a.ID, b.ID), strings.Compare(a.Subject, b.Subject))
	})
	return all
}
