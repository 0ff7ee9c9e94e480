package cache

import (
	"slices"
	"strings"
)

// anyColumn stands for all the columns of a table; a column of that name is escaped in a generation, and taken for all elsewhere.
const anyColumn = "*"

// Reading is the shape with the columns that a query reads; nil, or a column *: any.
func (s Shape) Reading(columns []string) Shape {
	s.Reads = nil
	if columns != nil && !slices.Contains(columns, anyColumn) {
		s.Reads = slices.Compact(slices.Sorted(slices.Values(columns)))
		if s.Reads == nil {
			s.Reads = []string{}
		}
	}
	return s
}

// Union has one shape for each name, which reads what any of them reads.
func Union(shapes []Shape) []Shape {
	var out []Shape
	at := map[string]int{}
	for _, s := range shapes {
		i, there := at[s.String()]
		if !there {
			at[s.String()] = len(out)
			out = append(out, s)
			continue
		}
		if out[i].Reads == nil || s.Reads == nil {
			out[i].Reads = nil
			continue
		}
		out[i] = out[i].Reading(append(slices.Clone(out[i].Reads), s.Reads...)) // not Concat, which makes nil of nothing
	}
	return out
}

// readsList is the column reads of freshet.shapes.
func (s Shape) readsList() []string {
	if s.Reads == nil {
		return []string{anyColumn}
	}
	return s.Reads
}

// NewGeneration returns a random value for a shape, followed by the columns by which its updates are matched: whoever reads others
// must not cache under it. A wider set of columns thereby takes effect in order with the data, as a new shape does (rule 5).
func (s Shape) NewGeneration() string { return NewToken() + " " + s.readsText() }

// Matched tells whether changes are matched by exactly the columns that the shape reads while it has this generation.
func (s Shape) Matched(generation string) bool {
	_, reads := splitGeneration(generation)
	return generation != "" && reads == s.readsText()
}

// covered tells whether the columns of the generation are at least those that the shape reads.
func (s Shape) covered(reads string) bool {
	if reads == anyColumn {
		return true
	}
	if s.Reads == nil {
		return false
	}
	for _, column := range s.Reads {
		if !listed(reads, escape(column)) {
			return false
		}
	}
	return true
}

func (s Shape) readsText() string {
	if s.Reads == nil {
		return anyColumn
	}
	escaped := make([]string, len(s.Reads))
	for i, column := range s.Reads {
		escaped[i] = escape(column)
	}
	return strings.Join(escaped, ",")
}

// splitGeneration returns the random value of a generation, and its columns.
func splitGeneration(generation string) (token, reads string) {
	token, reads, ok := strings.Cut(generation, " ")
	if !ok {
		return token, anyColumn
	}
	return token, reads
}

// listed tells whether a list with commas has the word.
func listed(list, word string) bool {
	for list != "" {
		var first string
		if first, list, _ = strings.Cut(list, ","); first == word {
			return true
		}
	}
	return false
}
