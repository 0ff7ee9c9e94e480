package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
)

// env is an environment for one test; nothing reads the process's own.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// newSet returns a Set over e, and the flag set to parse arguments with.
func newSet(e env) (*config.Set, *pflag.FlagSet) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	return config.New(flags, e.lookup), flags
}

// one of each kind, as a process would have them.
type everything struct {
	text    string
	number  int
	yes     bool
	wait    time.Duration
	size    int64
	address string
}

func (v *everything) register(s *config.Set) {
	s.String(&v.text, "text", "TEXT", "abc", "some text", config.OneOf("abc", "def"))
	s.Int(&v.number, "number", "NUMBER", 7, "a number", config.Between(1, 9))
	s.Bool(&v.yes, "yes", "YES", false, "a switch")
	s.Duration(&v.wait, "wait", "WAIT", 2*time.Minute, "a wait", config.AtLeast(time.Second))
	s.Bytes(&v.size, "size", "SIZE", 256<<20, "a size", config.AtLeast[int64](1))
	s.URL(&v.address, "address", "ADDRESS", "nats://127.0.0.1:4222", "an address", []string{"nats", "tls"})
}

func defaults() everything {
	return everything{text: "abc", number: 7, wait: 2 * time.Minute, size: 256 << 20, address: "nats://127.0.0.1:4222"}
}

func TestPrecedenceIsFlagThenVariableThenDefault(t *testing.T) {
	for _, tc := range []struct {
		name  string
		env   env
		args  []string
		want  func(*everything)
		given bool // NUMBER
	}{
		{name: "nothing is given", want: func(*everything) {}},
		{name: "a variable beats the default", env: env{"NUMBER": "3"}, given: true,
			want: func(v *everything) { v.number = 3 }},
		{name: "a flag beats the variable", env: env{"NUMBER": "3"}, args: []string{"--number=4"}, given: true,
			want: func(v *everything) { v.number = 4 }},
		{name: "a flag beats a bad variable", env: env{"NUMBER": "x"}, args: []string{"--number=4"}, given: true,
			want: func(v *everything) { v.number = 4 }},
		{name: "an empty variable counts as not set", env: env{"NUMBER": "", "WAIT": ""},
			want: func(*everything) {}},
		{name: "the last of two flags counts", args: []string{"--number=x", "--number", "5"}, given: true,
			want: func(v *everything) { v.number = 5 }},
		{name: "every kind from variables",
			env:   env{"TEXT": "def", "NUMBER": "1", "YES": "1", "WAIT": "10", "SIZE": "1GiB", "ADDRESS": "tls://n1,nats://n2:1"},
			given: true,
			want: func(v *everything) {
				*v = everything{"def", 1, true, 10 * time.Second, 1 << 30, "tls://n1,nats://n2:1"}
			}},
		{name: "every kind from flags",
			args:  []string{"--text=def", "--number=9", "--yes", "--wait=1m30s", "--size=5", "--address=nats://u:p@h"},
			given: true,
			want: func(v *everything) {
				*v = everything{"def", 9, true, 90 * time.Second, 5, "nats://u:p@h"}
			}},
		{name: "a switch can be switched off by flag", env: env{"YES": "true"}, args: []string{"--yes=false"},
			want: func(*everything) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, flags := newSet(tc.env)
			var got everything
			got.register(s)
			require.Equal(t, defaults(), got, "destinations hold the defaults at once")
			require.NoError(t, flags.Parse(tc.args))
			require.NoError(t, s.Check())

			want := defaults()
			tc.want(&want)
			assert.Equal(t, want, got)
			assert.Equal(t, tc.given, s.Given("NUMBER"))
			assert.False(t, s.Given("NO_SUCH_VARIABLE"))
		})
	}
}

func TestCheckNamesEverythingThatIsWrongAtOnce(t *testing.T) {
	s, flags := newSet(env{"TEXT": "xyz", "YES": "perhaps", "WAIT": "0.5", "ADDRESS": "nats://me:hunter2@h:port", "SIZE": "-1"})
	var v everything
	v.register(s)
	var needed, token string
	s.String(&needed, "needed", "NEEDED", "", "needed", config.Required())
	s.String(&token, "token", "TOKEN", "", "a token", config.Secret(),
		config.Validate("a long token", func(v string) bool { return len(v) > 100 }))
	require.NoError(t, flags.Parse([]string{"--number=many", "--token=hunter3"}), "parsing only records")

	err := s.Check()
	var problems *config.Error
	require.ErrorAs(t, err, &problems)
	assert.Len(t, problems.Problems, 8)
	assert.Equal(t, `8 settings are wrong:
  --text ($TEXT) was given by variable as "xyz"; expected: one of abc, def
  --number ($NUMBER) was given by flag as "many"; expected: a whole number, from 1 to 9
  --yes ($YES) was given by variable as "perhaps"; expected: true or false
  --wait ($WAIT) was given by variable as "0.5"; expected: a duration such as 10s or 2m, or a number of seconds, of at least 1s
  --size ($SIZE) was given by variable as "-1"; expected: a size such as 256MiB, or a number of bytes, of at least 1
  --address ($ADDRESS) was given by variable as (not shown); expected: a URL that begins with nats:// or tls://
  --needed ($NEEDED) is not set; expected: text
  --token ($TOKEN) was given by flag as (not shown); expected: a long token`, err.Error())
	assert.Equal(t, defaults(), v, "bad values leave the defaults")
}

