package query

import (
	"errors"
	"strconv"
	"strings"
)

// cursor reads the value of an annotation from left to right. Its methods skip the white space before what they read.
type cursor struct {
	s   string
	pos int
}

func (c *cursor) skipSpace() {
	for c.pos < len(c.s) && isSpace(c.s[c.pos]) {
		c.pos++
	}
}

// done reports whether nothing is left.
func (c *cursor) done() bool {
	c.skipSpace()
	return c.pos == len(c.s)
}

// accept moves past the byte if it comes next.
func (c *cursor) accept(b byte) bool {
	if c.done() || c.s[c.pos] != b {
		return false
	}
	c.pos++
	return true
}

// until returns what comes before any of the bytes, or the rest, without white space around it.
func (c *cursor) until(stop string) string {
	rest := c.s[c.pos:]
	if i := strings.IndexAny(rest, stop); i >= 0 {
		rest = rest[:i]
	}
	c.pos += len(rest)
	return strings.TrimSpace(rest)
}

// word returns the identifier that comes next, as it is written, or "".
func (c *cursor) word() string {
	c.skipSpace()
	start := c.pos
	if c.pos < len(c.s) && isWordStart(c.s[c.pos]) {
		for c.pos < len(c.s) && isWordPart(c.s[c.pos]) {
			c.pos++
		}
	}
	return c.s[start:c.pos]
}

// identifier returns the SQL identifier that comes next, folded to lower case unless it is quoted, or "".
func (c *cursor) identifier() (string, error) {
	if c.done() || c.s[c.pos] != '"' {
		return strings.ToLower(c.word()), nil
	}
	return c.quoted('"')
}

// quoted returns what stands between the quotes that come next, in which a quote is written twice.
func (c *cursor) quoted(quote byte) (string, error) {
	l := lexer{sql: c.s, pos: c.pos}
	l.quoted(quote, false)
	if l.err != nil {
		return "", errors.New(l.err.msg)
	}
	inner := c.s[c.pos+1 : l.pos-1]
	c.pos = l.pos
	q := string(quote)
	return strings.ReplaceAll(inner, q+q, q), nil
}

// next returns the byte that comes next, or 0.
func (c *cursor) next() byte {
	if c.done() {
		return 0
	}
	return c.s[c.pos]
}

// rest names what is left, for messages.
func (c *cursor) rest() string {
	if c.done() {
		return "the end"
	}
	return strconv.Quote(c.s[c.pos:])
}
