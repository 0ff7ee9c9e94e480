package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// annotationKeys are what a header may say.
var annotationKeys = []string{
	"name", "route", "param", "result", "ttl", "max_staleness", "stale_if_error", "depends", "doc", "example",
}

// severalTimes are the annotations that may be given more than once.
var severalTimes = []string{"param", "depends"}

// annotationLine is a comment that begins with one word and a colon. A colon that goes on with / or : is a URL or a cast.
var annotationLine = regexp.MustCompile(`^--[ \t]*([A-Za-z_][A-Za-z0-9_-]*)[ \t]*:([^/:].*|)$`)

// annotation takes a comment line apart; ok is false for an ordinary comment.
func annotation(line string) (key, value string, ok bool) {
	m := annotationLine.FindStringSubmatch(strings.TrimRight(line, " \t\r"))
	if m == nil {
		return "", "", false
	}
	return m[1], strings.TrimSpace(m[2]), true
}

// parser reads one file.
type parser struct {
	problems
	q    *Query
	seen map[string]int // line of each annotation
}

// header reads the comment lines at the top of the file and returns what comes below them, with its line.
func (p *parser) header(src string) (body string, line int) {
	line = 1
	for src != "" {
		first, rest, _ := strings.Cut(src, "\n")
		trimmed := strings.TrimSpace(first)
		if trimmed != "" && !strings.HasPrefix(trimmed, "--") {
			break
		}
		if key, value, ok := annotation(trimmed); ok {
			p.annotation(line, key, value)
		}
		src = rest
		line++
	}
	return src, line
}

// annotation reads one annotation.
func (p *parser) annotation(line int, key, value string) {
	if !slices.Contains(annotationKeys, key) {
		hint := suggest(strings.ToLower(key), annotationKeys)
		if hint == "" {
			hint = fmt.Sprintf(" (known: %s; a remark goes below the header, or does not begin with a word and a colon)",
				strings.Join(annotationKeys, ", "))
		}
		p.add(line, "unknown annotation %q%s", key, hint)
		return
	}
	if before := p.seen[key]; before != 0 && !slices.Contains(severalTimes, key) {
		p.add(line, "%s is given twice: line %d has it already", key, before)
		return
	}
	p.seen[key] = line
	if value == "" {
		p.add(line, "%s has no value", key)
		return
	}
	switch key {
	case "name":
		p.name(line, value)
	case "route":
		p.route(line, value)
	case "param":
		p.param(line, value)
	case "result":
		p.result(line, value)
	case "ttl":
		p.q.TTL = p.duration(line, key, value)
	case "max_staleness":
		p.q.MaxStaleness = p.duration(line, key, value)
	case "stale_if_error":
		p.q.StaleIfError = p.duration(line, key, value)
	case "depends":
		p.depends(line, value)
	case "doc":
		p.q.Doc = value
	case "example":
		p.q.Example = value
	}
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func (p *parser) name(line int, value string) {
	if !nameForm.MatchString(value) {
		p.add(line, "name %q must be lower-case letters, digits and underscores, at most 63, beginning with a letter", value)
		return
	}
	p.q.Name = value
}

func (p *parser) result(line int, value string) {
	switch r := Result(value); r {
	case ResultOne, ResultMany:
		p.q.Result = r
	default:
		p.add(line, "result is %q; it must be one or many", value)
	}
}

func (p *parser) duration(line int, key, value string) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		p.add(line, "%s %q must be a duration above zero, such as 30s, 10m or 1h30m", key, value)
		return 0
	}
	return d
}

var (
	methods        = []string{"GET", "POST", "PATCH", "PUT", "DELETE"}
	literalSegment = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	paramSegment   = regexp.MustCompile(`^(?::([a-z_][a-z0-9_]*)|\{([a-z_][a-z0-9_]*)\})$`)
)

// route reads "GET /blogs/{id}" or "GET /blogs/:id".
func (p *parser) route(line int, value string) {
	method, path, _ := strings.Cut(value, " ")
	path = strings.TrimSpace(path)
	if !slices.Contains(methods, method) {
		p.add(line, "route %q must begin with %s", value, strings.Join(methods, ", "))
		return
	}
	if !strings.HasPrefix(path, "/") {
		p.add(line, "route %q must have a path that begins with /", value)
		return
	}
	p.q.Method = method
	if path == "/" {
		p.q.Path = path
		return
	}
	segments := strings.Split(path[1:], "/")
	named := make(map[string]bool)
	for i, s := range segments {
		m := paramSegment.FindStringSubmatch(s)
		switch {
		case m != nil:
			name := m[1] + m[2]
			if named[name] {
				p.add(line, "route %q names the parameter %s twice", value, name)
			}
			named[name] = true
			segments[i] = ":" + name
		case !literalSegment.MatchString(s):
			p.add(line, "route %q: a segment is letters, digits and -._~, or one parameter {name}; %q is neither", value, s)
			return
		}
	}
	p.q.Path = "/" + strings.Join(segments, "/")
}

// pathParams returns the names of the parameters in a path.
func pathParams(path string) []string {
	var names []string
	for s := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(s, ":") {
			names = append(names, s[1:])
		}
	}
	return names
}

// matches reports whether a path that a person would ask for has the route's form.
func matches(route, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	want, got := strings.Split(route, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || strings.HasPrefix(w, ":") && g != ""
	})
}
