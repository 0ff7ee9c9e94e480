package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A kind is one type of setting: how it is read and how it is written.
type kind[T any] struct {
	name     string // the placeholder in --help
	expected string
	parse    func(string) (T, error)
	format   func(T) string
	redact   func(string) string // nil: nothing in it is secret
}

// errKind is what a parser returns; the words come from kind.expected.
var errKind = errors.New("not a value of this kind")

// String registers a setting that takes any text.
func (s *Set) String(dst *string, flag, variable, def, usage string, opts ...Option) {
	register(s, kind[string]{
		name:     "string",
		expected: "text",
		parse:    func(raw string) (string, error) { return raw, nil },
		format:   func(v string) string { return v },
	}, dst, flag, variable, def, usage, opts)
}

// Int registers a setting that takes a whole number.
func (s *Set) Int(dst *int, flag, variable string, def int, usage string, opts ...Option) {
	register(s, kind[int]{
		name:     "int",
		expected: "a whole number",
		parse:    strconv.Atoi,
		format:   strconv.Itoa,
	}, dst, flag, variable, def, usage, opts)
}

// Bool registers a switch: true or false, 1 or 0; the bare flag means true.
func (s *Set) Bool(dst *bool, flag, variable string, def bool, usage string, opts ...Option) {
	register(s, kind[bool]{
		name:     "bool",
		expected: "true or false",
		parse:    strconv.ParseBool,
		format:   strconv.FormatBool,
	}, dst, flag, variable, def, usage, opts)
}

// Duration registers a setting that takes a length of time, never negative: a Go
// duration such as 1m30s, or a plain number of seconds, which is how other
// programs that know the DB_* variables write them.
func (s *Set) Duration(dst *time.Duration, flag, variable string, def time.Duration, usage string, opts ...Option) {
	register(s, kind[time.Duration]{
		name:     "duration",
		expected: "a duration such as 10s or 2m, or a number of seconds",
		parse:    parseDuration,
		format:   formatDuration,
	}, dst, flag, variable, def, usage, opts)
}

// Bytes registers a setting that takes a size: a plain number of bytes or one
// with a unit, KiB to TiB (powers of 1024) or KB to TB (powers of 1000).
func (s *Set) Bytes(dst *int64, flag, variable string, def int64, usage string, opts ...Option) {
	register(s, kind[int64]{
		name:     "bytes",
		expected: "a size such as 256MiB, or a number of bytes",
		parse:    parseBytes,
		format:   formatBytes,
	}, dst, flag, variable, def, usage, opts)
}

// URL registers a setting that takes a URL of one of the schemes, or several
// with commas between them where the server's client library takes a list. What
// stands before the @ in it is secret: messages show the rest only.
func (s *Set) URL(dst *string, flag, variable, def, usage string, schemes []string, opts ...Option) {
	register(s, kind[string]{
		name:     "url",
		expected: "a URL that begins with " + strings.Join(schemes, ":// or ") + "://",
		parse: func(raw string) (string, error) {
			for one := range strings.SplitSeq(raw, ",") {
				u, err := url.Parse(strings.TrimSpace(one))
				if err != nil || !slices.Contains(schemes, u.Scheme) || (u.Host == "" && u.Path == "") {
					return "", errKind
				}
			}
			return raw, nil
		},
		format: func(v string) string { return v },
		redact: redactURLs,
	}, dst, flag, variable, def, usage, opts)
}

// Between is a Validate for numbers, lengths of time and sizes: from low to high,
// both included.
func Between[T cmp.Ordered](low, high T) Option {
	return bounded(func(format func(T) string) string {
		return fmt.Sprintf("from %s to %s", format(low), format(high))
	}, func(v T) bool { return low <= v && v <= high })
}

// AtLeast is a Validate for numbers, lengths of time and sizes: low or more.
func AtLeast[T cmp.Ordered](low T) Option {
	return bounded(func(format func(T) string) string {
		return "of at least " + format(low)
	}, func(v T) bool { return low <= v })
}

// bounded builds a Validate whose words are those of the setting's kind followed
// by the bounds, written in the setting's own format.
func bounded[T cmp.Ordered](words func(format func(T) string) string, ok func(T) bool) Option {
	return func(st *setting) {
		b, matches := st.binding.(*binding[T])
		if !matches {
			panic(fmt.Sprintf("config: $%s: bounds of another type than the setting's", st.variable))
		}
		Validate(b.kind.expected+", "+words(b.kind.format), ok)(st)
	}
}

// OneOf is a Validate for text: exactly one of the choices.
func OneOf(choices ...string) Option {
	return Validate("one of "+strings.Join(choices, ", "), func(v string) bool {
		return slices.Contains(choices, v)
	})
}

// parseDuration reads 1m30s, or 90 and 1.5 as seconds.
func parseDuration(raw string) (time.Duration, error) {
	raw = strings.TrimSpace(raw)
	if raw != "" && strings.Trim(raw, "0123456789.") == "" {
		raw += "s"
	}
	d, err := time.ParseDuration(raw)
	if err != nil {
		return 0, errKind
	}
	if d < 0 {
		return 0, errKind
	}
	return d, nil
}

// formatDuration writes 72h for what time.Duration calls 72h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// units are the sizes that a number of bytes may be written in. A suffix is
// tried before any that it ends with: "KiB" before "B".
var units = []struct {
	suffix string
	size   int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// parseBytes reads 256MiB, 1 GB or 1048576; the unit's case does not matter.
func parseBytes(raw string) (int64, error) {
	number, size := strings.TrimSpace(raw), int64(1)
	for _, unit := range units {
		cut := len(number) - len(unit.suffix)
		if cut > 0 && strings.EqualFold(number[cut:], unit.suffix) {
			number, size = strings.TrimSpace(number[:cut]), unit.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return 0, errKind
	}
	return n * size, nil
}

// formatBytes writes a size in the largest unit of 1024 that divides it.
func formatBytes(n int64) string {
	for _, unit := range units[:4] {
		if n != 0 && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// redactURLs masks the part before the @ of each URL (a NATS URL may carry a
// token there without any colon) and the query, where passwords may stand too.
// What is no URL is not shown: there is no telling which part of it is secret.
func redactURLs(raw string) string {
	parts := strings.Split(raw, ",")
	for i, one := range parts {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme == "" || u.Opaque != "" {
			return notShown
		}
		if u.User != nil {
			u.User = url.User("xxxxx")
		}
		u.RawQuery, u.Fragment = "", ""
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}
