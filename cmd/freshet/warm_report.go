package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"freshet/warm"
)

// shownPairs is how many pairs a dry run prints as text; as JSON it is all of them.
const shownPairs = 20

// print prints the result; pairs are those of a dry run.
func (w *warming) print(out io.Writer, pairs []warm.Pair) error {
	w.report.Seconds = time.Since(w.began).Seconds()
	if w.report.Failed == nil {
		w.report.Failed = map[string]int64{}
	}
	for _, p := range pairs {
		path, ok := p.Args.URL()
		if !ok {
			path = p.Args.Key()
		}
		w.report.List = append(w.report.List, warmPair{p.Query.Name, path})
	}
	if w.format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(w.report)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	w.report.text(table, w.dryRun)
	return table.Flush()
}

// text prints it for people. Errors of a tabwriter come from its Flush.
func (r *warmReport) text(out io.Writer, dryRun bool) {
	fmt.Fprintf(out, "found\t%s pairs%s\n", number(r.Pairs), r.source())
	if r.More {
		fmt.Fprintf(out, "\tthe log has more of them (--top)\n")
	}
	if r.Inadmissible > 0 {
		fmt.Fprintf(out, "\t%s more have values that no request of their query can have\n", number(r.Inadmissible))
	}
	if dryRun {
		r.textList(out)
		return
	}
	fmt.Fprintf(out, "filled\t%s\n", number(r.Filled))
	fmt.Fprintf(out, "skipped\t%s that were cached and valid\n", number(r.Skipped))
	fmt.Fprintf(out, "failed\t%s\n", number(r.Done()-r.Filled-r.Skipped))
	for _, reason := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(out, "\t%s: %s\n", number(r.Failed[reason]), reason)
	}
	if left := r.Pairs - r.Done(); left > 0 {
		fmt.Fprintf(out, "left\t%s\n", number(left))
	}
	fmt.Fprintf(out, "took\t%.1f s\n", r.Seconds)
}

// source says where pairs come from.
func (r *warmReport) source() string {
	if r.Read == nil {
		return " by an earlier warm-up, which this one goes on with"
	}
	return fmt.Sprintf(" in %s changes, read in %.1f s", number(r.Read.Changes), r.Read.Seconds)
}

// textList prints how many pairs each query has, and the first of all.
func (r *warmReport) textList(out io.Writer) {
	counts := map[string]int64{}
	for _, p := range r.List {
		counts[p.Query]++
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "\t%s of %s\n", number(counts[name]), name)
	}
	for i, p := range r.List[:min(len(r.List), shownPairs)] {
		fmt.Fprintf(out, "%d\t%s\n", i+1, p.Path)
	}
	if len(r.List) > shownPairs {
		fmt.Fprintf(out, "\tand so on; --format json has all\n")
	}
}
