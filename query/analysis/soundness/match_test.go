package soundness

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"freshet/query/analysis"
)

// The judge is the invalidator's rule, by hand.
func TestClears(t *testing.T) {
	value := func(s string) *string { return &s }
	relation := &analysis.Relation{Schema: "app", Name: "t"}
	pinned := []analysis.Dependency{{
		Relation: relation, Reads: []string{"id", "k"},
		Pins: []analysis.Pin{{Column: "k", Values: []analysis.Value{{Param: 1}, {Const: "c"}}}},
	}}
	whole := []analysis.Dependency{{Relation: relation, Reads: []string{"id"}}}
	list := []analysis.Dependency{{
		Relation: relation, Reads: []string{"k"},
		Pins: []analysis.Pin{{Column: "k", Values: []analysis.Value{{Param: 2, List: true}}}},
	}}
	params := []any{"a", []string{"x", "y"}}
	tests := map[string]struct {
		deps []analysis.Dependency
		c    change
		want bool
	}{
		"insert of the parameter":   {pinned, change{"app.t", "INSERT", nil, row{"id": value("1"), "k": value("a")}}, true},
		"insert of the constant":    {pinned, change{"app.t", "INSERT", nil, row{"id": value("1"), "k": value("c")}}, true},
		"insert of another value":   {pinned, change{"app.t", "INSERT", nil, row{"id": value("1"), "k": value("b")}}, false},
		"insert of NULL":            {pinned, change{"app.t", "INSERT", nil, row{"id": value("1"), "k": nil}}, false},
		"insert, column not logged": {pinned, change{"app.t", "INSERT", nil, row{"id": value("1")}}, true},
		"delete":                    {pinned, change{"app.t", "DELETE", row{"id": value("1"), "k": value("a")}, nil}, true},
		"delete of another value":   {pinned, change{"app.t", "DELETE", row{"id": value("1"), "k": value("b")}, nil}, false},
		"update away from it":       {pinned, change{"app.t", "UPDATE", row{"k": value("a")}, row{"k": value("b")}}, true},
		"update towards it":         {pinned, change{"app.t", "UPDATE", row{"k": nil}, row{"k": value("a")}}, true},
		"update of what is not read": {
			pinned, change{"app.t", "UPDATE", row{"id": value("1"), "k": value("a"), "v": value("1")},
				row{"id": value("1"), "k": value("a"), "v": value("2")}}, false,
		},
		"update, old row not known":           {pinned, change{"app.t", "UPDATE", row{}, row{"id": value("1"), "k": value("b")}}, true},
		"update to NULL, old value not known": {whole, change{"app.t", "UPDATE", row{}, row{"id": nil}}, true},
		"update, column that is read not known": {
			pinned, change{"app.t", "UPDATE", row{"k": value("a")}, row{"id": value("1"), "k": value("a")}}, true,
		},
		"update of what is pinned and not read": {
			[]analysis.Dependency{{Relation: relation, Reads: []string{}, Pins: pinned[0].Pins}},
			change{"app.t", "UPDATE", row{"k": value("a")}, row{"k": value("b")}}, true,
		},
		"update of a result that reads no column": {
			[]analysis.Dependency{{Relation: relation, Reads: []string{}}},
			change{"app.t", "UPDATE", row{"k": value("a")}, row{"k": value("b")}}, false,
		},
		"update to NULL":       {whole, change{"app.t", "UPDATE", row{"id": value("1")}, row{"id": nil}}, true},
		"element of a list":    {list, change{"app.t", "INSERT", nil, row{"k": value("y")}}, true},
		"no element of a list": {list, change{"app.t", "INSERT", nil, row{"k": value("z")}}, false},
		"truncate":             {pinned, change{"app.t", "TRUNCATE", nil, nil}, true},
		"another table":        {whole, change{"other.t", "TRUNCATE", nil, nil}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, clears(test.deps, params, test.c)) })
	}
}

// What the log has of an old row is its replica identity: of a row in a partition, that of the partition.
func TestKnown(t *testing.T) {
	value := func(s string) *string { return &s }
	columns := []column{{name: "id", kind: integer}, {name: `"Mix"`, kind: text}, {name: "v", kind: text}}
	plain := &table{columns: columns, key: []string{"id", `"Mix"`}}
	full := &table{columns: columns, key: []string{"id"}, identityFull: true}
	parts := &table{columns: columns, key: []string{"id"}, parts: &partitioning{leaves: map[string]bool{"full": true, "key": false}}}
	old := row{"id": value("1"), "Mix": value("x"), "v": nil}
	moved := row{"id": value("2"), "Mix": value("x"), "v": nil}
	for name, test := range map[string]struct {
		t       *table
		leaf    string
		op      string
		new     row
		want    row
		nothing bool
	}{
		"full":                                {full, "", "UPDATE", moved, old, false},
		"key":                                 {plain, "", "UPDATE", old, row{"id": value("1"), "Mix": value("x")}, false},
		"key, deleted":                        {plain, "", "DELETE", nil, row{"id": value("1"), "Mix": value("x")}, false},
		"a partition with all of the row":     {parts, "full", "UPDATE", old, row{"id": value("1"), "Mix": value("x")}, false},
		"a partition with the key, deleted":   {parts, "key", "DELETE", nil, row{"id": value("1")}, false},
		"a partition with the key, changed":   {parts, "key", "UPDATE", moved, row{"id": value("1")}, false},
		"a partition with the key, unchanged": {parts, "key", "UPDATE", old, row{}, false},
		"inserted":                            {parts, "key", "INSERT", old, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := change{op: test.op, old: old, new: test.new}
			if test.nothing {
				c.old = nil
			}
			assert.Equal(t, test.want, test.t.known(test.leaf, c))
		})
	}
}

// A case can be made again from its choices.
func TestChoicesAreReplayed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newSchema(newDraw(rng))
	for range 50 {
		d := newDraw(rng)
		q := newQuery(d, s)
		assert.Equal(t, q, newQuery(replay(d.taken), s))
		w := newDraw(rng)
		statements := newWrite(w, s)
		assert.Equal(t, statements, newWrite(replay(w.taken), s))
	}
	assert.NotEmpty(t, newQuery(replay(nil), s).sql, "no choices at all make the simplest case")
}
