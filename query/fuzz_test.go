package query

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func addInputs(f *testing.F, only string) {
	inputs, err := filepath.Glob("testdata/*/input.sql")
	if err != nil {
		f.Fatal(err)
	}
	for _, input := range inputs {
		src, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(src), "SELECT")
		if only == "body" {
			f.Add(body)
		} else {
			f.Add(string(src))
		}
	}
}

// Whatever a file holds, it parses or is refused with a reason; a query that comes out of it keeps the file's lines.
func FuzzParse(f *testing.F) {
	addInputs(f, "all")
	f.Fuzz(func(t *testing.T, src string) {
		q, err := Parse("fuzz.sql", []byte(src))
		if (q == nil) == (err == nil) {
			t.Fatalf("query %v, error %v", q, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error that says nothing")
			}
			return
		}
		if q.Name == "" || q.Path == "" || q.Result == "" || !strings.Contains(q.Text, q.SQL) {
			t.Fatalf("incomplete: %+v", q)
		}
		if !q.Cached() && len(q.Depends) > 0 {
			t.Fatalf("%s with %d dependencies", q.Method, len(q.Depends))
		}
		// Every position of a short text, some of a long one: each costs as much as the text is long.
		for n := 0; n < len(q.Text)+2; n += 1 + len(q.Text)/500 {
			if line := q.lineOf(n); line < 1 || line > 1+strings.Count(src, "\n") {
				t.Fatalf("position %d is line %d", n, line)
			}
		}
	})
}

// The tokens cover the statement, and rewriting keeps every line break and every byte that is no parameter.
func FuzzRewrite(f *testing.F) {
	addInputs(f, "body")
	f.Fuzz(func(t *testing.T, sql string) {
		tokens, bad := lex(sql)
		if bad != nil {
			if bad.at < 0 || bad.at >= len(sql) {
				t.Fatalf("an error at %d of %d", bad.at, len(sql))
			}
			return
		}
		at := 0
		for _, token := range tokens {
			if token.start != at || token.end <= token.start {
				t.Fatalf("token %+v follows %d", token, at)
			}
			at = token.end
		}
		if at != len(sql) {
			t.Fatalf("tokens end at %d of %d", at, len(sql))
		}
		s := &statement{sql: sql, line: 1, tokens: tokens}
		s.check(&problems{file: "fuzz.sql"})
		if got := s.rewrite(func(string) (int, Type) { return 0, "" }); got != blanked(sql, tokens) {
			t.Fatalf("without parameters %q became %q", sql, got)
		}
		rewritten := s.rewrite(func(string) (int, Type) { return 7, TypeTextArray })
		if strings.Count(rewritten, "\n") != strings.Count(sql, "\n") {
			t.Fatalf("line breaks differ: %q became %q", sql, rewritten)
		}
		// What was rewritten holds no parameter any more, and is read as it was before.
		again, bad := lex(rewritten)
		if bad != nil {
			t.Fatalf("%q became %q: %s", sql, rewritten, bad.msg)
		}
		for _, token := range again {
			if token.kind == kindParam {
				t.Fatalf("%q became %q, which still has a parameter", sql, rewritten)
			}
		}
	})
}

// blanked is the statement with its semicolons, and nothing else, made blanks.
func blanked(sql string, tokens []token) string {
	b := []byte(sql)
	for _, t := range tokens {
		if t.kind == kindSemicolon {
			b[t.start] = ' '
		}
	}
	return string(b)
}
