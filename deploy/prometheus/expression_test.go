package prometheus_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// expression is what a PromQL expression asks for.
type expression struct {
	selectors []string // such as up{job="x"}, without ranges and offsets
	labels    []string // that it groups or matches by
}

var (
	// token is a range, a string, a number or duration, a name, or any other character.
	token = regexp.MustCompile(`\[[^\]]*\]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[0-9.][0-9a-zA-Z.]*|[a-zA-Z_:][a-zA-Z0-9_:]*|\S`)
	// grouping words have a list of labels behind them.
	grouping = regexp.MustCompile(`^(by|without|on|ignoring|group_left|group_right)$`)
	operator = regexp.MustCompile(`^(and|or|unless|offset|bool|atan2|[iI]nf|[nN]a[nN])$`)
)

// parse finds the selectors and labels of an expression that Prometheus has accepted: it knows the words of PromQL, and no more.
func parse(expr string) (e expression) {
	tokens := token.FindAllString(expr, -1)
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	for i := 0; i < len(tokens); i++ {
		switch word := tokens[i]; {
		case !isName(word) || operator.MatchString(word):
		case grouping.MatchString(word):
			if at(i+1) != "(" { // group_left alone
				continue
			}
			for i += 2; i < len(tokens) && tokens[i] != ")"; i++ {
				if tokens[i] != "," {
					e.labels = append(e.labels, tokens[i])
				}
			}
		case at(i+1) == "(" || grouping.MatchString(at(i+1)): // a function, an aggregation
		default:
			selector := word
			if at(i+1) == "{" {
				end := i + 1 + slices.Index(tokens[i+1:], "}")
				selector += strings.Join(tokens[i+1:end+1], "")
				i = end
			}
			e.selectors = append(e.selectors, selector)
		}
	}
	return e
}

func isName(word string) bool {
	c := word[0]
	return c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

var variable = regexp.MustCompile(`\$\{?\w+\}?`)

// withoutVariables puts values in the places of Grafana's variables.
func withoutVariables(t *testing.T, expr string) string {
	t.Helper()
	values := map[string]string{"$source": ".*", "$instance": ".*", "$__rate_interval": "10s"}
	return variable.ReplaceAllStringFunc(expr, func(name string) string {
		require.Contains(t, slices.Collect(maps.Keys(values)), name, "a variable that the dashboard does not have")
		return values[name]
	})
}

func TestParseExpressions(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want expression
	}{
		{"up == 0", expression{selectors: []string{"up"}}},
		{`sum by (source, le) (rate(a_bucket{route!~"/|{x}", job="y"}[5m])) > 0.5e3`, expression{[]string{`a_bucket{route!~"/|{x}",job="y"}`}, []string{"source", "le"}}},
		{`sum(a) by (b) / ignoring (c) group_left avg_over_time(d[2m:1m] offset 10m) or on() vector(1)`, expression{[]string{"a", "d"}, []string{"b", "c"}}},
		{"a unless on (job) b offset 1h and time() - c < 2 ^ 30 or absent(d)", expression{[]string{"a", "b", "c", "d"}, []string{"job"}}},
		{`sum without(x)(e{y='}"'})`, expression{[]string{`e{y='}"'}`}, []string{"x"}}},
	} {
		require.Equal(t, tt.want, parse(tt.expr), tt.expr)
	}
}
