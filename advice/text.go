package advice

import (
	"fmt"
	"strings"
)

// Text prints findings for a terminal: one paragraph each, the gravest first, as [Findings] sorts them.
func Text(findings []Finding) string {
	if len(findings) == 0 {
		return "Nothing to recommend: every rule was applied, and none found anything.\n"
	}
	var b strings.Builder
	for i, f := range findings {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-8s  %s  [%s", strings.ToUpper(string(f.Severity)), f.Title, f.ID)
		if f.Weight > 0 {
			fmt.Fprintf(&b, ", %s of the requests", percent(f.Weight))
		}
		b.WriteString("]\n")
		for _, fact := range f.Evidence {
			fmt.Fprintf(&b, "          %s: %s\n", fact.Name, oneLine(fact.Text))
		}
		writeIndented(&b, "  do      ", f.Remedy.Text)
		writeIndented(&b, "  run     ", f.Remedy.Code)
	}
	return b.String()
}

// writeIndented writes lines with a label before the first. Control characters, which a table's name may have, do not reach the terminal.
func writeIndented(b *strings.Builder, label, s string) {
	if s = strings.TrimSpace(s); s == "" {
		return
	}
	for line := range strings.SplitSeq(s, "\n") {
		b.WriteString(label + oneLine(line) + "\n")
		label = strings.Repeat(" ", len(label))
	}
}

// oneLine replaces control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
