package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values is what a request sends, raw.
type Values struct {
	Path  map[string]string // path parameters, unescaped
	Query url.Values        // the query string
	Body  map[string]json.RawMessage
}

// Args are the checked values of a query's parameters. Immutable.
type Args struct {
	query  *Query
	values []any // of query.Params: string (canonical), []string, or nil
	sql    []any // those of them that the statement uses, in $n order
}

// Values returns the values in the order of $1, $2, ..., ready for pgx: each a string in the text form of its type, a
// []string for text[], or nil. The caller must not change them.
func (a Args) Values() []any { return a.sql }

// Arg returns the value of a declared parameter: a string in canonical form, a []string, or nil for NULL.
func (a Args) Arg(name string) any {
	for i, v := range a.values {
		if a.query.Params[i].Name == name {
			return v
		}
	}
	return nil
}

// Pin returns the value to which a dependency's pin fixes its column, as Postgres prints it and the log has it.
func (a Args) Pin(p Pin) string {
	if p.Param == "" {
		return p.Const
	}
	s, _ := a.Arg(p.Param).(string) // Parse admits no pin by a list or by an optional parameter
	return s
}

// Key encodes all the values so that two requests have the same key exactly if they mean the same: 007 and 7, an absent
// parameter and its default sent explicitly. It is unique within the query. Example: "status=9:published limit=2:50".
func (a Args) Key() string {
	var b strings.Builder
	for i, v := range a.values {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.query.Params[i].Name)
		b.WriteByte('=')
		switch v := v.(type) {
		case nil:
			b.WriteByte('-')
		case string:
			writeSized(&b, v)
		case []string:
			b.WriteString(strconv.Itoa(len(v)))
			b.WriteByte('[')
			for _, e := range v {
				writeSized(&b, e)
			}
			b.WriteByte(']')
		}
	}
	return b.String()
}

// writeSized writes the length first, so that no value can be mistaken for a value and what follows it.
func writeSized(b *strings.Builder, s string) {
	b.WriteString(strconv.Itoa(len(s)))
	b.WriteByte(':')
	b.WriteString(s)
}

// ParseBody reads the JSON object in the body of a write; no body at all is an empty object. Its errors are *ParamError.
func ParseBody(body []byte) (map[string]json.RawMessage, error) {
	members := make(map[string]json.RawMessage)
	if len(bytes.TrimSpace(body)) == 0 {
		return members, nil
	}
	if !utf8.Valid(body) {
		return nil, &ParamError{Msg: "the body must be valid UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, &ParamError{Msg: "the body must be a JSON object"}
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, badJSON(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, badJSON(err)
		}
		name := key.(string) // the decoder yields nothing else where a key belongs
		if _, twice := members[name]; twice {
			return nil, &ParamError{Param: name, Msg: "is given more than once"}
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, badJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &ParamError{Msg: "the body must be one JSON object and nothing after it"}
	}
	return members, nil
}

func badJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &ParamError{Msg: "the body is not valid JSON: it ends too early"}
	}
	return &ParamError{Msg: "the body is not valid JSON: " + err.Error()}
}

// Bind checks what a request sends against the declared parameters. The error joins a [*ParamError] for every parameter
// that is missing, wrong or unknown (see [ParamErrors]).
func (q *Query) Bind(v Values) (Args, error) {
	return q.bind(func(p *Param) (any, error) { return p.bind(v) }, q.unknown(v))
}

// BindJSON is Bind of parameters that come as members of one JSON object, wherever the query's own route has them.
func (q *Query) BindJSON(params map[string]json.RawMessage) (Args, error) {
	var unknown []error
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if q.param(name) == nil {
			all := slices.Concat(q.names(InPath), q.names(InQuery))
			unknown = append(unknown, &ParamError{Param: name, Msg: "there is no such parameter" + suggest(name, all)})
		}
	}
	return q.bind(func(p *Param) (any, error) {
		if raw, ok := params[p.Name]; ok {
			return p.fromJSON(raw)
		}
		return p.absent()
	}, unknown)
}

// bind makes arguments of the values that find finds.
func (q *Query) bind(find func(*Param) (any, error), unknown []error) (Args, error) {
	var errs []error
	args := Args{query: q, values: make([]any, len(q.Params)), sql: make([]any, 0, len(q.Params))}
	for i := range q.Params {
		p := &q.Params[i]
		value, err := find(p)
		if err != nil {
			errs = append(errs, &ParamError{Param: p.Name, Msg: err.Error()})
		}
		args.values[i] = value
		if p.n > 0 {
			args.sql = append(args.sql, value)
		}
	}
	if err := errors.Join(append(errs, unknown...)...); err != nil {
		return Args{}, err
	}
	return args, nil
}

