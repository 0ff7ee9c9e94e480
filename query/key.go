package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errKey is a text that Args.Key does not return for the query.
var errKey = errors.New("not a key of this query")

// ParseKey is the inverse of Args.Key: the arguments that have this key. It takes exactly the keys of requests that Bind would accept
// now; any other text is an error, also the key of a value that the file does not admit any more.
func (q *Query) ParseKey(key string) (Args, error) {
	c := &keyCursor{rest: key}
	values := make(map[string]any, len(q.Params))
	for i := range q.Params {
		p := &q.Params[i]
		if i > 0 {
			c.expect(" ")
		}
		c.expect(p.Name + "=")
		values[p.Name] = c.value(p)
	}
	if c.bad || c.rest != "" {
		return Args{}, errKey
	}
	return q.bind(func(p *Param) (any, error) { return p.fromKey(values[p.Name]) }, nil)
}

// fromKey checks a value that was in a key: it must be one that a request could have, in its canonical form.
func (p *Param) fromKey(value any) (any, error) {
	switch v := value.(type) {
	case string:
		canonical, err := p.scalar(v)
		if err == nil && canonical != v {
			err = errKey
		}
		return v, err
	case []string:
		list, err := p.list(v)
		if err != nil {
			return nil, err
		}
		for i, canonical := range list.([]string) {
			if canonical != v[i] {
				return nil, errKey
			}
		}
		return v, nil
	}
	if p.Required || p.Default != nil {
		return nil, fmt.Errorf("is NULL, which it cannot be: %w", errKey)
	}
	return nil, nil
}

// keyCursor reads a key from its beginning. Once it is bad it stays so.
type keyCursor struct {
	rest string
	bad  bool
}

func (c *keyCursor) expect(text string) {
	rest, ok := strings.CutPrefix(c.rest, text)
	c.rest, c.bad = rest, c.bad || !ok
}

// value reads what stands behind a parameter's name.
func (c *keyCursor) value(p *Param) any {
	switch {
	case strings.HasPrefix(c.rest, "-"):
		c.expect("-")
		return nil
	case p.Type != TypeTextArray:
		return c.sized()
	}
	n := c.number("[")
	list := []string{} // never nil, which would be NULL
	for range n {
		if c.bad {
			return nil
		}
		list = append(list, c.sized())
	}
	c.expect("]")
	return list
}

// sized is the inverse of writeSized.
func (c *keyCursor) sized() string {
	n := c.number(":")
	if c.bad || n > len(c.rest) {
		c.bad = true
		return ""
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// number reads a number as Itoa writes it, and what must follow it.
func (c *keyCursor) number(end string) int {
	digits, rest, ok := strings.Cut(c.rest, end)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != digits {
		c.bad = true
		return 0
	}
	c.rest = rest
	return n
}
