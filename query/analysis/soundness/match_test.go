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
			pinned, change{"app.t", "UPDATE", row{"k": value("a"), "v": value("1")}, row{"k": value("a"), "v": value("2")}}, false,
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