// unknown reports what the request sends that no parameter of that place takes.
func (q *Query) unknown(v Values) []error {
	var errs []error
	check := func(name string, in In, place string) {
		p := q.param(name)
		switch {
		case p == nil:
			msg := "there is no such parameter" + suggest(name, q.names(in))
			errs = append(errs, &ParamError{Param: name, Msg: msg})
		case p.In != in:
			errs = append(errs, &ParamError{Param: name, Msg: fmt.Sprintf("belongs in the %s, not in the %s", p.In.place(), place)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Query)) {
		check(name, InQuery, "query string")
	}
	for _, name := range slices.Sorted(maps.Keys(v.Body)) {
		check(name, InBody, "body")
	}
	return errs
}

func (q *Query) names(in In) []string {
	var names []string
	for _, p := range q.Params {
		if p.In == in {
			names = append(names, p.Name)
		}
	}
	return names
}

// place names it for people.
func (in In) place() string {
	return map[In]string{InPath: "path", InQuery: "query string", InBody: "body"}[in]
}

// bind finds and checks the value of one parameter.
func (p *Param) bind(v Values) (any, error) {
	switch p.In {
	case InPath:
		if raw, ok := v.Path[p.Name]; ok {
			return p.fromStrings([]string{raw})
		}
	case InQuery:
		if raw := v.Query[p.Name]; len(raw) > 0 {
			return p.fromStrings(raw)
		}
	case InBody:
		if raw, ok := v.Body[p.Name]; ok {
			return p.fromJSON(raw)
		}
	}
	return p.absent()
}

// absent is the value of a parameter that is not given.
func (p *Param) absent() (any, error) {
	switch {
	case p.Default != nil:
		return p.fromStrings([]string{*p.Default})
	case p.Required:
		return nil, errors.New("is required")
	}
	return nil, nil
}

// fromStrings reads a parameter of the path or the query string.
func (p *Param) fromStrings(raw []string) (any, error) {
	if p.Type == TypeTextArray {
		var elements []string
		for _, r := range raw {
			if r != "" {
				elements = append(elements, strings.Split(r, ",")...)
			}
		}
		return p.list(elements)
	}
	if len(raw) > 1 {
		return nil, errors.New("is given more than once")
	}
	return p.scalar(raw[0])
}

// fromJSON reads a member of the body. Numbers may be sent as strings, because JavaScript loses digits of a bigint or a
// numeric; nothing else is converted.
func (p *Param) fromJSON(raw json.RawMessage) (any, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, errors.New(describe[p.Type])
	}
	isNumber := p.Type == TypeInt || p.Type == TypeBigint || p.Type == TypeNumeric
	switch c := raw[0]; {
	case c == 'n':
		return nil, errors.New("must not be null: leave it out instead")
	case c == '[' && p.Type == TypeTextArray:
		return p.listFromJSON(raw)
	case c == '"' && p.Type != TypeBool && p.Type != TypeTextArray:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, errors.New(describe[p.Type])
		}
		return p.scalar(s)
	case (c == 't' || c == 'f') && p.Type == TypeBool, (c == '-' || isDigit(c)) && isNumber:
		return p.scalar(string(raw))
	}
	return nil, errors.New(describe[p.Type])
}

func (p *Param) listFromJSON(raw json.RawMessage) (any, error) {
	var elements []*string
	if err := json.Unmarshal(raw, &elements); err != nil || slices.Contains(elements, nil) {
		return nil, errors.New(describe[p.Type])
	}
	list := make([]string, len(elements))
	for i, e := range elements {
		list[i] = *e
	}
	return p.list(list)
}

func (p *Param) scalar(raw string) (any, error) {
	value, err := p.Type.canonical(raw)
	if err != nil {
		return nil, err
	}
	if err := p.check(value); err != nil {
		return nil, err
	}
	return value, nil
}

// list checks the elements of a text[]. It never returns a nil slice, which pgx would send as NULL.
func (p *Param) list(elements []string) (any, error) {
	list := make([]string, len(elements))
	for i, e := range elements {
		value, err := p.scalar(e)
		if err != nil {
			return nil, fmt.Errorf("element %d %w", i+1, err)
		}
		list[i] = value.(string)
	}
	if err := p.checkCount(len(list)); err != nil {
		return nil, err
	}
	return list, nil
}

// JSON makes of a text, as it would stand in a URL, what BindJSON reads for that parameter.
func (q *Query) JSON(name, text string) (json.RawMessage, error) {
	p := q.param(name)
	switch {
	case p == nil:
		return nil, &ParamError{Param: name, Msg: "there is no such parameter" + suggest(name, slices.Concat(q.names(InPath), q.names(InQuery)))}
	case p.Type == TypeTextArray:
		return json.Marshal(strings.Split(text, ","))
	case p.Type == TypeBool:
		return json.RawMessage(text), nil
	}
	return json.Marshal(text)
}
