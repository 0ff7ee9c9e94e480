package audit

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"freshet/cache"
)

// Stale is an entry that was served although it lacks a change that the watermark has passed, and what is known about it.
type Stale struct {
	Query  string         `json:"query"`
	Params map[string]any `json:"params"`
	// Kind says against what it was found: the primary, or what an api answered.
	Kind Kind `json:"kind"`
	// Position is where the WAL ended when the primary had been asked: whatever the entry lacks has ended at or below it. Watermark is
	// the one under which the entry was still valid.
	Position  string `json:"position"`
	Watermark string `json:"watermark"`
	// Filled is the time of the fill, by the clock of the api that filled it, and Seen a position that nothing in the entry is later
	// than: the change that it lacks has ended after Seen, or shortly before, and not after Position. "" if it is not known.
	Filled time.Time `json:"filled"`
	Seen   string    `json:"seen,omitempty"`
	Found  time.Time `json:"found"` // when this was found out
	// Chain and Buckets are what the entry is bound to.
	Chain   string   `json:"chain"`
	Buckets []Bucket `json:"buckets"`
	// Cached is the body of the entry, Truth what the primary says (the api, for KindAnswer): null for no row, and cut to what is near
	// their difference.
	Cached string `json:"cached"`
	Truth  string `json:"truth"`
	// Tags are those of the buckets.
	Tags []cache.Tag `json:"-"`

	field, identity string
}

// Kind is a way in which a stale entry was found.
type Kind string

// The kinds.
const (
	// KindEntry is an entry that differs from what the primary says.
	KindEntry Kind = "entry"
	// KindAnswer is an answer of the api that differs from the entry that it was given from.
	KindAnswer Kind = "answer"
)

// Bucket is one of those that an entry depends on.
type Bucket struct {
	Key        string `json:"bucket"`
	Token      string `json:"token"`
	Shape      string `json:"shape"`
	Generation string `json:"generation"`
}

// describe is what is known about a stale entry.
func (a *Auditor) describe(s *subject, look *cache.Inspection, now cache.Result, end cache.Mark) *Stale {
	st := &Stale{
		Query: s.Query.Name, Params: s.params(), Kind: KindEntry, Position: end.String(), Watermark: look.Watermark.String(),
		Filled: look.Filled, Found: time.Now(), Chain: look.Bound[0], Tags: s.req.Tags, field: s.req.Field, identity: look.Identity,
	}
	if look.Seen.Position != 0 {
		st.Seen = look.Seen.String()
	}
	n := len(s.req.Tags)
	for i, t := range s.req.Tags {
		st.Buckets = append(st.Buckets, Bucket{a.cfg.Store.Bucket(t), look.Bound[1+n+i], t.Shape.String(), look.Bound[1+i]})
	}
	st.Cached, st.Truth = excerpts(look.Answer.Result, now)
	return st
}

// params are the arguments by name: texts, lists of them, or nil.
func (s *subject) params() map[string]any {
	all := make(map[string]any, len(s.Query.Params))
	for _, p := range s.Query.Params {
		all[p.Name] = s.args.Arg(p.Name)
	}
	return all
}

const (
	// excerptBefore and excerptAfter are how many bytes around the first difference are shown.
	excerptBefore, excerptAfter = 80, 200
)

// excerpts cuts two results to what is near their first difference.
func excerpts(cached, now cache.Result) (string, string) {
	x, y := textOf(cached), textOf(now)
	same := 0
	for same < len(x) && same < len(y) && x[same] == y[same] {
		same++
	}
	return excerpt(x, same), excerpt(y, same)
}

func textOf(r cache.Result) []byte {
	if !r.Found {
		return []byte("null")
	}
	return r.Body
}

func excerpt(text []byte, at int) string {
	from, to := max(0, at-excerptBefore), min(len(text), at+excerptAfter)
	cut := string(bytes.ToValidUTF8(text[from:to], nil))
	if from > 0 {
		cut = "…" + cut
	}
	if to < len(text) {
		cut += fmt.Sprintf("… (%d bytes)", len(text))
	}
	return cut
}

// maxReported bounds the stale entries that are told of; all are counted.
const maxReported = 100

// report tells of a stale entry, once.
func (a *Auditor) report(s *Stale) {
	if !a.stats.isNew(s) {
		return
	}
	keys := make([]string, len(s.Buckets))
	for i, b := range s.Buckets {
		keys[i] = b.Key + " " + b.Token
	}
	a.log.Error("STALE ENTRY: it lacks a change that the watermark has passed", "query", s.Query, "params", s.Params, "kind", s.Kind,
		"position", s.Position, "watermark", s.Watermark, "filled", s.Filled, "seen", s.Seen, "buckets", strings.Join(keys, ", "))
	if a.cfg.OnStale != nil {
		a.stats.told.Lock()
		defer a.stats.told.Unlock()
		a.cfg.OnStale(*s)
	}
}
