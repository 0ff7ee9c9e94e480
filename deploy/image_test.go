package deploy_test

import (
	"encoding/json"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
)

// An instruction is one line of a Dockerfile, continuations joined.
type instruction struct {
	name, text string
}

// readStages returns the Dockerfile's stages, each beginning with its FROM.
func readStages(t *testing.T) [][]instruction {
	t.Helper()
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(read(t, "deploy/Dockerfile"), "")
	var stages [][]instruction
	for line := range strings.SplitSeq(joined, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, text, _ := strings.Cut(line, " ")
		if name == "FROM" {
			stages = append(stages, nil)
		}
		require.NotEmpty(t, stages, "an instruction before the first FROM")
		last := len(stages) - 1
		stages[last] = append(stages[last], instruction{name, strings.TrimSpace(text)})
	}
	return stages
}

// texts returns what stands behind every instruction of that name.
func texts(stage []instruction, name string) []string {
	var found []string
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.text)
		}
	}
	return found
}

// words reads the JSON form of CMD and ENTRYPOINT.
func words(t *testing.T, text string) []string {
	t.Helper()
	var list []string
	require.NoError(t, json.Unmarshal([]byte(text), &list), "the exec form: no shell, so signals arrive: %s", text)
	return list
}

func TestImageIsBuiltByTheMakefile(t *testing.T) {
	stages := readStages(t)
	require.Len(t, stages, 2)
	build := stages[0]

	targets := regexp.MustCompile(`(?m)^([a-z]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1)
	made := false
	for _, run := range texts(build, "RUN") {
		assert.NotContains(t, run, "go build", "the Makefile knows how")
		call := strings.Fields(run)
		if call[0] != "make" {
			continue
		}
		assert.True(t, slices.ContainsFunc(targets, func(m []string) bool { return m[1] == call[1] }), "no target for: %s", run)
		made = made || call[1] == "build"
	}
	assert.True(t, made, "nothing runs make build")

	for _, from := range texts(build, "COPY") {
		sources := strings.Fields(from)
		for _, source := range sources[:len(sources)-1] {
			matches, err := filepath.Glob(filepath.Join("..", source))
			require.NoError(t, err)
			assert.NotEmpty(t, matches, "COPY %s: not in the repository", source)
		}
	}
}

func TestImageHoldsWhatTheMakefileBuilds(t *testing.T) {
	stages := readStages(t)
	output := regexp.MustCompile(`go build .*-o (\S+)`).FindStringSubmatch(read(t, "Makefile"))
	require.NotNil(t, output)
	workdir := texts(stages[0], "WORKDIR")
	require.Len(t, workdir, 1)
	copies := texts(stages[1], "COPY")
	assert.Equal(t, []string{"--from=build " + path.Join(workdir[0], output[1]) + " " + program}, copies,
		"the program and nothing else")
	assert.True(t, strings.HasSuffix(stages[0][0].text, " AS build"))
}

func TestImageHasTheGoThatTheModuleNeeds(t *testing.T) {
	image := regexp.MustCompile(`^golang:(\d+\.\d+)-(\w+) `).FindStringSubmatch(readStages(t)[0][0].text)
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	require.NotNil(t, image)
	require.NotNil(t, module)
	assert.Equal(t, module[1], image[1])
	assert.Equal(t, "debian:"+image[2]+"-slim", readStages(t)[1][0].text, "one C library in both stages")
}

func TestImageRunsTheProgramWithoutPrivileges(t *testing.T) {
	final := readStages(t)[1]
	users := texts(final, "USER")
	require.Len(t, users, 1)
	assert.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, users[0], "by number, and not root")
	assert.Contains(t, strings.Join(texts(final, "RUN"), " "), "ca-certificates", "TLS to Postgres, Redis and NATS")

	entrypoint := texts(final, "ENTRYPOINT")
	require.Len(t, entrypoint, 1)
	assert.Equal(t, []string{program}, words(t, entrypoint[0]))

	health := texts(final, "HEALTHCHECK")
	require.Len(t, health, 1)
	_, command, found := strings.Cut(health[0], "CMD ")
	require.True(t, found)
	check := words(t, command)
	assert.Equal(t, program, check[0])
	checkCommand(t, check[1:], nil)

	for _, command := range texts(final, "CMD") {
		checkCommand(t, slices.DeleteFunc(words(t, command), func(w string) bool { return w == "--help" }), nil)
	}
}

// checkSettings registers every group of settings and checks them over lookup. A
// service has its own variables only; what others require is filled in.
func checkSettings(lookup func(string) (string, bool)) error {
	s := config.New(pflag.NewFlagSet("compose", pflag.ContinueOnError), lookup)
	for _, group := range []interface{ Register(*config.Set) }{
		&config.Database{Optional: true}, &config.Redis{}, &config.NATS{}, &config.Log{},
		&config.Source{}, &config.CDC{}, &config.Invalidator{}, &config.API{Example: true}, &config.Health{},
	} {
		group.Register(s)
	}
	return s.Check()
}

// withoutDefaults replaces ${NAME:-default} by its default, as compose does where
// NAME is not set.
func withoutDefaults(value string) string {
	return regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1")
}
