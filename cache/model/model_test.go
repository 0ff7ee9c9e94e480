package model

import (
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var large = flag.Bool("large", false, "explore the larger configurations")

// With all of the rules, no configuration breaks a promise, and each comes to rest with the cache in use.
func TestProtocol(t *testing.T) {
	var mu sync.Mutex
	total, taken := 0, map[string]int{}
	t.Run("explore", func(t *testing.T) {
		for _, c := range configs() {
			t.Run(c.name, func(t *testing.T) {
				if *large { // one after the other: each takes some GB
					c.larger(&c)
				} else {
					t.Parallel()
				}
				began := time.Now()
				e := explore(newModel(&c, none))
				t.Logf("%s: %d states in %s", c.name, e.count(), time.Since(began).Round(time.Millisecond))
				if e.broken != "" {
					t.Fatalf("%s:\n%s", e.broken, e.trace)
				}
				mu.Lock()
				defer mu.Unlock()
				total += e.count()
				for what, n := range e.taken {
					taken[what] += n
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d states in all", total)
	// A model in which nothing happens keeps every promise.
	for _, what := range everyStep {
		require.NotZero(t, taken[what], "no configuration has a step %q", what)
		delete(taken, what)
	}
	for what := range taken {
		require.True(t, strings.HasPrefix(what, "publishes ") || strings.HasPrefix(what, "passes over "), "step %q is not in everyStep", what)
	}
}

// everyStep lists what must have happened somewhere, but for what is published.
var everyStep = []string{
	"writes", "has its commit record in the WAL", "flushes the WAL", "is visible, and its writer is told",
	"asks which transactions are in progress", "reads the clock", "reads the insert position", "publishes a watermark with a new time",
	"the slot is lost", "makes a new slot", "publishes a reset",
	"reads the stored state", "reads the list of shapes", "reads the list of shapes for the next message", "applies a message",
	"finds another state stored", "finds a gap in the log", "reads where the log stands", "begins a new chain", "an invalidator is killed and started again",
	"has nothing to apply but a watermark with a new time, and finds another state stored",
	"opens bucket A", "opens bucket B", "reads the watermark", "reads bucket A", "reads bucket B", "takes its snapshot", "stores the entry",
	"begins", "takes the insert position", aMiss, aHit, aNoCacheHit, aSharedFill,
	"reads the generation of the catalog", "reads the catalog, and analyzes",
	"catches up", "Redis fails over to the replica", "the stream is purged",
	"bucket A is lost", "bucket B is lost", "the watermark is lost", "everything is lost",
}

// What each rule is for: without it, the configuration breaks a promise.
func TestEachRuleIsNeeded(t *testing.T) {
	t.Parallel()
	const (
		position = "at or below its watermark's position"
		instant  = "visible at its watermark's time"
		noCache  = "a no-cache read lacks"
		rest     = "the shapes that are active are not those that are ready"
	)
	byName := map[string]config{}
	for _, c := range configs() {
		byName[c.name] = c
	}
	tests := []struct {
		name   string
		rule   rule
		config string
		broken string
	}{
		{"rule 1: published before it is visible", visibleBeforePublished, "two buckets, two fillers", position},
		{"rule 2: the snapshot before the tokens", tokensBeforeSnapshot, "two buckets, two fillers", position},
		{"rule 2: only the first bucket's token is compared", everyTokenCompared, "two buckets, two fillers", position},
		{"rule 2: a fill is shared whatever its tokens", sameTokensShared, "a fill is shared", noCache},
		{"rule 2: a lookup reads the buckets before the watermark", watermarkFirst, "lookup step by step", noCache},
		{"rule 3: clearing leaves the token", tokenDiesWithBucket, "two buckets, two fillers", position},
		{"rule 4: nothing is compared", stateCompared, "failover to a replica that lags", position},
		{"rule 4: the place in the log is compared, not the write", stampCompared, "registration, two invalidators, failover", position},
		{"rule 4: comparing and clearing are two steps", oneStep, "failover to a replica that lags", position},
		{"rule 5: running transactions are not awaited", writersAwaited, "registration beside a long transaction", position},
		{"rule 5: cached before the shape is active", activeOnly, "registration beside a long transaction", position},
		{"rule 5: a shape that comes or goes keeps its generation", comesOrGoes, "retired and registered again", position},
		{"rule 5: a shape that was gone for a while keeps its generation", interruptRenews, "retired and registered again", position},
		{"rule 5: who moves up keeps its list of shapes", listAgain, "retired and registered again, two invalidators", position},
		{"definitions: the catalog is read before its generation", generationFirst, "a definition changes the dependencies", position},
		{"definitions: the generation is not compared", analysisCompared, "a definition changes the dependencies", position},
		{"definitions: the shapes keep their generations", definitionRenewsShapes, "a definition changes the result", position},
		{"definitions: the catalog keeps its generation", definitionRenewsCatalog, "a definition changes the dependencies", position},
		{"no-cache: the position is taken before the request", positionAfterRequest, "lookup step by step", noCache},
		{"no-cache: the watermark is not awaited", positionAwaited, "lookup step by step", noCache},
		{"no-cache: the flush position", insertPosition, "visible before flushed", noCache},
		{"time: the flush position", insertPosition, "the watermark's time", instant},
		{"time: the position is read before the clock", clockFirst, "the watermark's time", instant},
		{"time: it counts before the log has reached it", clockBehind, "the watermark's time", instant},
		{"reset: before what was lost is visible", resetAfterVisible, "the slot is lost", position},
		{"reset: clears nothing", resetClears, "the slot is lost", position},
		{"a gap in the log goes unnoticed", gapDetected, "the stream is purged", position},
		{"the list of shapes is read before the place in the log", placeFirst, "a further shape of a table that is in the log", rest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, there := byName[tt.config]
			require.True(t, there, "no configuration %q", tt.config)
			m := newModel(&c, tt.rule)
			m.staleOnly = tt.broken != rest
			e := explore(m)
			require.NotEmpty(t, e.broken, "no violation in %d states", e.count())
			require.Contains(t, e.broken, tt.broken, "%s", e.trace)
			t.Logf("%s (%d states):\n%s", e.broken, e.count(), e.trace)
		})
	}
	t.Run("all of them", func(t *testing.T) {
		tested := map[rule]bool{}
		for _, tt := range tests {
			tested[tt.rule] = true
		}
		for r := none + 1; r < rules; r++ {
			require.True(t, tested[r], "rule %d is not in the table", r)
		}
	})
}
