package query

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads one SQL file. The error joins an [*Error] for every problem of the file, in the order of their lines.
func Parse(file string, src []byte) (*Query, error) {
	p := &parser{problems: problems{file: file}, q: &Query{File: file}, seen: make(map[string]int)}
	src = bytes.TrimPrefix(src, []byte("\uFEFF"))
	if at := badByte(src); at >= 0 {
		p.add(1+bytes.Count(src[:at], []byte("\n")), "the file is not UTF-8 text")
		return nil, p.join()
	}
	body, line := p.header(string(src))
	p.checkHeader()
	p.checkDepends()
	p.statement(body, line)
	if err := p.join(); err != nil {
		return nil, err
	}
	return p.q, nil
}

// badByte returns where the source stops being text that Postgres takes, or -1.
func badByte(src []byte) int {
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// checkHeader reports what is missing or does not go together.
func (p *parser) checkHeader() {
	q := p.q
	for _, key := range []string{"name", "route"} {
		if p.seen[key] == 0 {
			p.add(0, "the header has no %q annotation", key)
		}
	}
	if q.Method == "" {
		return // the rest hangs on it
	}
	p.placeParams()
	if q.Example != "" && q.Path != "" && !matches(q.Path, q.Example) {
		p.add(p.seen["example"], "example %q does not match the route %s", q.Example, q.Path)
	}
	if q.Cached() {
		p.checkRead()
	} else {
		p.checkWrite()
	}
}

func (p *parser) checkRead() {
	if p.seen["result"] == 0 {
		p.add(0, `the header has no "result" annotation: one or many`)
	}
	if p.seen["ttl"] == 0 {
		p.q.TTL = DefaultTTL
	}
}

func (p *parser) checkWrite() {
	if p.seen["result"] == 0 {
		p.q.Result = ResultOne
	}
	for _, key := range []string{"ttl", "max_staleness", "stale_if_error", "depends"} {
		if line := p.seen[key]; line != 0 {
			p.add(line, "a %s is never cached: it has no %s", p.q.Method, key)
		}
	}
}

// placeParams says where each parameter is carried.
func (p *parser) placeParams() {
	in := InBody
	if p.q.Cached() {
		in = InQuery
	}
	for i := range p.q.Params {
		p.q.Params[i].In = in
	}
	for _, name := range pathParams(p.q.Path) {
		param := p.q.param(name)
		if param == nil {
			p.add(p.seen["route"], "the path parameter %s is not declared%s", name, suggest(name, p.paramNames()))
			continue
		}
		param.In = InPath
		if param.Type != "" && !param.Required {
			p.add(param.Line, "parameter %s is in the path: it is always there, so it has no default and is not optional", name)
		}
		if param.Type == TypeTextArray {
			p.add(param.Line, "parameter %s is in the path: it cannot be a list", name)
		}
	}
}

// statement reads the SQL below the header.
func (p *parser) statement(body string, line int) {
	s := &statement{sql: strings.TrimRight(body, " \t\r\n"), line: line}
	var bad *lexError
	if s.tokens, bad = lex(s.sql); bad != nil {
		p.add(s.lineAt(bad.at), "%s", bad.msg)
		return
	}
	s.check(&p.problems)
	p.checkVerb(s)
	p.checkUses(s)
	if len(p.errs) > 0 {
		return
	}
	p.assemble(s)
}

var (
	readVerbs  = []string{"SELECT", "WITH", "VALUES", "TABLE"}
	writeVerbs = []string{"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT"}
)

// checkVerb reports a statement that does not fit the method, in plainer words than Postgres's syntax error would.
func (p *parser) checkVerb(s *statement) {
	verb, at := s.firstWord()
	if verb == "" || p.q.Method == "" {
		return
	}
	verbs := writeVerbs
	if p.q.Cached() {
		verbs = readVerbs
	}
	if !slices.Contains(verbs, verb) {
		p.add(s.lineAt(at), "the statement of a %s begins with %s, not with %s", p.q.Method, strings.Join(verbs, ", "), verb)
	}
}

// checkUses reports parameters that are used and not declared, and the other way round.
func (p *parser) checkUses(s *statement) {
	uses := s.paramUses()
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if p.q.param(name) == nil {
			p.add(uses[name], "the parameter %s is not declared%s (an array slice is written [1 : n])",
				name, suggest(name, p.paramNames()))
		}
	}
	for _, param := range p.q.Params {
		if param.Type != "" && uses[param.Name] == 0 && !p.q.pinnedBy(param.Name) {
			p.add(param.Line, "the parameter %s is declared but not used", param.Name)
		}
	}
}

// pinnedBy reports whether a dependency is pinned by the parameter.
func (q *Query) pinnedBy(param string) bool {
	return slices.ContainsFunc(q.Depends, func(d Dependency) bool {
		return slices.ContainsFunc(d.Columns, func(pin Pin) bool { return pin.Param == param })
	})
}

// assemble numbers the parameters that the statement uses, in the order of their declaration, and builds its text.
func (p *parser) assemble(s *statement) {
	q, uses, n := p.q, s.paramUses(), 0
	for i := range q.Params {
		if uses[q.Params[i].Name] != 0 {
			n++
			q.Params[i].n = n
		}
	}
	q.SQL = s.rewrite(func(name string) (int, Type) {
		param := q.param(name)
		return param.n, param.Type
	})
	before, after := wrap(!q.Cached(), q.Result)
	// The remark names the query in pg_stat_activity and in the server's log.
	before = fmt.Sprintf("/* freshet: %s */ %s", q.Name, before)
	q.Text, q.before, q.line = before+q.SQL+after, len(before), s.line
}
