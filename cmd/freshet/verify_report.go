package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/audit"
	"freshet/cache"
	"freshet/events"
	"freshet/invalidator"
)

// verifyReport is what freshet verify --format json prints.
type verifyReport struct {
	audit.Summary
	Seed  uint64        `json:"seed"`
	Rate  float64       `json:"rate"`
	Found []*foundStale `json:"found"`
}

// foundStale is a stale entry, and what the log says about its buckets.
type foundStale struct {
	audit.Stale
	// Changes are those since shortly before the fill that clear its buckets; nil if the log was not searched.
	Changes []foundChange `json:"changes"`
}

// foundChange is a change in the log.
type foundChange struct {
	Bucket    string    `json:"bucket"`
	Position  string    `json:"position"`
	Committed time.Time `json:"committed"`
	XID       uint32    `json:"xid"`
	Op        string    `json:"op"`
	Key       string    `json:"key"`
	Reason    string    `json:"reason,omitempty"`
	// Lacked is true of those that should have cleared the entry: they have ended after all that it shows, and not after the position at
	// which the primary was asked.
	Lacked bool `json:"lacked"`
}

const (
	// historyTimeout bounds the search of the log for one stale entry, maxHistory what is kept of it, and maxHistories the entries.
	historyTimeout = 10 * time.Second
	maxHistory     = 50
	maxHistories   = 10
	// historySlack is how much earlier than its fill the history of an entry begins: the clocks of two machines may differ.
	historySlack = 30 * time.Second
)

