// Package config owns the settings of Freshet's processes: how each one is
// named, read, checked and explained. Every setting is a flag and an
// environment variable; the flag wins over the variable, the variable over the
// default, and a variable that is set but empty counts as not set (compose files
// and shells hand those on for "no value").
//
// A process registers its settings on one Set, parses its flags and calls Check.
// Nothing fails at the first mistake: Check names everything that is wrong in one
// message, so that an operator corrects a deployment once and not once a setting.
//
// This package must never print the value of a secret, and it must never reach
// out: it opens no connection, so --help and a refused start cost nothing.
package config

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"
)

// A Set is the settings of one process. It is filled while the command is built
// and read once, by Check; it is not safe for concurrent use.
type Set struct {
	flags    *pflag.FlagSet
	lookup   func(string) (string, bool)
	settings []*setting
	rules    []rule
}

// A Variable describes one registered setting, for tests that compare compose
// files and documentation with what the program reads.
type Variable struct {
	Name     string // the environment variable, such as NATS_URL
	Flag     string // the flag without its dashes, such as nats-url
	Default  string // as --help shows it; empty for a secret
	Usage    string // one line, without variable and default
	Required bool   // no default: the process refuses to start without it
	Secret   bool   // the value is never printed
}

// New returns an empty Set that adds its flags to flags and reads variables with
// lookup; a nil lookup means os.LookupEnv.
func New(flags *pflag.FlagSet, lookup func(string) (string, bool)) *Set {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	// Settings are registered in groups that belong together; sorting them by
	// name would take the groups apart in --help.
	flags.SortFlags = false
	return &Set{flags: flags, lookup: lookup}
}

// Check reads every registered setting, stores the values in their destinations
// and returns nil, or an *Error that names all that is wrong. Call it after the
// flags were parsed. Where it returns an error the destinations that are not
// named in it hold their values, the others their defaults.
func (s *Set) Check() error {
	var problems []Problem
	for _, st := range s.settings {
		if problem, bad := st.resolve(s.lookup); bad {
			problems = append(problems, problem)
		}
	}
	for _, r := range s.rules {
		if problem, bad := s.apply(r); bad {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// Given reports whether the setting of the named variable was given, by flag or
// by variable, rather than left at its default. It is false before Check, and
// for a variable that is not registered.
func (s *Set) Given(variable string) bool {
	st := s.find(variable)
	return st != nil && st.origin != fromDefault
}

// Variables returns the registered settings in the order of their registration, without those that are hidden.
func (s *Set) Variables() []Variable {
	all := make([]Variable, 0, len(s.settings))
	for _, st := range s.settings {
		if st.hidden {
			continue
		}
		all = append(all, Variable{
			Name:     st.variable,
			Flag:     st.flag,
			Default:  st.defaultText(),
			Usage:    st.usage,
			Required: st.required,
			Secret:   st.secret,
		})
	}
	return all
}

// All returns every setting that any of the commands knows.
func All() []Variable {
	s := New(pflag.NewFlagSet("all", pflag.ContinueOnError), func(string) (string, bool) { return "", false })
	for _, group := range []interface{ Register(*Set) }{
		&Database{}, &Redis{}, &NATS{}, &Log{}, &Source{}, &CDC{}, &Invalidator{}, &API{}, &Health{}, &Verify{}, &Audited{}, &Warmed{}, &Dev{},
	} {
		group.Register(s)
	}
	return s.Variables()
}

// A rule is a condition on several settings at once.
type rule struct {
	holds     func() bool
	expected  string
	variables []string
}

// Rule adds a condition on several settings, named by their variables; expected
// says in words what must hold. It is not looked at while one of those settings
// is itself wrong: the message would only repeat that.
func (s *Set) Rule(expected string, holds func() bool, variables ...string) {
	for _, v := range variables {
		if s.find(v) == nil {
			panic(fmt.Sprintf("config: rule %q names %s, which is not registered", expected, v))
		}
	}
	s.rules = append(s.rules, rule{holds: holds, expected: expected, variables: variables})
}

// apply evaluates one rule after its settings were resolved.
func (s *Set) apply(r rule) (Problem, bool) {
	problem := Problem{Expected: r.expected}
	for _, v := range r.variables {
		st := s.find(v)
		if st.bad {
			return Problem{}, false
		}
		problem.Settings = append(problem.Settings, st.name())
		problem.Given = append(problem.Given, st.shown())
	}
	return problem, !r.holds()
}

// find returns the setting of a variable, nil if it is not registered.
func (s *Set) find(variable string) *setting {
	i := slices.IndexFunc(s.settings, func(st *setting) bool { return st.variable == variable })
	if i < 0 {
		return nil
	}
	return s.settings[i]
}
