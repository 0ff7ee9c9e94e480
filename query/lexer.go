package query

import "strings"

// kind says what a token of SQL is, as far as finding parameters needs to know.
type kind int

const (
	kindOther    kind = iota // operators, punctuation, casts
	kindSpace                // white space
	kindComment              // -- or /* */
	kindWord                 // keyword, identifier or number
	kindQuoted               // '...', E'...', "...", $tag$...$tag$
	kindParam                // :name
	kindNumbered             // $1
	kindSemicolon
	kindOpen  // (
	kindClose // )
)

// token is a stretch of SQL. The tokens of a statement cover it without gaps.
type token struct {
	kind       kind
	start, end int
}

// lexError is something that never ends: a string, a comment.
type lexError struct {
	at  int // where it began
	msg string
}

// lex splits SQL as Postgres's own scanner does (src/backend/parser/scan.l), with standard_conforming_strings on, its
// default since 9.1. It knows no grammar; it only has to tell a :name from what merely contains one.
func lex(sql string) ([]token, *lexError) {
	l := lexer{sql: sql}
	for l.pos < len(sql) {
		start := l.pos
		k := l.next()
		if l.err != nil {
			return nil, l.err
		}
		l.tokens = append(l.tokens, token{k, start, l.pos})
	}
	return l.tokens, nil
}

type lexer struct {
	sql    string
	pos    int
	tokens []token
	err    *lexError
}

// next moves past one token. It always moves.
func (l *lexer) next() kind {
	c, rest := l.sql[l.pos], l.sql[l.pos:]
	switch {
	case isSpace(c):
		l.skip(isSpace)
		return kindSpace
	case strings.HasPrefix(rest, "--"):
		l.lineComment()
		return kindComment
	case strings.HasPrefix(rest, "/*"):
		l.blockComment()
		return kindComment
	case c == '\'':
		l.quoted('\'', false)
		return kindQuoted
	case c == '"':
		l.quoted('"', false)
		return kindQuoted
	case isWordStart(c):
		return l.word()
	case isDigit(c):
		l.skip(func(c byte) bool { return isWordPart(c) && c != '$' })
		return kindWord
	case c == '$':
		return l.dollar()
	case c == ':':
		return l.colon()
	}
	l.pos++
	switch c {
	case ';':
		return kindSemicolon
	case '(':
		return kindOpen
	case ')':
		return kindClose
	}
	return kindOther
}

func (l *lexer) skip(while func(byte) bool) {
	for l.pos < len(l.sql) && while(l.sql[l.pos]) {
		l.pos++
	}
}

// lineComment ends at a newline or a bare carriage return, as in scan.l.
func (l *lexer) lineComment() {
	l.skip(func(c byte) bool { return c != '\n' && c != '\r' })
}

// blockComment moves past a comment that may hold others.
func (l *lexer) blockComment() {
	start, depth := l.pos, 0
	for l.pos < len(l.sql) {
		switch rest := l.sql[l.pos:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.pos += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.pos += 2
			if depth == 0 {
				return
			}
		default:
			l.pos++
		}
	}
	l.err = &lexError{start, "this comment is never closed"}
}

// quoted moves past a string or identifier, in which the quote is written twice. With escapes, a backslash protects
// what follows it.
func (l *lexer) quoted(quote byte, escapes bool) {
	start := l.pos
	for l.pos++; l.pos < len(l.sql); l.pos++ {
		switch c := l.sql[l.pos]; {
		case c == '\\' && escapes:
			l.pos++
		case c == quote && strings.HasPrefix(l.sql[l.pos+1:], string(quote)):
			l.pos++
		case c == quote:
			l.pos++
			return
		}
	}
	// A backslash at the very end may have moved past it.
	l.pos = len(l.sql)
	l.err = &lexError{start, "this " + map[byte]string{'\'': "string", '"': "quoted identifier"}[quote] + " is never closed"}
}

// word moves past an identifier or keyword, or past the string that E introduces.
func (l *lexer) word() kind {
	start := l.pos
	l.skip(isWordPart)
	if w := l.sql[start:l.pos]; (w != "e" && w != "E") || !strings.HasPrefix(l.sql[l.pos:], "'") {
		return kindWord
	}
	// A string goes on after a line break, by the rules it began with: E'a' NEWLINE 'b\'c' is one string.
	for {
		l.quoted('\'', true)
		if l.err != nil {
			return kindQuoted
		}
		next, ok := l.continuation()
		if !ok {
			return kindQuoted
		}
		l.pos = next
	}
}

// continuation finds a quote that is separated from here by white space with a line break in it, and comments.
func (l *lexer) continuation() (at int, ok bool) {
	ahead := lexer{sql: l.sql, pos: l.pos}
	newline := false
	for ahead.pos < len(l.sql) {
		switch c := l.sql[ahead.pos]; {
		case c == '\n' || c == '\r':
			newline = true
			ahead.pos++
		case isSpace(c):
			ahead.pos++
		case strings.HasPrefix(l.sql[ahead.pos:], "--"):
			ahead.lineComment()
		default:
			return ahead.pos, newline && c == '\''
		}
	}
	return 0, false
}

// dollar moves past $1 or $tag$...$tag$ or a lone dollar sign.
func (l *lexer) dollar() kind {
	start := l.pos
	l.pos++
	if l.pos < len(l.sql) && isDigit(l.sql[l.pos]) {
		l.skip(isDigit)
		return kindNumbered
	}
	tagEnd := l.pos
	for tagEnd < len(l.sql) && isWordPart(l.sql[tagEnd]) && l.sql[tagEnd] != '$' {
		tagEnd++
	}
	if tagEnd == len(l.sql) || l.sql[tagEnd] != '$' {
		return kindOther
	}
	tag := l.sql[start : tagEnd+1]
	body := l.sql[tagEnd+1:]
	end := strings.Index(body, tag)
	if end < 0 {
		l.err = &lexError{start, "this " + tag + " string is never closed"}
		return kindQuoted
	}
	l.pos = tagEnd + 1 + end + len(tag)
	return kindQuoted
}

// colon tells a parameter from a cast, an assignment and an array slice.
func (l *lexer) colon() kind {
	l.pos++
	if l.pos == len(l.sql) {
		return kindOther
	}
	switch c := l.sql[l.pos]; {
	case c == ':' || c == '=':
		l.pos++
		return kindOther
	case isWordStart(c):
		l.skip(func(c byte) bool { return isWordPart(c) && c != '$' })
		return kindParam
	}
	return kindOther
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isWordStart follows scan.l: every byte of a non-ASCII character may be part of an identifier.
func isWordStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= 0x80
}

func isWordPart(c byte) bool { return isWordStart(c) || isDigit(c) || c == '$' }
