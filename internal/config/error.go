package config

import (
	"fmt"
	"strings"
)

// An Error is everything that Check found wrong.
type Error struct {
	Problems []Problem
}

// A Problem is one line of an Error: one setting with a bad value or none, or
// several that do not go together.
type Problem struct {
	Settings []string // flag and variable of each, such as "--nats-url ($NATS_URL)"
	Given    []string // what each one was given, fit to be printed
	Expected string   // what is expected, in words
}

// Error is a heading and one line a problem.
func (e *Error) Error() string {
	var text strings.Builder
	if len(e.Problems) == 1 {
		text.WriteString("1 setting is wrong:")
	} else {
		fmt.Fprintf(&text, "%d settings are wrong:", len(e.Problems))
	}
	for _, p := range e.Problems {
		text.WriteString("\n  " + p.String())
	}
	return text.String()
}

// String is the problem on one line.
func (p Problem) String() string {
	parts := make([]string, len(p.Settings))
	for i := range p.Settings {
		parts[i] = p.Settings[i] + " " + p.Given[i]
	}
	return strings.Join(parts, ", ") + "; expected: " + p.Expected
}