func TestCheckSaysOneSetting(t *testing.T) {
	s, flags := newSet(env{"NUMBER": "0"})
	var v everything
	v.register(s)
	require.NoError(t, flags.Parse(nil))
	require.EqualError(t, s.Check(), "1 setting is wrong:\n"+
		`  --number ($NUMBER) was given by variable as "0"; expected: a whole number, from 1 to 9`)
}

func TestRuleJoinsSettings(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  env
		want string
	}{
		{"holds", env{"LOW": "5"}, ""},
		{"broken by a variable", env{"LOW": "50"}, "1 setting is wrong:\n" +
			`  --low ($LOW) was given by variable as "50", --high ($HIGH) has its default "10"; expected: low below high`},
		{"not looked at while one of the two is bad", env{"LOW": "x", "HIGH": "0"}, "1 setting is wrong:\n" +
			`  --low ($LOW) was given by variable as "x"; expected: a whole number`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := newSet(tc.env)
			var low, high int
			s.Int(&low, "low", "LOW", 1, "low")
			s.Int(&high, "high", "HIGH", 10, "high")
			s.Rule("low below high", func() bool { return low < high }, "LOW", "HIGH")
			err := s.Check()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.want)
		})
	}
}

func TestHelpShowsFlagVariableAndDefault(t *testing.T) {
	command := &cobra.Command{Use: "test", Run: func(*cobra.Command, []string) {}}
	s := config.New(command.Flags(), env{}.lookup)
	var v everything
	v.register(s)
	var token, needed, derived string
	s.String(&token, "token", "TOKEN", "hunter2", "a token", config.Secret())
	s.String(&needed, "needed", "NEEDED", "", "needed", config.Required())
	s.String(&derived, "derived", "DERIVED", "", "derived",
		config.DefaultFrom("x_$TEXT", func() string { return "x_" + v.text }))

	assert.Equal(t, `      --text string      some text ($TEXT, default abc)
      --number int       a number ($NUMBER, default 7)
      --yes              a switch ($YES, default false)
      --wait duration    a wait ($WAIT, default 2m)
      --size bytes       a size ($SIZE, default 256MiB)
      --address url      an address ($ADDRESS, default nats://127.0.0.1:4222)
      --token string     a token ($TOKEN)
      --needed string    needed ($NEEDED, required)
      --derived string   derived ($DERIVED, default x_$TEXT)
`, command.Flags().FlagUsages())
	assert.NotContains(t, command.UsageString(), "hunter2")
}

func TestDefaultFromFollowsOtherSettings(t *testing.T) {
	s, flags := newSet(env{"TEXT": "def"})
	var v everything
	v.register(s)
	var derived string
	s.String(&derived, "derived", "DERIVED", "", "derived",
		config.DefaultFrom("x_$TEXT", func() string { return "x_" + v.text }))
	require.NoError(t, s.Check())
	assert.Equal(t, "x_def", derived)
	assert.False(t, s.Given("DERIVED"))

	require.NoError(t, flags.Parse([]string{"--derived=own"}))
	require.NoError(t, s.Check(), "Check may be called again")
	assert.Equal(t, "own", derived)
	assert.True(t, s.Given("DERIVED"))
}

func TestASettingMayBeSharedButNotRedefined(t *testing.T) {
	s, _ := newSet(env{"NUMBER": "4"})
	var a, b int
	s.Int(&a, "number", "NUMBER", 1, "a number")
	s.Int(&b, "number", "NUMBER", 1, "a number")
	require.NoError(t, s.Check())
	assert.Equal(t, []int{4, 4}, []int{a, b})
	assert.Len(t, s.Variables(), 1)

	var text string
	assert.Panics(t, func() { s.Int(&b, "number", "NUMBER", 2, "a number") }, "another default")
	assert.Panics(t, func() { s.Int(&b, "count", "NUMBER", 1, "a number") }, "another flag")
	assert.Panics(t, func() { s.String(&text, "number", "NUMBER", "1", "a number") }, "another type")
}

func TestMistakesInTheProgramPanicAtRegistration(t *testing.T) {
	s, _ := newSet(nil)
	var n int
	assert.Panics(t, func() {
		s.Int(&n, "a", "A", 0, "", config.Validate("text", func(string) bool { return true }))
	})
	assert.Panics(t, func() { s.Int(&n, "b", "B", 0, "", config.AtLeast(time.Second)) })
	assert.Panics(t, func() { s.Rule("never", func() bool { return true }, "C") })
}

func TestErrorIsFoundInAWrappedError(t *testing.T) {
	s, _ := newSet(nil)
	var needed string
	s.String(&needed, "needed", "NEEDED", "", "needed", config.Required())
	var found *config.Error
	require.ErrorAs(t, errors.Join(errors.New("other"), s.Check()), &found)
	assert.Equal(t, []string{"--needed ($NEEDED)"}, found.Problems[0].Settings)
}

func TestHiddenSettingsAreReadAndNotShown(t *testing.T) {
	s, flags := newSet(env{"HIDDEN": "false"})
	var hidden, shown bool
	s.Bool(&hidden, "hidden", "HIDDEN", true, "for ourselves", config.Hidden())
	s.Bool(&shown, "shown", "SHOWN", true, "for everybody")
	require.NoError(t, flags.Parse(nil))
	require.NoError(t, s.Check())
	require.False(t, hidden)
	require.True(t, shown)
	require.NotContains(t, flags.FlagUsages(), "hidden")
	require.Contains(t, flags.FlagUsages(), "shown")
	require.Len(t, s.Variables(), 1)
	require.NoError(t, flags.Parse([]string{"--hidden"}))
	require.NoError(t, s.Check())
	require.True(t, hidden)
}
