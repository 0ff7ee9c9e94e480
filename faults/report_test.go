package faults

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// result is what one fault led to.
type result struct {
	counts *counts
	// linearizable is how many reads porcupine judged, compared how many cached answers were compared with the database.
	linearizable, compared int
	// lasted is how long the fault lasted, recovered how long after its end everything worked again.
	lasted, recovered time.Duration
}

func (r result) String() string {
	c := r.counts
	return fmt.Sprintf("lasted %.1f s, back after %.2f s: %d reads (%d hits, %d misses, %d fallbacks, %d stale-if-error), %d linearizable, "+
		"%d writes, %d failed, %d cached answers compared", r.lasted.Seconds(), r.recovered.Seconds(), c.reads.Load(), c.hits.Load(), c.misses.Load(),
		c.bypassed.Load(), c.stale.Load(), r.linearizable, c.writes.Load(), c.failed.Load(), r.compared)
}

// results are those of all runs, in the order of the first.
type results struct {
	lines []*line
}

// line adds up what one fault led to.
type line struct {
	group, fault                                            string
	runs, linearizable                                      int
	reads, hits, misses, fallbacks, stale, writes, failures int64
	recovered                                               time.Duration // the longest
}

func (all *results) add(group, fault string, r result) {
	var l *line
	for _, known := range all.lines {
		if known.group == group && known.fault == fault {
			l = known
		}
	}
	if l == nil {
		l = &line{group: group, fault: fault}
		all.lines = append(all.lines, l)
	}
	c := r.counts
	l.runs++
	l.linearizable += r.linearizable
	l.reads += c.reads.Load()
	l.hits += c.hits.Load()
	l.misses += c.misses.Load()
	l.fallbacks += c.bypassed.Load()
	l.stale += c.stale.Load()
	l.writes += c.writes.Load()
	l.failures += c.failed.Load()
	l.recovered = max(l.recovered, r.recovered)
}

// table is the results in Markdown.
func (all *results) table() string {
	var b strings.Builder
	b.WriteString("| fault | reads | of these judged linearizable | hits | fallbacks | stale-if-error | failed | writes | s to recover | stale |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	var sum line
	for _, l := range all.lines {
		l.row(&b, l.group+": "+l.fault)
		sum.linearizable += l.linearizable
		sum.runs = max(sum.runs, l.runs)
		sum.reads += l.reads
		sum.hits += l.hits
		sum.fallbacks += l.fallbacks
		sum.stale += l.stale
		sum.writes += l.writes
		sum.failures += l.failures
		sum.recovered = max(sum.recovered, l.recovered)
	}
	sum.row(&b, fmt.Sprintf("**all, %d run(s)**", sum.runs))
	return b.String()
}

func (l *line) row(b *strings.Builder, name string) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d | %d | %d | %.2f | 0 |\n", name, l.reads, l.linearizable, l.hits, l.fallbacks, l.stale, l.failures,
		l.writes, l.recovered.Seconds())
}

// The table stands between these lines of the report.
const tableBegins, tableEnds = "<!-- table -->\n", "<!-- end of table -->\n"

// write replaces the table in a file.
func (all *results) write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tableBegins)
	_, after, ended := strings.Cut(rest, tableEnds)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the table: %q and %q", file, tableBegins, tableEnds)
	}
	return os.WriteFile(file, []byte(before+tableBegins+all.table()+tableEnds+after), 0o644)
}
