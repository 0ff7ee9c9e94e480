package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print is the result for people.
func (r *Result) Print(out io.Writer) error {
	var b strings.Builder
	pauses := "no pauses"
	if r.Pause > 0 {
		pauses = fmt.Sprintf("pauses of %g s at the mean", r.Pause)
	}
	fmt.Fprintf(&b, "%d users, %s, for %.1f s (after %g s to warm up) on %s, freshet %s: %d requests, %d %% writes, of them %d %% edits of blogs (seed %d)\n\n",
		r.Users, pauses, r.Seconds, r.WarmUp, r.URL, r.API, r.Requests, r.Writes, r.Edits, r.Seed)
	r.printTargets(&b)
	r.printQueries(&b)
	r.printWithout(&b)
	r.printOdd(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Result) printTargets(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "target\tvalue\tlimit\t\t\n")
	for _, v := range r.Targets {
		value := digits(v.Value) + " " + v.Unit
		if v.Status == NotMeasured {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s %g\t%s\t%s\n", v.Target, value, v.Relation, v.Limit, v.Status, v.Note)
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteByte('\n')
}

func (r *Result) printQueries(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t\t\t%d at a time, median ms\t\t\tone at a time, median ms\t\t\t\n", r.Users)
	fmt.Fprint(w, "query\treads\thit rate\tcached\tno cache\tspeed-up\tcached\tno-store\tspeed-up\t\n")
	for _, q := range r.Queries {
		fmt.Fprintf(w, "%s\t%d\t%.1f %%\t%s\t%s\t%s\t%s\t%s\t%s\t\n", q.Query, q.Cached.N+q.Uncached.N+q.Database.N, 100*q.HitRate,
			median(q.Cached), median(q.Crowd.Database), times(q.Crowd.SpeedUp),
			median(q.Alone.Cached), median(q.Alone.Database), times(q.Alone.SpeedUp))
	}
	_ = w.Flush() // as above
	fmt.Fprintf(b, "\nms         n        p50      p90      p95      p99      max\n")
	for _, line := range []struct {
		name string
		d    Distribution
	}{{"health", r.Health}, {"cached", r.Cached}, {"no-store", r.Database}, {"miss", r.Uncached}, {"writes", r.Written}} {
		fmt.Fprintf(b, "%-8s %8d %8s %8s %8s %8s %8s\n", line.name, line.d.N, digits(line.d.P50), digits(line.d.P90), digits(line.d.P95), digits(line.d.P99), digits(line.d.Max))
	}
}

// printWithout says what the cache is good for.
func (r *Result) printWithout(b *strings.Builder) {
	if w := r.Without; w != nil {
		fmt.Fprintf(b, "\nThe same load without the cache (every read no-store, %.1f s): %s req/s; with it %s req/s, %s.\n",
			w.Seconds, digits(w.PerSecond), digits(r.PerSecond), times(r.PerSecond/max(w.PerSecond, 1)))
	}
}

// printOdd says what should not have happened.
func (r *Result) printOdd(b *strings.Builder) {
	for _, what := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(b, "\nfailed: %d %s", r.Failures[what], what)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Bypasses)) {
		fmt.Fprintf(b, "\npast the cache: %d %s", r.Bypasses[reason], reason)
	}
	if len(r.Failures)+len(r.Bypasses) > 0 {
		b.WriteByte('\n')
	}
	switch {
	case r.Interrupted:
		b.WriteString("\nInterrupted: this passes nothing.\n")
	case r.Pass:
		b.WriteString("\nEvery target is met.\n")
	default:
		fmt.Fprintf(b, "\n%d of %d targets are not met.\n", Failed(r.Targets), len(r.Targets))
	}
}

func median(d Distribution) string {
	if d.N == 0 {
		return "-"
	}
	return digits(d.P50)
}

func times(speedUp float64) string {
	if speedUp == 0 {
		return "-"
	}
	return digits(speedUp) + "x"
}

// digits is a number with three digits, or all of those before the point.
func digits(v float64) string {
	places := 3
	for limit := 1.0; places > 0 && v >= limit; limit *= 10 {
		places--
	}
	return strconv.FormatFloat(v, 'f', max(places, 0), 64)
}
