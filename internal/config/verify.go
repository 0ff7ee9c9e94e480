package config

import (
	"strconv"
	"strings"
	"time"
)

// Verify is how the invalidator checks the cache in the background.
type Verify struct {
	Rate float64 // entries a second; 0: it does not

	QueriesDir   string        // as in API
	Example      bool          // as in API
	MaxStaleness time.Duration // as in API
}

// Register adds the settings to s.
func (v *Verify) Register(s *Set) {
	s.Rate(&v.Rate, "verify-rate", "FRESHET_VERIFY_RATE", 0,
		"compare so many cached entries a second with the database, in the background; 0: none", Between(0.0, 10_000))
	s.String(&v.QueriesDir, "queries", "FRESHET_QUERIES", "",
		"folder of the SQL files that the api serves, for --verify-rate")
	s.Bool(&v.Example, "example", "FRESHET_EXAMPLE", v.Example,
		"the api serves the example application's queries, for --verify-rate")
	registerMaxStaleness(s, &v.MaxStaleness)
	// Not a Validate: where nothing is verified the variable may be that of the api's machine.
	s.Rule("the path of a folder",
		func() bool { return v.Rate == 0 || v.QueriesDir == "" || isFolder(v.QueriesDir) }, "FRESHET_QUERIES")
	s.Rule("at least one of the two that say which queries the api serves, or there is nothing to verify",
		func() bool { return v.Rate == 0 || v.QueriesDir != "" || v.Example },
		"FRESHET_VERIFY_RATE", "FRESHET_QUERIES", "FRESHET_EXAMPLE")
}

// Audited is what freshet verify has to know of the api whose cache it looks at.
type Audited struct {
	Source       string        // as in Source
	QueriesDir   string        // as in API
	Example      bool          // as in API
	MaxStaleness time.Duration // as in API
}

// Register adds the settings to s.
func (a *Audited) Register(s *Set) {
	registerSource(s, &a.Source)
	registerQueries(s, &a.QueriesDir, &a.Example, "folder of the SQL files that the api serves", "the api serves the example application's queries")
	registerMaxStaleness(s, &a.MaxStaleness)
}

// registerMaxStaleness adds the bound of reads; several groups of settings share it.
func registerMaxStaleness(s *Set, dst *time.Duration) {
	s.Duration(dst, "max-staleness", "FRESHET_MAX_STALENESS", 5*time.Second,
		"how far behind a cached answer may be, unless the request asks for less", AtLeast(time.Millisecond))
}

// Rate registers a setting that takes a number of things a second: 50 or 50/s.
func (s *Set) Rate(dst *float64, flag, variable string, def float64, usage string, opts ...Option) {
	register(s, kind[float64]{
		name:     "rate",
		expected: "a rate such as 50/s or 0.5",
		parse:    ParseRate,
		format:   func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) },
	}, dst, flag, variable, def, usage, opts)
}

// ParseRate reads 50, 50/s or 0.5/s: a number of things a second, not negative.
func ParseRate(raw string) (float64, error) {
	number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(raw), "/s"))
	if number == "" || strings.Trim(number, "0123456789.") != "" { // no sign, no exponent, no Inf
		return 0, errKind
	}
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errKind
	}
	return rate, nil
}
