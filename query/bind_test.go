package query_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/query"
)

// parse makes a query of a route, the lines of its parameters and a statement that uses them all.
func parse(t testing.TB, route string, params ...string) *query.Query {
	t.Helper()
	var src strings.Builder
	src.WriteString("-- name: test\n-- result: one\n-- route: " + route + "\n")
	if strings.HasPrefix(route, "GET") {
		src.WriteString("-- depends: t()\n")
	}
	uses := []string{"1"}
	for _, p := range params {
		src.WriteString("-- param: " + p + "\n")
		name, _, _ := strings.Cut(p, " ")
		uses = append(uses, ":"+name)
	}
	src.WriteString("SELECT " + strings.Join(uses, ", ") + " AS last")
	q, err := query.Parse("test.sql", []byte(src.String()))
	require.NoError(t, err)
	return q
}

// messages are what a caller would be told, in order.
func messages(err error) []string {
	var all []string
	for _, p := range query.ParamErrors(err) {
		all = append(all, p.Error())
	}
	return all
}

// scalars lists for each type what it admits, with the canonical form, and what it refuses.
var scalars = []struct {
	typ     string
	good    map[string]string
	refused []string
}{
	{"text", map[string]string{"": "", " a ": " a ", "é\n'": "é\n'", "NULL": "NULL"}, []string{"\xff", "a\x00b"}}, //nolint:gocritic // white space stays
	{"int", map[string]string{"7": "7", "007": "7", "+7": "7", "-0": "0", "2147483647": "2147483647", "-2147483648": "-2147483648"},
		[]string{"", " 7", "7.0", "1e3", "0x7", "1_000", "2147483648", "seven", "٧"}},
	{"bigint", map[string]string{"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808"},
		[]string{"9223372036854775808", "--1"}},
	{"bool", map[string]string{"true": "t", "TRUE": "t", "t": "t", "1": "t", "false": "f", "F": "f", "0": "f"}, []string{"", "yes", "2"}},
	{"uuid", map[string]string{
		"123E4567-E89B-12D3-A456-426614174000": "123e4567-e89b-12d3-a456-426614174000",
		"123e4567e89b12d3a456426614174000":     "123e4567-e89b-12d3-a456-426614174000",
	}, []string{"", "123e4567", "123e4567-e89b-12d3-a456-42661417400g", "123e4567e-89b-12d3-a456-426614174000",
		"{123e4567-e89b-12d3-a456-426614174000}"}},
	{"date", map[string]string{"2024-02-29": "2024-02-29", "0001-01-01": "0001-01-01", "9999-12-31": "9999-12-31"},
		[]string{"", "2023-02-29", "2024-2-9", "0000-01-01", "12024-01-01", "today", "infinity", "2024-01-01T00:00:00Z"}},
	{"timestamptz", map[string]string{
		"2024-02-29T23:30:00-01:00":     "2024-03-01T00:30:00Z",
		"2024-01-01T00:00:00.120Z":      "2024-01-01T00:00:00.12Z",
		"2024-01-01T00:00:00.1234567Z":  "2024-01-01T00:00:00.123457Z",
		"0001-01-01T00:00:00Z":          "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999Z":   "9999-12-31T23:59:59.999999Z",
		"2024-01-01T00:00:00.99999951Z": "2024-01-01T00:00:01Z",
	}, []string{"", "2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00 01:00", "0001-01-01T00:00:00+01:00",
		"9999-12-31T23:59:59.9999999Z", "2024-01-01T24:00:00Z", "now"}},
	{"numeric", map[string]string{"1": "1", "+01.50": "1.50", "-0.00": "0.00", "-.0": "", "000": "0", "-00.10": "-0.10",
		"123456789012345678901234567890.123456789": "123456789012345678901234567890.123456789"},
		[]string{"", ".", "1.", ".5", "1e5", "NaN", "Infinity", "1,5", "--1", strings.Repeat("9", 1001)}},
}

func TestScalars(t *testing.T) {
	for _, c := range scalars {
		t.Run(c.typ, func(t *testing.T) {
			q := parse(t, "GET /x", "v "+c.typ)
			for raw, canonical := range c.good {
				args, err := q.Bind(query.Values{Query: url.Values{"v": {raw}}})
				if canonical == "" && raw != "" {
					require.Error(t, err, "%q", raw)
					continue
				}
				require.NoError(t, err, "%q", raw)
				require.Equal(t, []any{canonical}, args.Values(), "%q", raw)
				again, err := q.Bind(query.Values{Query: url.Values{"v": {canonical}}})
				require.NoError(t, err)
				require.Equal(t, args.Key(), again.Key(), "the canonical form of %q is not canonical", raw)
			}
			for _, raw := range c.refused {
				_, err := q.Bind(query.Values{Query: url.Values{"v": {raw}}})
				require.Len(t, messages(err), 1, "%q", raw)
				require.Regexp(t, "^v: must ", messages(err)[0])
			}
		})
	}
}

