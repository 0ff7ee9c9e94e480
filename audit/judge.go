package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"freshet/cache"
	"freshet/events"
)

// verdict is how the look at an entry ended.
type verdict string

const (
	// fresh and stale entries are those that were checked.
	fresh verdict = "fresh"
	stale verdict = "stale"
	// behind: it differed, and was cleared before the watermark said that it had to be.
	behind verdict = "behind"
	// undecided: it differed, and the watermark did not come, or the entry expired meanwhile, or the audit was stopped.
	undecided verdict = "undecided"
	// reordered: it has the same rows in another order.
	reordered verdict = "reordered"
	// timed: it differs, and its query depends on the time.
	timed verdict = "timed"
	// dead: no reader would get it: cleared, expired or gone.
	dead verdict = "dead"
	// unserved: the cache could not be used for it, as the watermark was too old or its shape not active.
	unserved verdict = "unserved"
	// failed: Redis or Postgres gave no answer.
	failed verdict = "failed"
)

// outcome is what a judgement found.
type outcome struct {
	verdict
	reason string // of unserved
	// entryAge and watermarkAge are those at the first look; not for what was dead, unserved or failed.
	entryAge, watermarkAge time.Duration
	// lag is how long an entry that was behind was still there after the primary had said something else.
	lag   time.Duration
	first *cache.Inspection
	stale *Stale
	// sum identifies the result of an entry that is fresh.
	sum [32]byte
}

// one looks at one entry.
func (a *Auditor) one(ctx context.Context, place cache.Place) {
	plans := a.plans.Load()
	s, reason, err := a.identify(ctx, plans, place)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			a.stats.count("", a.failure(ctx, "Redis cannot be read", err))
		}
		return
	case reason != "":
		a.stats.foreign(reason)
		return
	}
	o := a.judge(ctx, s)
	if o.reason == cache.ReasonSchema {
		a.outOfDate(ctx)
	}
	a.stats.count(s.Query.Name, o)
	switch o.verdict {
	case fresh:
		a.memory.add(remembered{subject: s, look: o.first, sum: o.sum, at: time.Now()})
	case stale:
		a.report(o.stale)
	}
}

// judge follows the argument in the package's comment.
func (a *Auditor) judge(ctx context.Context, s *subject) outcome {
	first, err := a.reader.Inspect(ctx, s.req)
	switch {
	case err != nil:
		return a.failure(ctx, "Redis cannot be read", err)
	case first.Reason != "":
		return outcome{verdict: unserved, reason: first.Reason}
	case first.Answer == nil:
		return outcome{verdict: dead}
	}
	o := outcome{entryAge: time.Since(first.Filled), watermarkAge: first.Age, first: first}
	if a.cfg.URL != "" {
		if wrong := a.overHTTP(ctx, s, first); wrong != nil {
			o.verdict, o.stale = stale, wrong
			return o
		}
	}
	now, end, err := a.ask(ctx, s)
	if err != nil {
		return a.failure(ctx, "a query cannot be run", err)
	}
	difference := compare(first.Answer.Result, now)
	if difference == "" {
		o.verdict, o.sum = fresh, sumOf(now)
		return o
	}
	if s.Timed {
		o.verdict = timed
		return o
	}
	asked := time.Now()
	second, reached, err := a.lookAgain(ctx, s, first, end)
	switch {
	case err != nil:
		return a.failure(ctx, "Redis cannot be read", err)
	case gone(first, second):
		o.verdict, o.lag = behind, time.Since(asked)
		if !time.Now().Before(first.Expires) {
			o.verdict = undecided
		}
	case !reached:
		o.verdict = undecided
	case difference == differentOrder:
		o.verdict = reordered
	default:
		o.verdict, o.stale = stale, a.describe(s, second, now, end)
	}
	return o
}

// failure is the outcome of something that went wrong; not that the audit was stopped.
func (a *Auditor) failure(ctx context.Context, what string, err error) outcome {
	if ctx.Err() != nil {
		return outcome{verdict: undecided}
	}
	a.failed(what, err)
	return outcome{verdict: failed}
}

// ask runs the query on the primary. end is where the WAL ended once the snapshot had been taken: nothing that it sees is later.
func (a *Auditor) ask(ctx context.Context, s *subject) (r cache.Result, end cache.Mark, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.CommandTimeout)
	defer cancel()
	var position, timeline string
	if err := a.cfg.Pool.QueryRow(ctx, s.sql, s.args.Values()...).Scan(&r.Body, &position, &timeline); err != nil {
		return r, end, fmt.Errorf("query %s: %w", s.Query.Name, err)
	}
	lsn, tli, err := a.wal.ParseEnd(position, timeline)
	r.Found = r.Body != nil
	return r, cache.Mark{Timeline: tli, Position: events.Position(lsn)}, err
}

// lookAgain waits until the watermark has reached end, and looks again; reached tells whether it had at that very look.
func (a *Auditor) lookAgain(ctx context.Context, s *subject, first *cache.Inspection, end cache.Mark) (second *cache.Inspection, reached bool, err error) {
	over := time.Now().Add(a.cfg.Patience)
	call(a.hooks.waiting)
	for {
		came, err := a.reader.Reached(ctx, end, time.Until(over))
		if err != nil {
			return nil, false, err
		}
		call(a.hooks.reached)
		if second, err = a.reader.Inspect(ctx, s.req); err != nil {
			return nil, false, err
		}
		// On another timeline the server that was asked is not the one that the log is of.
		reached = second.Watermark.Reached(end) && (end.Timeline == 0 || second.Watermark.Timeline == 0 || end.Timeline == second.Watermark.Timeline)
		if reached || !came || gone(first, second) || !time.Now().Before(over) {
			return second, reached, nil
		}
		// The mark is another one than a moment ago: another server, or another chain.
	}
}

// gone tells whether the entry of the first look can be served no more. A watermark that is too old only keeps it from being served
// now: what it vouches for does not change.
func gone(first, second *cache.Inspection) bool {
	usable := second.Reason == "" || second.Reason == cache.ReasonStale
	return !usable || second.Answer == nil || second.Identity != first.Identity
}

// What compare finds.
const (
	differentRows  = "different"
	differentOrder = "another order"
)

// compare compares a result with what the primary says; "" if they are the same.
func compare(cached, now cache.Result) string {
	switch {
	case cached.Found == now.Found && bytes.Equal(cached.Body, now.Body):
		return ""
	case sameRows(cached.Body, now.Body):
		return differentOrder
	}
	return differentRows
}

// sameRows tells whether two results differ in nothing but the order of arrays.
func sameRows(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	x, y := unordered(a), unordered(b)
	return x != "" && x == y
}

// unordered is a JSON text with the elements of each array sorted, at every depth; "" if it is none.
func unordered(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // every digit counts
	var v any
	if d.Decode(&v) != nil {
		return ""
	}
	text, err := json.Marshal(sorted(v))
	if err != nil {
		return ""
	}
	return string(text)
}

func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = sorted(value)
		}
	case []any:
		texts := make([]string, len(v))
		for i, element := range v {
			text, err := json.Marshal(sorted(element))
			if err != nil {
				return v
			}
			texts[i] = string(text)
		}
		slices.Sort(texts)
		return texts
	}
	return v
}