// history finds out which changes the stale entries lack.
func (v *verification) history(ctx context.Context, log *slog.Logger, found []*foundStale) error {
	conn, err := connectNATS(v.nats, "freshet verify", log)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	for _, f := range found[:min(len(found), maxHistories)] {
		if err := f.search(ctx, js, v.api.Source); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("enough of them")

func (f *foundStale) search(ctx context.Context, js jetstream.JetStream, source string) error {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	seen, err := cache.ParseMark("0/0")
	if f.Seen != "" {
		seen, err = cache.ParseMark(f.Seen)
	}
	end, endErr := cache.ParseMark(f.Position)
	if err := errors.Join(err, endErr); err != nil {
		return err
	}
	f.Changes = []foundChange{}
	for _, tag := range f.Tags {
		err := invalidator.Why(ctx, js, source, tag, f.Filled.Add(-historySlack), func(c invalidator.Cause) error {
			f.Changes = append(f.Changes, foundChange{
				Bucket: cache.DefaultPrefix + tag.Name, Position: c.Position.String(), Committed: c.Committed, XID: c.XID, Op: string(c.Op),
				Key: rowText(c.Key), Reason: c.Reason, Lacked: between(seen.Position, c.Position, end.Position),
			})
			if len(f.Changes) >= maxHistory {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	return nil
}

func between(after, p, upTo events.Position) bool { return after != 0 && p > after && p <= upTo }

// print is the summary for people.
func (r *verifyReport) print(out io.Writer) error {
	var b strings.Builder
	for _, f := range r.Found {
		f.print(&b)
	}
	fmt.Fprintf(&b, "%s entries sampled in %s (seed %d)\n", number(r.Sampled), r.Duration.Round(100*time.Millisecond), r.Seed)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	some := func(name string, n int64, what string) {
		if n > 0 {
			line(name, "%s\t%s", number(n), what)
		}
	}
	line("checked", "%s\tcompared with the primary", number(r.Checked))
	stale := "lack a change that the watermark has passed"
	if r.Stale > r.StaleEntries {
		stale += fmt.Sprintf(": %s different ones", number(r.StaleEntries))
	}
	line("stale", "%s\t%s", number(r.Stale), stale)
	line("behind", "%s\tdiffered, and were cleared in time%s", number(r.Behind), times(": p50 %s, max %s", r.BehindFor))
	line("undecided", "%s\tdiffered, and the watermark did not come in time", number(r.Undecided))
	some("reordered", r.Reordered, "have the same rows in another order: does the query say which?")
	some("timed", r.Timed, "differ, and their query depends on the time: only the ttl makes them new")
	some("dead", r.Dead, "no reader would get: cleared, expired, or gone when they were looked at")
	for _, reason := range slices.Sorted(maps.Keys(r.Unserved)) {
		some("unserved", r.Unserved[reason], "readers would not use the cache: "+reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Foreign)) {
		some("foreign", r.Foreign[reason], reason)
	}
	for _, what := range slices.Sorted(maps.Keys(r.Failures)) {
		some("failed", r.Failures[what], what)
	}
	if r.AnsweredByAPI+r.NotByAPI > 0 {
		line("asked the api", "%s\tof them %s answered from the cache", number(r.AnsweredByAPI+r.NotByAPI), number(r.AnsweredByAPI))
	}
	r.printShares(line)
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	r.printQueries(&b)
	r.printCautions(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *verifyReport) printShares(line func(name, format string, args ...any)) {
	if r.Checked > 0 {
		c := r.Consistency
		digits := max(2, int(c.Nines)) // as many as say something
		line("consistency", "%s %%\tor more, with %g %% confidence (%.1f nines)",
			strconv.FormatFloat(100*(1-c.StaleAtMost), 'f', digits, 64), 100*c.Confidence, c.Nines)
	}
	if r.Overclearing != nil {
		line("over-clearing", "%.1f %%\t%s of %s cleared entries were filled again with the same bytes", 100**r.Overclearing, number(r.Identical), number(r.Cleared))
	}
	if r.Checked > 0 {
		line("entries' age", "p50 %s\tp90 %s, p99 %s, max %s", ages(r.EntryAge)...)
		line("watermark's age", "p50 %s\tp90 %s, p99 %s, max %s", ages(r.WatermarkAge)...)
	}
}

func (r *verifyReport) printQueries(b *strings.Builder) {
	if len(r.Queries) == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "checked\tstale\tbehind\tundecided\tcleared\tidentical\t  query\n")
	for _, name := range r.QueryNames() {
		t := r.Queries[name]
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", t.Checked, t.Stale, t.Behind, t.Undecided, t.Cleared, t.Identical, name)
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteByte('\n')
}

// printCautions says what the figures do not prove.
func (r *verifyReport) printCautions(b *strings.Builder) {
	foreign := int64(0)
	for _, n := range r.Foreign {
		foreign += n
	}
	switch {
	case r.Sampled == 0 && len(r.Failures) > 0:
		b.WriteString("Nothing could be sampled: 0 checked proves nothing.\n")
	case r.Sampled == 0:
		b.WriteString("There was nothing to sample: the cache is empty. 0 checked proves nothing.\n")
	case foreign == r.Sampled:
		b.WriteString("Every entry was foreign: are these the queries that the api serves (--queries), and is this its database role?\n")
	case r.Checked == 0:
		b.WriteString("Nothing could be checked: this proves nothing.\n")
	}
	if r.Evicted > 0 {
		fmt.Fprintf(b, "Redis has evicted %s keys meanwhile: an entry that was evicted counts as cleared.\n", number(r.Evicted))
	}
}

// print is the history of a stale entry for people.
func (f *foundStale) print(b *strings.Builder) {
	fmt.Fprintf(b, "STALE %s", f.Query)
	for _, name := range slices.Sorted(maps.Keys(f.Params)) {
		switch v := f.Params[name].(type) {
		case nil:
			fmt.Fprintf(b, " %s=NULL", name)
		default:
			fmt.Fprintf(b, " %s=%q", name, v)
		}
	}
	truth, asked := "primary", "asked at"
	if f.Kind == audit.KindAnswer {
		truth, asked = "api", "watermark"
	}
	seen := ""
	if f.Seen != "" {
		seen = ", and shows nothing later than " + f.Seen
	}
	fmt.Fprintf(b, "\n  entry      %s\n  %-9s  %s\n", f.Cached, truth, f.Truth)
	fmt.Fprintf(b, "  filled     %s%s\n", f.Filled.Format("2006-01-02 15:04:05.000"), seen)
	fmt.Fprintf(b, "  %-9s  %s, and still valid under the watermark %s\n  chain      %s\n", asked, f.Position, f.Watermark, f.Chain)
	for _, k := range f.Buckets {
		fmt.Fprintf(b, "  bucket     %s  token %s, generation %s of %s\n", k.Key, k.Token, k.Generation, k.Shape)
	}
	for _, c := range f.Changes {
		lacked := ""
		if c.Lacked {
			lacked = "  <- should have cleared it"
		}
		fmt.Fprintf(b, "  change     %s  %s  xid %d  %s %s  %s%s\n", c.Committed.Format("2006-01-02 15:04:05.000"), c.Position, c.XID, c.Op, c.Key, c.Bucket, lacked)
	}
	switch {
	case f.Changes == nil:
		b.WriteString("  The log was not searched: --nats-url says where it is.\n")
	case !slices.ContainsFunc(f.Changes, func(c foundChange) bool { return c.Lacked }):
		b.WriteString("  The log has no change that should have cleared it.\n")
	}
	b.WriteByte('\n')
}

const barWidth = 24

// progressLine says how far a verification is.
func progressLine(s audit.Summary, duration time.Duration) string {
	var b strings.Builder
	if duration > 0 {
		done := min(barWidth, int(barWidth*s.Duration/duration))
		fmt.Fprintf(&b, "[%s%s] %s of %s", strings.Repeat("#", done), strings.Repeat("-", barWidth-done), s.Duration.Round(time.Second), duration)
	} else {
		b.WriteString(s.Duration.Round(time.Second).String())
	}
	fmt.Fprintf(&b, "  checked %s  stale %s  behind %s  undecided %s", number(s.Checked), number(s.Stale), number(s.Behind), number(s.Undecided))
	if s.Sampled == 0 {
		b.WriteString("  (the cache is empty)")
	}
	return b.String()
}

// number has commas between the thousands.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func times(format string, d audit.Distribution) string {
	if d.N == 0 {
		return ""
	}
	return fmt.Sprintf(format, span(d.P50), span(d.Max))
}

func ages(d audit.Distribution) []any {
	return []any{span(d.P50), span(d.P90), span(d.P99), span(d.Max)}
}

// span is a number of seconds with three digits or so.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	for unit := time.Hour; unit >= time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