func TestBounds(t *testing.T) {
	q := parse(t, "GET /x", "n int = 5, min -2, max 50", "x numeric = 0, max 1", "s text = 'ab', min_len 2, max_len 3",
		"k text = 'a', one of a|b", "l text[] = '', min 0, max 2, max_len 1")
	for name, c := range map[string]struct{ query, want string }{
		"below min":       {"n=-3", "n: must be at least -2"},
		"above max":       {"n=51", "n: must be at most 50"},
		"numeric":         {"x=1.01", "x: must be at most 1"},
		"too short":       {"s=a", "s: must have at least 2 characters"},
		"too long":        {"s=éèêë", "s: must have at most 3 characters"},
		"not one of":      {"k=c", "k: must be one of a, b"},
		"too many":        {"l=a,b,c", "l: must have at most 2 elements"},
		"element":         {"l=a,bb", "l: element 2 must have at most 1 characters"},
		"twice":           {"n=1&n=1", "n: is given more than once"},
		"unknown":         {"nn=1", "nn: there is no such parameter"},
		"far unknown":     {"elephant=1", "elephant: there is no such parameter"},
		"several at once": {"n=x&k=c&z=1", "n: must be an integer between -2147483648 and 2147483647\nk: must be one of a, b\nz: there is no such parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := url.ParseQuery(c.query)
			require.NoError(t, err)
			_, err = q.Bind(query.Values{Query: values})
			require.Equal(t, c.want, strings.Join(messages(err), "\n"))
		})
	}
	for _, edge := range []string{"n=-2", "n=50", "x=1.000", "s=éèê", "l=", "l=a,b", "l=a&l=b"} {
		values, _ := url.ParseQuery(edge)
		_, err := q.Bind(query.Values{Query: values})
		require.NoError(t, err, edge)
	}
}

func TestPlaces(t *testing.T) {
	read := parse(t, "GET /x/{id}", "id int", "q text, optional", "tags text[], optional")
	write := parse(t, "PATCH /x/{id}", "id int", "title text", "n bigint, optional", "price numeric, optional",
		"on bool, optional", "tags text[], optional", "at timestamptz, optional")
	for name, c := range map[string]struct {
		q    *query.Query
		v    query.Values
		args []any
		errs []string
	}{
		"optional is NULL":    {q: read, v: query.Values{Path: map[string]string{"id": "07"}}, args: []any{"7", nil, nil}},
		"path is required":    {q: read, errs: []string{"id: is required"}},
		"path in query":       {q: read, v: query.Values{Path: map[string]string{"id": "7"}, Query: url.Values{"id": {"8"}}}, errs: []string{"id: belongs in the path, not in the query string"}},
		"empty is not absent": {q: read, v: query.Values{Path: map[string]string{"id": "7"}, Query: url.Values{"q": {""}, "tags": {""}}}, args: []any{"7", "", []string{}}},
		"body": {q: write, v: body(`{"title":"a\"b","n":"9007199254740993","price":1.50,"on":true,"tags":["x,y",""],"at":"2024-01-01T01:00:00+01:00"}`),
			args: []any{"1", `a"b`, "9007199254740993", "1.50", "t", []string{"x,y", ""}, "2024-01-01T00:00:00Z"}},
		"null":          {q: write, v: body(`{"title":null,"tags":[null]}`), errs: []string{"title: must not be null: leave it out instead", "tags: must be a list of texts"}},
		"wrong kinds":   {q: write, v: body(`{"title":7,"n":true,"price":[],"on":"true","tags":"a","at":{}}`), errs: []string{"title: must be text", "n: must be an integer between -9223372036854775808 and 9223372036854775807", "price: must be a number without an exponent such as 12.50", "on: must be true or false", "tags: must be a list of texts", "at: must be a time with a zone such as 2006-01-02T15:04:05Z (in a URL, + is written %2B)"}},
		"NUL":           {q: write, v: body(`{"title":"a\u0000"}`), errs: []string{"title: must not contain a NUL character"}},
		"body in query": {q: write, v: query.Values{Path: map[string]string{"id": "1"}, Query: url.Values{"title": {"x"}}}, errs: []string{"title: is required", "title: belongs in the body, not in the query string"}},
		"unknown":       {q: write, v: body(`{"title":"x","titel":"y","id":3}`), errs: []string{"id: belongs in the path, not in the body", `titel: there is no such parameter; did you mean "title"?`}},
	} {
		t.Run(name, func(t *testing.T) {
			args, err := c.q.Bind(c.v)
			require.Equal(t, c.errs, messages(err))
			if c.errs == nil {
				require.Equal(t, c.args, args.Values())
			}
		})
	}
}

