package replay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"freshet/events"
)

// Where tells whether a change is selected.
type Where func(*events.Change) bool

// ParseWhere reads a condition: comparisons, joined by "and", of new.COLUMN, old.COLUMN or key.COLUMN, or of op, with a word, a number or a
// 'text':
//
//	new.status = published and old.status != published
//	op = delete
//	new.views >= 1000 and new.author is not null
//
// Values are compared as numbers where both are, and otherwise as the texts that Postgres prints. A comparison with a column that the
// change does not hold, or with NULL, does not hold, as in SQL.
func ParseWhere(text string) (Where, error) {
	words, err := split(text)
	if err != nil {
		return nil, fmt.Errorf("the condition %q: %w", text, err)
	}
	var all []Where
	for {
		one, rest, err := comparison(words)
		if err != nil {
			return nil, fmt.Errorf("the condition %q: %w", text, err)
		}
		all = append(all, one)
		if len(rest) == 0 {
			break
		}
		if !rest[0].is("and") {
			return nil, fmt.Errorf("the condition %q: expected \"and\", not %q", text, rest[0].text)
		}
		words = rest[1:]
	}
	return func(c *events.Change) bool {
		for _, one := range all {
			if !one(c) {
				return false
			}
		}
		return true
	}, nil
}

// word is one of a condition.
type word struct {
	text   string
	quoted bool
}

func (w word) is(text string) bool { return !w.quoted && strings.EqualFold(w.text, text) }

const operatorBytes = "=!<>"

// split makes words of a condition.
func split(text string) (words []word, err error) {
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		var w word
		switch {
		case rest[0] == '\'':
			if w, rest, err = quoted(rest); err != nil {
				return nil, err
			}
		case strings.IndexByte(operatorBytes, rest[0]) >= 0:
			n := len(rest) - len(strings.TrimLeft(rest, operatorBytes))
			w, rest = word{text: rest[:n]}, rest[n:]
		default:
			n := strings.IndexAny(rest, " \t\n'"+operatorBytes)
			if n < 0 {
				n = len(rest)
			}
			w, rest = word{text: rest[:n]}, rest[n:]
		}
		words = append(words, w)
	}
	return words, nil
}

// quoted reads a 'text', in which two quotes are one.
func quoted(text string) (w word, rest string, err error) {
	var b strings.Builder
	for rest = text[1:]; ; {
		before, after, found := strings.Cut(rest, "'")
		if !found {
			return w, "", errors.New("a ' is never closed")
		}
		b.WriteString(before)
		if rest = after; !strings.HasPrefix(rest, "'") {
			return word{text: b.String(), quoted: true}, rest, nil
		}
		b.WriteByte('\'')
		rest = rest[1:]
	}
}

// comparison reads one comparison.
func comparison(words []word) (Where, []word, error) {
	if len(words) < 3 {
		return nil, nil, errors.New("expected a comparison such as new.status = published")
	}
	value, err := operand(words[0])
	if err != nil {
		return nil, nil, err
	}
	if words[1].is("is") {
		return nullTest(value, words[2:])
	}
	holds, err := operator(words[1].text)
	if err != nil {
		return nil, nil, err
	}
	want := words[2].text
	return func(c *events.Change) bool {
		f, ok := value(c)
		return ok && !f.Null && holds(order(f.Value, want))
	}, words[3:], nil
}

// nullTest reads what comes after IS.
func nullTest(value func(*events.Change) (events.Field, bool), words []word) (Where, []word, error) {
	null := true
	if len(words) > 1 && words[0].is("not") {
		null, words = false, words[1:]
	}
	if len(words) == 0 || !words[0].is("null") {
		return nil, nil, errors.New(`expected "null" or "not null" after "is"`)
	}
	return func(c *events.Change) bool {
		f, ok := value(c)
		return ok && f.Null == null
	}, words[1:], nil
}

// operand is what is compared.
func operand(w word) (func(*events.Change) (events.Field, bool), error) {
	side, column, dotted := strings.Cut(w.text, ".")
	switch {
	case w.quoted:
	case w.is("op"):
		return func(c *events.Change) (events.Field, bool) { return events.Field{Value: string(c.Op)}, true }, nil
	case dotted && column != "" && side == "new":
		return func(c *events.Change) (events.Field, bool) { return c.New.Get(column) }, nil
	case dotted && column != "" && side == "old":
		return func(c *events.Change) (events.Field, bool) { return c.Old.Get(column) }, nil
	case dotted && column != "" && side == "key":
		return func(c *events.Change) (events.Field, bool) { return c.Key.Get(column) }, nil
	}
	return nil, fmt.Errorf("%q cannot be compared: expected new.COLUMN, old.COLUMN, key.COLUMN or op", w.text)
}

func operator(text string) (func(order int) bool, error) {
	switch text {
	case "=":
		return func(o int) bool { return o == 0 }, nil
	case "!=", "<>":
		return func(o int) bool { return o != 0 }, nil
	case "<":
		return func(o int) bool { return o < 0 }, nil
	case "<=":
		return func(o int) bool { return o <= 0 }, nil
	case ">":
		return func(o int) bool { return o > 0 }, nil
	case ">=":
		return func(o int) bool { return o >= 0 }, nil
	}
	return nil, fmt.Errorf("%q is no comparison: expected =, !=, <, <=, >, >= or is", text)
}

// order compares two values.
func order(a, b string) int {
	if a == b {
		return 0
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX != nil || errY != nil:
		return strings.Compare(a, b)
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
