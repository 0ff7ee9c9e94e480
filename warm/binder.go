package warm

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/url"
	"slices"
	"strings"

	"freshet/events"
	"freshet/query"
	"freshet/query/plan"
)

// binder finds the requests that a row matters to. It reads the queries' needs backwards: a column that is pinned to a parameter gives the
// parameter its value, one that is pinned to constants must have one of them.
//
// A parameter that nothing determines is left out of the request, and takes its default, or NULL if it is optional. Where it is
// required, the row says nothing of who asks, and the need is of no use.
type binder struct {
	queries []*query.Query
	rules   map[events.Table][]rule
	values  []value // of the parameters; scratch
	key     []byte  // scratch
}

// value is that of a parameter, once it is known.
type value struct {
	text  string
	known bool
}

// rule is a need of a query.
type rule struct {
	query   int
	columns []string
	pins    [][]query.Pinned
}

// newBinder takes the plans of those queries that are cached. wanted, if not nil, tells which of them, and which tables, count.
func newBinder(plans *plan.Set, wantedQuery func(string) bool, wantedTable func(events.Table) bool) *binder {
	b := &binder{rules: map[events.Table][]rule{}}
	all := slices.SortedFunc(maps.Keys(plans.Of), func(x, y *query.Query) int { return cmp.Compare(x.Name, y.Name) })
	for _, q := range all {
		if plans.Of[q].Refused != nil || !wantedQuery(q.Name) {
			continue
		}
		index := len(b.queries)
		b.queries = append(b.queries, q)
		for i := range plans.Of[q].Needs {
			need := &plans.Of[q].Needs[i]
			table := events.Table{Schema: need.Schema, Name: need.Table}
			pins := need.Pinned()
			if wantedTable(table) && determines(q, pins) {
				b.rules[table] = append(b.rules[table], rule{index, need.Columns, pins})
			}
		}
	}
	return b
}

// determines tells whether a row can give a value to each parameter that must have one.
func determines(q *query.Query, pins [][]query.Pinned) bool {
	for i := range q.Params {
		p := &q.Params[i]
		if p.Required && !slices.ContainsFunc(pins, func(column []query.Pinned) bool {
			return slices.ContainsFunc(column, func(v query.Pinned) bool { return v.Param == i })
		}) {
			return false
		}
	}
	return true
}

// tables are those with a rule, sorted.
func (b *binder) tables() []events.Table {
	return slices.SortedFunc(maps.Keys(b.rules), func(x, y events.Table) int {
		return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Name, y.Name))
	})
}

// bind calls found with the key of each request that a change matters to, once. The key is found's only during the call.
//
// The row after the change counts, and the one before it where that is another request's: of a deleted row, or of one that has left
// a list, what is warmed is the answer without it.
func (b *binder) bind(table events.Table, c *events.Change, found func(key []byte)) {
	rules := b.rules[table]
	for i := range rules {
		if len(c.New) > 0 {
			if key := b.match(&rules[i], c.New); key != nil {
				found(key)
			}
		}
		// Of an update only where a column that decides has another value: then it is another request, or none.
		if len(c.Old) > 0 && !same(&rules[i], c) {
			if key := b.match(&rules[i], c.Old); key != nil {
				found(key)
			}
		}
	}
}

// same tells at once whether both rows have the same values in the columns of a rule: mostly nothing of them has changed.
func same(r *rule, c *events.Change) bool {
	if len(c.New) == 0 {
		return false
	}
	for _, column := range r.columns {
		before, known := c.Old.Get(column)
		after, still := c.New.Get(column)
		if !known || !still || before != after {
			return false
		}
	}
	return true
}

// match is the key of the request that a row matters to by a rule; nil if there is none.
func (b *binder) match(r *rule, row events.Row) []byte {
	q := b.queries[r.query]
	values := b.scratch(len(q.Params))
	for i, column := range r.columns {
		f, known := row.Get(column)
		// NULL equals nothing; and what is not in the log determines nothing.
		if !known || f.Null || !assign(values, r.pins[i], f.Value) {
			return nil
		}
	}
	b.key = binary.AppendUvarint(b.key[:0], uint64(r.query))
	for i := range q.Params {
		switch {
		case values[i].known:
			b.key = appendValue(b.key, values[i].text)
		case q.Params[i].Required:
			return nil
		case q.Params[i].Default != nil: // the same request, whoever has said it
			b.key = appendValue(b.key, *q.Params[i].Default)
		default:
			b.key = append(b.key, 0)
		}
	}
	return b.key
}

// scratch is one value for each parameter, none of them known.
func (b *binder) scratch(n int) []value {
	if cap(b.values) < n {
		b.values = make([]value, n)
	}
	b.values = b.values[:n]
	clear(b.values)
	return b.values
}

// assign gives the parameters that a column is pinned to the column's value; false if no request pins it to that value. Of several the
// first that is free takes it: where the others are required, the row does not say enough, and there is no key.
func assign(values []value, pins []query.Pinned, text string) bool {
	for _, p := range pins {
		if p.Param < 0 && p.Const == text || p.Param >= 0 && values[p.Param] == (value{text, true}) {
			return true
		}
	}
	for _, p := range pins {
		if p.Param >= 0 && !values[p.Param].known {
			values[p.Param] = value{text, true}
			return true
		}
	}
	return false
}

// appendValue appends a value that is there, with its length plus one: 0 stands for one that is not.
func appendValue(key []byte, text string) []byte {
	key = binary.AppendUvarint(key, uint64(len(text))+1)
	return append(key, text...)
}

// pair makes a pair of a key; ok is false if no request of the query could have these values, such as a text that is too long.
func (b *binder) pair(key string) (p Pair, ok bool) {
	rest := []byte(key)
	number := func() uint64 {
		n, size := binary.Uvarint(rest)
		rest = rest[size:]
		return n
	}
	q := b.queries[number()]
	sent := query.Values{Path: map[string]string{}, Query: url.Values{}}
	for i := range q.Params {
		n := number()
		if n == 0 {
			continue
		}
		text := string(rest[:n-1])
		rest = rest[n-1:]
		param := &q.Params[i]
		switch {
		case param.In == query.InPath:
			sent.Path[param.Name] = text
		case param.Default != nil && *param.Default == text:
		case param.Type == query.TypeTextArray && (text == "" || strings.Contains(text, ",")):
			return p, false // a list of one element, whose comma would make it two
		default:
			sent.Query.Set(param.Name, text)
		}
	}
	args, err := q.Bind(sent)
	return Pair{q, args}, err == nil
}
