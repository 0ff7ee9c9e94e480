package query

import (
	"slices"
	"strconv"
	"strings"
)

// statement is the SQL of a file, taken apart.
type statement struct {
	sql    string
	line   int // of the file, at which sql begins
	tokens []token
}

// lineAt returns the line of the file that holds a byte of the statement.
func (s *statement) lineAt(offset int) int {
	return s.line + strings.Count(s.sql[:offset], "\n")
}

func (s *statement) text(t token) string { return s.sql[t.start:t.end] }

// paramUses returns the line of the first use of every :name.
func (s *statement) paramUses() map[string]int {
	uses := make(map[string]int)
	for _, t := range s.tokens {
		if t.kind != kindParam {
			continue
		}
		if name := s.text(t)[1:]; uses[name] == 0 {
			uses[name] = s.lineAt(t.start)
		}
	}
	return uses
}

// firstWord returns the keyword that the statement begins with, in upper case, or "" if there is no statement.
func (s *statement) firstWord() (word string, at int) {
	for _, t := range s.tokens {
		switch t.kind {
		case kindSpace, kindComment:
		case kindOpen: // (SELECT ...) UNION ...
		case kindWord:
			return strings.ToUpper(s.text(t)), t.start
		case kindSemicolon:
			return "", 0
		default:
			return s.text(t), t.start
		}
	}
	return "", 0
}

// check reports what would not survive the wrapping: a second statement, $1 by hand, parentheses that do not pair up.
func (s *statement) check(p *problems) {
	var open []int
	semicolon, numbered, empty := -1, false, true
	for i, t := range s.tokens {
		switch t.kind {
		case kindSpace:
			continue
		case kindComment:
			s.checkComment(p, i)
			continue
		case kindNumbered:
			if !numbered {
				p.add(s.lineAt(t.start), "%s is written by hand: declare a parameter and write :name", s.text(t))
			}
			numbered = true
		case kindOpen:
			open = append(open, t.start)
		case kindClose:
			if len(open) == 0 {
				p.add(s.lineAt(t.start), "this ) closes nothing")
				return
			}
			open = open[:len(open)-1]
		}
		if semicolon >= 0 && t.kind != kindSemicolon {
			p.add(s.lineAt(t.start), "a second statement begins here: one file holds one statement")
			return
		}
		if t.kind == kindSemicolon {
			semicolon = t.start
		} else {
			empty = false
		}
	}
	if empty {
		p.add(s.line, "there is no statement below the header")
	}
	if len(open) > 0 {
		p.add(s.lineAt(open[len(open)-1]), "this ( is never closed")
	}
}

// checkComment refuses an annotation below the header: it would be ignored without a word.
func (s *statement) checkComment(p *problems, i int) {
	t := s.tokens[i]
	if before := strings.TrimRight(s.sql[:t.start], " \t"); before != "" && !strings.HasSuffix(before, "\n") {
		return // it follows SQL on its line: a remark
	}
	if key, _, ok := annotation(s.text(t)); ok && slices.Contains(annotationKeys, key) {
		p.add(s.lineAt(t.start), "the annotation %q stands below the header, where it has no effect: move it to the top", key)
	}
}

// rewrite replaces each :name that number knows by its $n::type, and takes the trailing semicolon away. No line break
// comes or goes, so that a line of the result is a line of the file.
func (s *statement) rewrite(number func(name string) (n int, t Type)) string {
	var b strings.Builder
	for _, t := range s.tokens {
		text := s.text(t)
		switch t.kind {
		case kindSemicolon:
			b.WriteByte(' ')
		case kindParam:
			n, typ := number(text[1:])
			if n == 0 {
				b.WriteString(text)
				continue
			}
			s.writeParam(&b, t, "$"+strconv.Itoa(n)+"::"+string(typ))
		default:
			b.WriteString(text)
		}
	}
	return b.String()
}

// writeParam keeps a parameter apart from its neighbours: LIMIT:n must not become the identifier LIMIT$1, and a
// subscript must select from the value, not become part of the type.
func (s *statement) writeParam(b *strings.Builder, t token, cast string) {
	if t.start > 0 && isWordPart(s.sql[t.start-1]) {
		b.WriteByte(' ')
	}
	if rest := strings.TrimLeft(s.sql[t.end:], " \t\r\n\f\v"); strings.HasPrefix(rest, "[") {
		cast = "(" + cast + ")"
	}
	b.WriteString(cast)
	if strings.HasPrefix(s.sql[t.end:], "$") { // the start of a dollar-quoted string; text$ would be a name
		b.WriteByte(' ')
	}
}

// wrap returns what to put around a statement so that Postgres builds the JSON, as exactly one row of one text column.
// The scalar subquery is what makes no row NULL, and two rows an error. The alias is an unlikely one: a column of the
// statement that had the same name would be taken instead of the row.
func wrap(write bool, result Result) (before, after string) {
	const (
		one  = "SELECT (SELECT row_to_json(freshet_row)::text FROM "
		many = "SELECT coalesce(json_agg(row_to_json(freshet_row)), '[]')::text FROM "
	)
	switch {
	case write && result == ResultMany:
		return "WITH freshet_row AS (\n", "\n) " + many + "freshet_row"
	case write:
		return "WITH freshet_row AS (\n", "\n) " + one + "freshet_row)"
	case result == ResultMany:
		return many + "(\n", "\n) freshet_row"
	default:
		return one + "(\n", "\n) freshet_row)"
	}
}
