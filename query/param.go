package query

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	paramName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	modifiers = []string{"min", "max", "min_len", "max_len", "one of", "optional"}
)

// param reads "limit int = 50, min 1, max 50".
func (p *parser) param(line int, value string) {
	c := &cursor{s: value}
	name := c.word()
	if !paramName.MatchString(name) {
		p.add(line, "param %q must begin with a name of lower-case letters, digits and underscores", value)
		return
	}
	if before := p.q.param(name); before != nil {
		p.add(line, "parameter %s is declared twice: line %d has it already", name, before.Line)
		return
	}
	param := Param{Name: name, Line: line, Required: true}
	// A parameter that is declared wrongly is declared all the same: one mistake, one message.
	defer func() { p.q.Params = append(p.q.Params, param) }()

	c.skipSpace()
	written := c.until("=,")
	var ok bool
	if param.Type, ok = types[written]; !ok {
		p.add(line, "parameter %s: %s", name, unknownType(written))
		return
	}
	raw, hasDefault, err := paramDefault(c)
	if err != nil {
		p.add(line, "parameter %s: %v", name, err)
		return
	}
	optional := false
	for c.accept(',') {
		m := c.until(",")
		if m == "optional" {
			optional = true
			continue
		}
		if err := param.modifier(m); err != nil {
			p.add(line, "parameter %s: %v", name, err)
		}
	}
	if !c.done() {
		p.add(line, "parameter %s: a comma is missing before %s", name, c.rest())
		return
	}
	param.Required = !optional && !hasDefault
	if optional && hasDefault {
		p.add(line, "parameter %s has a default, which it takes when it is absent; it cannot be optional too", name)
	}
	if hasDefault {
		if err := param.setDefault(raw); err != nil {
			p.add(line, "parameter %s: its default %q %v", name, raw, err)
		}
	}
}

func unknownType(written string) string {
	if written == "" {
		return "its type is missing (" + typeNames + ")"
	}
	if t, ok := otherNames[strings.ToLower(written)]; ok {
		return fmt.Sprintf("unknown type %q; did you mean %q?", written, t)
	}
	hint := suggest(written, strings.Split(typeNames, ", "))
	if hint == "" {
		hint = " (known: " + typeNames + ")"
	}
	return fmt.Sprintf("unknown type %q%s", written, hint)
}

// paramDefault reads "= 50" or "= 'published'", if it is there.
func paramDefault(c *cursor) (raw string, ok bool, err error) {
	if !c.accept('=') {
		return "", false, nil
	}
	if c.next() == '\'' {
		raw, err = c.quoted('\'')
		return raw, true, err
	}
	raw = c.until(",")
	switch {
	case raw == "":
		return "", false, fmt.Errorf("there is no default after =")
	case strings.EqualFold(raw, "null"):
		return "", false, fmt.Errorf("a parameter that may be NULL is declared optional, not = null")
	}
	return raw, true, nil
}

// setDefault checks a default like a value from a query string.
func (p *Param) setDefault(raw string) error {
	value, err := p.fromStrings([]string{raw})
	if err != nil {
		return err
	}
	canonical, ok := value.(string)
	if !ok {
		canonical = strings.Join(value.([]string), ",")
	}
	p.Default = &canonical
	return nil
}

// modifier reads "max 50" or "one of a|b".
func (p *Param) modifier(m string) error {
	if list, ok := strings.CutPrefix(m, "one of "); ok {
		return p.setOneOf(list)
	}
	word, arg, _ := strings.Cut(m, " ")
	isNumber := p.Type == TypeInt || p.Type == TypeBigint || p.Type == TypeNumeric
	isText := p.Type == TypeText
	isList := p.Type == TypeTextArray
	n, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64)
	switch {
	case !slices.Contains(modifiers, word):
		return fmt.Errorf("unknown modifier %q%s", m, suggestModifier(word))
	case err != nil:
		return fmt.Errorf("%s needs an integer, not %q", word, arg)
	case word == "min" && (isNumber || isList):
		p.Min = &n
	case word == "max" && (isNumber || isList):
		p.Max = &n
	case n < 0:
		return fmt.Errorf("%s %d is below zero", word, n)
	case word == "min_len" && (isText || isList):
		p.MinLen = int(n)
	case word == "max_len" && (isText || isList) && n > 0:
		p.MaxLen = int(n)
	default:
		return fmt.Errorf("%s %d does not apply to %s", word, n, p.Type)
	}
	return nil
}

func suggestModifier(word string) string {
	if hint := suggest(word, modifiers); hint != "" {
		return hint
	}
	return " (known: " + strings.Join(modifiers, ", ") + ")"
}

func (p *Param) setOneOf(list string) error {
	if p.Type != TypeText {
		return fmt.Errorf("one of does not apply to %s", p.Type)
	}
	for v := range strings.SplitSeq(list, "|") {
		p.OneOf = append(p.OneOf, strings.TrimSpace(v))
	}
	return nil
}

// check holds a canonical value, or one element of a list, against the declared bounds.
func (p *Param) check(value string) error {
	switch p.Type {
	case TypeInt, TypeBigint, TypeNumeric:
		return p.checkNumber(value)
	case TypeText, TypeTextArray:
		return p.checkLength(value)
	}
	return nil
}

func (p *Param) checkNumber(value string) error {
	if p.Min == nil && p.Max == nil {
		return nil
	}
	n, ok := new(big.Rat).SetString(value)
	if !ok {
		return fmt.Errorf("%s", describe[p.Type])
	}
	if p.Min != nil && n.Cmp(new(big.Rat).SetInt64(*p.Min)) < 0 {
		return fmt.Errorf("must be at least %d", *p.Min)
	}
	if p.Max != nil && n.Cmp(new(big.Rat).SetInt64(*p.Max)) > 0 {
		return fmt.Errorf("must be at most %d", *p.Max)
	}
	return nil
}

func (p *Param) checkLength(value string) error {
	length := utf8.RuneCountInString(value)
	switch {
	case p.OneOf != nil && !slices.Contains(p.OneOf, value):
		return fmt.Errorf("must be one of %s", strings.Join(p.OneOf, ", "))
	case length < p.MinLen && p.MinLen == 1:
		return fmt.Errorf("must not be empty")
	case length < p.MinLen:
		return fmt.Errorf("must have at least %d characters", p.MinLen)
	case p.MaxLen > 0 && length > p.MaxLen:
		return fmt.Errorf("must have at most %d characters", p.MaxLen)
	}
	return nil
}

// checkCount holds the number of elements of a list against the bounds.
func (p *Param) checkCount(n int) error {
	if p.Min != nil && int64(n) < *p.Min {
		return fmt.Errorf("must have at least %d elements", *p.Min)
	}
	if p.Max != nil && int64(n) > *p.Max {
		return fmt.Errorf("must have at most %d elements", *p.Max)
	}
	return nil
}