func body(s string) query.Values {
	members, err := query.ParseBody([]byte(s))
	if err != nil {
		panic(err)
	}
	return query.Values{Path: map[string]string{"id": "1"}, Body: members}
}

func TestParseBody(t *testing.T) {
	for _, empty := range []string{"", " \n", "{}", " {} "} {
		members, err := query.ParseBody([]byte(empty))
		require.NoError(t, err)
		require.Empty(t, members)
	}
	members, err := query.ParseBody([]byte(`{"a": {"b": [1, 2]}, "c": 1.50}`))
	require.NoError(t, err)
	require.Equal(t, map[string]json.RawMessage{"a": json.RawMessage(`{"b": [1, 2]}`), "c": json.RawMessage("1.50")}, members)
	for bad, want := range map[string]string{
		`[]`:               "the body must be a JSON object",
		`null`:             "the body must be a JSON object",
		`x`:                "the body must be a JSON object",
		`{"a":1`:           "ends too early",
		`{"a":`:            "ends too early",
		`{"a" 1}`:          "not valid JSON",
		`{a:1}`:            "not valid JSON",
		`{"a":1,}`:         "not valid JSON",
		`{"a":1}{}`:        "nothing after it",
		`{"a":1} x`:        "nothing after it",
		`{"a":1,"a":2}`:    "a: is given more than once",
		"{\"a\":\"\xff\"}": "must be valid UTF-8",
	} {
		_, err := query.ParseBody([]byte(bad))
		require.ErrorContains(t, err, want, bad)
		require.Len(t, query.ParamErrors(err), 1)
	}
}

// Two requests have one key exactly if they mean the same.
func TestKey(t *testing.T) {
	q := parse(t, "GET /x", "status text = 'published'", "limit int = 50", "tags text[], optional", "q text, optional")
	key := func(s string) string {
		values, err := url.ParseQuery(s)
		require.NoError(t, err)
		args, err := q.Bind(query.Values{Query: values})
		require.NoError(t, err)
		return args.Key()
	}
	require.Equal(t, "status=9:published limit=2:50 tags=- q=-", key(""))
	for _, same := range []string{"status=published", "limit=050&status=published", "limit=%2B50"} {
		require.Equal(t, key(""), key(same), same)
	}
	require.Equal(t, key("tags=a,b"), key("tags=a&tags=b"))
	seen := make(map[string]string)
	for _, s := range []string{"", "q=", "q=-", "tags=", "tags=a", "tags=a,b", "tags=ab", "tags=,", "limit=5", "limit=5&q=0",
		"status=published+limit%3D2:50", "status=p&q=1:x", "q=p", "tags=1:a", "tags=a]+q%3D1:x", "tags=a&q=x"} {
		k := key(s)
		require.Empty(t, seen[k], "%q and %q share a key", s, seen[k])
		seen[k] = s + " "
	}
}

// A dependency's pins take their values from the request or from the file, as Postgres prints them.
func TestPins(t *testing.T) {
	q, err := query.Parse("a.sql", []byte("-- name: a\n-- route: GET /{id}\n-- param: id int\n-- param: on bool = true\n"+
		"-- result: one\n-- depends: t(id, on, kind = 'x', hidden = false, n = 007)\nSELECT 1"))
	require.NoError(t, err)
	args, err := q.Bind(query.Values{Path: map[string]string{"id": "042"}})
	require.NoError(t, err)
	require.Empty(t, args.Values(), "the statement uses none of them")
	got := make(map[string]string)
	for _, pin := range q.Depends[0].Columns {
		got[pin.Column] = args.Pin(pin)
	}
	require.Equal(t, map[string]string{"id": "42", "on": "t", "kind": "x", "hidden": "f", "n": "7"}, got)
	require.Equal(t, "42", args.Arg("id"))
	require.Nil(t, args.Arg("nobody"))
}
