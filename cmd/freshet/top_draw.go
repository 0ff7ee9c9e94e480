package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"freshet/cache"
)

// The colours of a terminal, by what they are for.
const (
	styleHead = "\x1b[1m"
	styleSoft = "\x1b[2m"
	styleGood = "\x1b[32m"
	styleBad  = "\x1b[31m"
	styleNone = "\x1b[0m"
)

const (
	// staleAge is when the watermark's age is shown as bad: that of the default bound of reads.
	staleAge = 5
	// topQueriesShown is how many queries are listed.
	topQueriesShown = 8
	// topTable, topKey and topOp are the widths of columns.
	topTable, topKey, topOp = 20, 16, 8
)

// draw shows everything; trouble, if not empty, says why it is old.
func (t *top) draw(trouble string) {
	if t.terminal != nil {
		if width, height, err := term.GetSize(int(t.terminal.Fd())); err == nil && width > 0 && height > 0 {
			t.width, t.height = width, height
		}
	}
	lines := t.lines(trouble)
	var b strings.Builder
	if t.terminal != nil {
		b.WriteString("\x1b[H")
		lines = lines[:min(len(lines), t.height-1)]
	}
	for _, line := range lines {
		b.WriteString(line)
		if t.terminal != nil {
			b.WriteString("\x1b[K") // what was longer before
		}
		b.WriteByte('\n')
	}
	switch {
	case t.terminal != nil:
		b.WriteString("\x1b[J")
	case !t.once:
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(t.out, b.String()) // a screen that is gone shows nothing
}

// lines is the screen.
func (t *top) lines(trouble string) []string {
	s := &t.now
	lines := []string{t.style(styleHead, "freshet top  ") + t.url + "  " + s.At.Local().Format("15:04:05")}
	if trouble != "" {
		lines = append(lines, t.style(styleBad, t.fit(trouble, t.width)))
	}
	age := t.age()
	lines = append(lines, "",
		fmt.Sprintf("reads       %8.0f /s   hit rate %s   hits %d, misses %d, bypasses %d", s.ReadsPerSecond, percentOr(s.HitRatio), s.Hits, s.Misses, s.Bypasses),
		fmt.Sprintf("latency     %s median   %s p99", millisOr(s.P50), millisOr(s.P99)),
		"cleared     "+t.cleared(),
		"watermark   "+age,
		"lag         "+t.lag(),
		fmt.Sprintf("pool        %d of %d connections in use, %d requests wait", s.Pool.InUse, s.Pool.Max, s.Pool.Waiting))
	if t.once && len(t.queries) == 0 {
		return lines
	}
	lines = append(lines, "", t.style(styleSoft, fmt.Sprintf("%-28s %10s %9s %11s %11s", "QUERY, LAST MINUTE", "READS", "HIT RATE", "P50", "P99")))
	for _, q := range t.queries[:min(len(t.queries), topQueriesShown)] {
		lines = append(lines, fmt.Sprintf("%-28s %10d %9s %11s %11s", t.fit(q.Name, 28), q.Reads, percentOr(q.HitRatio), millisOr(q.P50), millisOr(q.P99)))
	}
	if t.once {
		return lines
	}
	lines = append(lines, "", t.style(styleSoft, fmt.Sprintf("%-12s %-*s %-*s %-*s %10s  %s", "COMMITTED", topOp, "CHANGE", topTable, "TABLE", topKey, "KEY", "AFTER", "BUCKETS CLEARED")))
	room := max(0, t.height-1-len(lines))
	for i := range t.changes[:min(len(t.changes), room)] {
		lines = append(lines, t.change(&t.changes[i]))
	}
	if t.dropped > 0 {
		lines = append(lines, fmt.Sprintf("%d steps came too fast to be shown; they were applied", t.dropped))
	}
	return lines
}

func (t *top) change(c *cache.LiveChange) string {
	buckets := strings.Join(c.Buckets, "  ")
	if c.MoreBuckets > 0 {
		buckets += fmt.Sprintf("  and %d more", c.MoreBuckets)
	}
	if buckets == "" {
		buckets = "none"
	}
	line := fmt.Sprintf("%-12s %-*s %-*s %-*s %10s  %s", c.Committed.Local().Format("15:04:05.000"), topOp, c.Op,
		topTable, t.fit(c.Table, topTable), topKey, t.fit(c.Key, topKey), millisOr(&c.Milliseconds), buckets)
	return t.fit(line, t.width)
}

func (t *top) cleared() string {
	c := t.now.CommitToCleared
	if c == nil {
		return "no change in the last minute"
	}
	return fmt.Sprintf("%s median   %s p99   from the commit, of %d changes in the last minute", millisOr(&c.P50), millisOr(&c.P99), c.N)
}

func (t *top) age() string {
	age := t.now.WatermarkAge
	switch {
	case age == nil:
		return t.style(styleBad, "not known")
	case *age > staleAge:
		return t.style(styleBad, fmt.Sprintf("%.1f s behind Postgres", *age))
	}
	ms := *age * 1000
	return t.style(styleGood, millisOr(&ms)+" behind Postgres")
}

func (t *top) lag() string {
	lag := &t.now.Lag
	log := "cdc not known"
	if lag.CDCActive != nil && lag.Slot != nil {
		log = fmt.Sprintf("cdc streams, %d bytes of WAL to confirm", *lag.Slot)
		if !*lag.CDCActive {
			log = t.style(styleBad, fmt.Sprintf("cdc is not connected, %d bytes of WAL wait", *lag.Slot))
		}
	}
	applied := "invalidator not known"
	if lag.Messages != nil {
		applied = fmt.Sprintf("invalidator %d messages behind", *lag.Messages)
		if lag.Seconds != nil {
			applied += fmt.Sprintf(", %.1f s", *lag.Seconds)
		}
	}
	return log + "   " + applied
}

// style colours a text, on a terminal.
func (t *top) style(style, text string) string {
	if t.terminal == nil {
		return text
	}
	return style + text + styleNone
}

// fit cuts a text to so many characters, and takes out what a terminal would obey: keys are data.
func (t *top) fit(text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width-1)]) + "…"
}

func percentOr(ratio *float64) string {
	if ratio == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100**ratio)
}

func millisOr(ms *float64) string {
	if ms == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f ms", *ms)
}
