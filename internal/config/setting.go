package config

import (
	"fmt"
	"strconv"
)

// origin says where a setting's value came from.
type origin int

const (
	fromDefault origin = iota
	fromFlag
	fromVariable
)

// notShown stands for a value that must not be printed.
const notShown = "(not shown)"

// A setting is one flag and its variable. It is the flag's pflag.Value: parsing
// the command line only records what was written and cannot fail, so that a bad
// flag is reported by Check beside everything else.
type setting struct {
	flag, variable, usage string

	kind     string // the placeholder that --help shows after the flag
	expected string // what a good value is, in words
	required bool
	secret   bool
	hidden   bool
	fallback string        // the default in --help, where it is not a plain value
	derive   func() string // the default where it follows from other settings

	binding any // the *binding[T] behind load, reset and formatted
	load    func(raw string) bool
	reset   func()
	initial func() string           // the plain default, formatted
	redact  func(raw string) string // for values that are secret in part

	written   string // what the flag was given
	isWritten bool
	raw       string // what resolve settled on
	origin    origin
	bad       bool
}

// An Option changes how a setting is read or shown.
type Option func(*setting)

// Required makes a setting without which Check fails. Its default is not used.
func Required() Option { return func(st *setting) { st.required = true } }

// Secret keeps a setting's value, and its default, out of every message.
func Secret() Option { return func(st *setting) { st.secret = true } }

// Hidden keeps a setting out of --help and of Variables: it is there for our own measurements and tests.
func Hidden() Option { return func(st *setting) { st.hidden = true } }

// DefaultFrom computes the default of a setting from others, which must be
// registered before it. text is what --help shows for it.
func DefaultFrom(text string, derive func() string) Option {
	return func(st *setting) { st.fallback, st.derive = text, derive }
}

// Validate refuses a value for which ok is false; expected says in words what a
// good value is, and replaces the words of the setting's type. T must be the type
// of the setting's destination. Defaults are not put to ok.
func Validate[T any](expected string, ok func(T) bool) Option {
	return func(st *setting) {
		b, matches := st.binding.(*binding[T])
		if !matches {
			panic(fmt.Sprintf("config: $%s: Validate for another type than the setting's", st.variable))
		}
		st.expected, b.ok = expected, ok
	}
}

// A binding ties a setting to the variables that receive its value.
type binding[T any] struct {
	kind  kind[T]
	value T // the default
	ok    func(T) bool
	dsts  []*T
}

// store puts v in every destination.
func (b *binding[T]) store(v T) {
	for _, dst := range b.dsts {
		*dst = v
	}
}

// load parses, validates and stores raw; false if it is not a good value.
func (b *binding[T]) load(raw string) bool {
	v, err := b.kind.parse(raw)
	if err != nil || (b.ok != nil && !b.ok(v)) {
		return false
	}
	b.store(v)
	return true
}

// register adds a setting to s, or one more destination to a setting that two
// groups share (freshet dev reads the settings of all the processes).
func register[T any](s *Set, k kind[T], dst *T, flag, variable string, def T, usage string, opts []Option) {
	*dst = def
	if st := s.find(variable); st != nil {
		b, same := st.binding.(*binding[T])
		if !same || st.flag != flag || st.initial() != k.format(def) {
			panic(fmt.Sprintf("config: $%s is registered twice, differently", variable))
		}
		b.dsts = append(b.dsts, dst)
		return
	}
	b := &binding[T]{kind: k, value: def, dsts: []*T{dst}}
	st := &setting{
		flag: flag, variable: variable, usage: usage,
		kind: k.name, expected: k.expected, redact: k.redact,
		binding: b, load: b.load,
		reset:   func() { b.store(b.value) },
		initial: func() string { return b.kind.format(b.value) },
	}
	for _, option := range opts {
		option(st)
	}
	s.settings = append(s.settings, st)

	f := s.flags.VarPF(st, flag, "", st.help())
	f.Hidden = st.hidden
	if k.name == "bool" {
		f.NoOptDefVal = "true" // --example means --example=true
	}
}

// resolve settles the setting's value by precedence and stores it.
func (st *setting) resolve(lookup func(string) (string, bool)) (Problem, bool) {
	st.raw, st.origin, st.bad = "", fromDefault, false
	if st.isWritten {
		st.raw, st.origin = st.written, fromFlag
	} else if v, ok := lookup(st.variable); ok && v != "" {
		st.raw, st.origin = v, fromVariable
	}

	switch {
	case st.origin != fromDefault:
		st.bad = !st.load(st.raw)
	case st.required:
		st.bad = true
	case st.derive != nil:
		st.raw = st.derive()
		st.bad = !st.load(st.raw)
	default:
		st.reset()
	}
	if !st.bad {
		return Problem{}, false
	}
	st.reset()
	return Problem{Settings: []string{st.name()}, Given: []string{st.shown()}, Expected: st.expected}, true
}

// name is how messages call the setting.
func (st *setting) name() string { return "--" + st.flag + " ($" + st.variable + ")" }

// shown is how messages quote the setting's value and say where it came from.
func (st *setting) shown() string {
	if st.origin == fromDefault {
		if st.required {
			return "is not set"
		}
		return "has its default " + quote(st, st.effectiveDefault())
	}
	if st.origin == fromFlag {
		return "was given by flag as " + quote(st, st.raw)
	}
	return "was given by variable as " + quote(st, st.raw)
}

// effectiveDefault is the default as a value, where defaultText may be words.
func (st *setting) effectiveDefault() string {
	if st.derive != nil {
		return st.raw
	}
	return st.initial()
}

// quote quotes a value for a message, unless it is not for anybody's eyes.
func quote(st *setting, value string) string {
	if st.secret {
		return notShown
	}
	if st.redact != nil {
		value = st.redact(value)
	}
	if value == notShown {
		return notShown
	}
	return strconv.Quote(value)
}

// defaultText is the default for --help: empty for secrets and required settings.
func (st *setting) defaultText() string {
	switch {
	case st.secret || st.required:
		return ""
	case st.fallback != "":
		return st.fallback
	}
	return st.initial()
}

// help is the setting's line in --help. The default is part of it because pflag
// leaves out defaults that look like zero values, and "0" often means something.
func (st *setting) help() string {
	text := st.usage + " ($" + st.variable
	switch def := st.defaultText(); {
	case st.required:
		text += ", required"
	case def != "":
		text += ", default " + def
	}
	return text + ")"
}

// Set records what the command line says; Check judges it. It is part of
// pflag.Value.
func (st *setting) Set(value string) error {
	st.written, st.isWritten = value, true
	return nil
}

// String returns what the command line said, never a secret. It is part of
// pflag.Value; pflag takes its result at registration for the default, which
// help shows in our own words instead.
func (st *setting) String() string {
	if st.secret || st.redact != nil {
		return ""
	}
	return st.written
}

// Type is the placeholder in --help. It is part of pflag.Value.
func (st *setting) Type() string { return st.kind }
