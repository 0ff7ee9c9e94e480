// Package deploy holds what it takes to run Freshet elsewhere: the image, the
// set-up script, and what Prometheus and Grafana need to watch it. Its tests check, without a container engine, that image and
// compose file agree with the program, the Makefile and each other.
package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"freshet/internal/config"
)

// program is where the image has the binary.
const program = "/usr/local/bin/freshet"

// compose is the part of a compose file that the tests look at.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
	Configs  map[string]struct{ File string }
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	Configs     []struct{ Source, Target string }
	Profiles    []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck *struct {
		Test    []string
		Disable bool
	}
	Restart string
}

// ours reports whether the service runs our image.
func (s service) ours() bool { return s.Build.Dockerfile != "" }

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &c))
	return c
}

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	require.NoError(t, err)
	return string(text)
}

// binary builds the program once and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "freshet-deploy-")
	if err != nil {
		return "", err
	}
	built = folder
	path := filepath.Join(folder, "freshet")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/freshet")
	build.Stderr = os.Stderr
	return path, build.Run()
})

// built is the folder that binary made.
var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

// help returns what `freshet COMMAND... --help` prints.
func help(t *testing.T, command ...string) string {
	t.Helper()
	path, err := binary()
	require.NoError(t, err, "build the program")
	// Without the environment: --help must need none of it.
	run := exec.Command(path, append(slices.Clone(command), "--help")...)
	run.Env = []string{}
	text, err := run.CombinedOutput()
	require.NoError(t, err, "freshet %s --help: %s", strings.Join(command, " "), text)
	return string(text)
}

// checkCommand checks that the program has the command and that the command has
// the flags and reads the variables.
func checkCommand(t *testing.T, arguments []string, environment map[string]string) {
	t.Helper()
	var words, flags []string
	for _, argument := range arguments {
		if strings.HasPrefix(argument, "-") {
			flags = append(flags, argument)
		} else {
			words = append(words, argument)
		}
	}
	text := help(t, words...)
	if len(words) > 0 {
		// Cobra answers an unknown subcommand of a command with that command's help.
		assert.Regexp(t, `(?m)^\s+freshet `+strings.Join(words, " ")+`\b`, text, "no such command")
	}
	for _, flag := range flags {
		name, _, _ := strings.Cut(flag, "=")
		assert.Regexp(t, regexp.QuoteMeta(name)+`\b`, text, "freshet %s has no flag %s", strings.Join(words, " "), name)
	}
	for name := range environment {
		assert.Regexp(t, `\$`+name+`\b`, text, "freshet %s does not read %s", strings.Join(words, " "), name)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, command := range []string{
		"dev", "api", "cdc", "invalidator", "migrate", "migrate up", "migrate down", "migrate status", "health", "version",
	} {
		t.Run(command, func(t *testing.T) { checkCommand(t, strings.Fields(command), nil) })
	}
}

func TestComposeRunsCommandsThatExist(t *testing.T) {
	known := map[string]bool{}
	for _, variable := range config.All() {
		known[variable.Name] = true
	}
	for name, s := range readCompose(t).Services {
		if !s.ours() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			checkCommand(t, s.Command, s.Environment)
			for variable := range s.Environment {
				assert.True(t, known[variable], "%s is no setting", variable)
			}
		})
	}
}

func TestComposeIsWhole(t *testing.T) {
	c := readCompose(t)
	for _, name := range []string{"postgres", "redis", "nats", "migrate", "cdc", "invalidator", "api"} {
		assert.Contains(t, c.Services, name)
	}
	for name, s := range c.Services {
		t.Run(name, func(t *testing.T) {
			assert.NotEmpty(t, s.Image)
			assert.NotRegexp(t, `(^[^:]+|:latest)$`, s.Image, "an image needs a tag")
			assert.NotEmpty(t, s.Restart)
			if s.ours() {
				assert.FileExists(t, filepath.Join("..", s.Build.Context, s.Build.Dockerfile))
			}
			for other, on := range s.DependsOn {
				checkDependency(t, c, other, on.Condition)
			}
			for _, port := range s.Ports {
				assert.Regexp(t, `^127\.0\.0\.1:\d+:\d+$`, port, "published on loopback only")
			}
			for _, volume := range s.Volumes {
				source, _, _ := strings.Cut(volume, ":")
				assert.Contains(t, c.Volumes, source)
			}
			for _, value := range s.Environment {
				checkHost(t, c, value)
			}
			for _, one := range s.Configs {
				require.Contains(t, c.Configs, one.Source)
				assert.FileExists(t, filepath.Join("..", c.Configs[one.Source].File))
			}
		})
	}
	assert.Contains(t, c.Services["postgres"].Command, "wal_level=logical")
	assert.Equal(t, "no", c.Services["migrate"].Restart, "a one-shot")
	assert.Equal(t, []string{"127.0.0.1:8080:8080"}, c.Services["api"].Ports)
}

// checkDependency checks that what a service waits for exists and can happen.
func checkDependency(t *testing.T, c compose, other, condition string) {
	t.Helper()
	on, exists := c.Services[other]
	if !assert.True(t, exists, "depends on %s, which does not exist", other) {
		return
	}
	switch condition {
	case "service_healthy":
		assert.True(t, on.Healthcheck != nil && len(on.Healthcheck.Test) > 0, "%s has no health check to wait for", other)
	case "service_completed_successfully":
		assert.Equal(t, "no", on.Restart, "%s never completes", other)
	case "service_started":
	default:
		assert.Fail(t, "unknown condition", condition)
	}
}

// checkHost checks that a URL names a service of the file.
func checkHost(t *testing.T, c compose, value string) {
	t.Helper()
	if url := regexp.MustCompile(`^[a-z]+://(?:[^@/]*@)?([^:/]+)`).FindStringSubmatch(value); url != nil {
		assert.Contains(t, c.Services, url[1], "the host in %s is no service", value)
	}
}

func TestComposeAgreesOnTheAPIsPort(t *testing.T) {
	api := readCompose(t).Services["api"]
	_, port, _ := strings.Cut(api.Environment["FRESHET_HTTP_ADDR"], ":")
	assert.True(t, strings.HasSuffix(api.Ports[0], ":"+port), "published port and FRESHET_HTTP_ADDR")
	require.NotNil(t, api.Healthcheck)
	assert.Equal(t, []string{"CMD", program, "health"}, api.Healthcheck.Test)
}

// The others are asked on the port that they serve; each check is a command that exists.
func TestComposeChecksTheHealthOfEachProcess(t *testing.T) {
	services := readCompose(t).Services
	for name, variable := range map[string]string{"cdc": "FRESHET_CDC_HTTP_ADDR", "invalidator": "FRESHET_INVALIDATOR_HTTP_ADDR"} {
		s := services[name]
		require.NotNil(t, s.Healthcheck)
		assert.Equal(t, []string{"CMD", program, "health", "--" + name}, s.Healthcheck.Test)
		assert.Regexp(t, `^0\.0\.0\.0:\d+$`, s.Environment[variable], "other containers scrape it")
		assert.Empty(t, s.Ports)
		checkCommand(t, s.Healthcheck.Test[2:], map[string]string{variable: ""})
	}
}

// Prometheus scrapes each process where compose has it serve, and Grafana asks Prometheus: only for those who want them.
func TestComposeObserves(t *testing.T) {
	c := readCompose(t)
	var scrapes struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &scrapes))
	targets := map[string]string{}
	for _, one := range scrapes.ScrapeConfigs {
		process := strings.TrimPrefix(one.JobName, "freshet-")
		require.Len(t, one.StaticConfigs, 1)
		require.Len(t, one.StaticConfigs[0].Targets, 1)
		targets[process] = one.StaticConfigs[0].Targets[0]
	}
	want := map[string]string{}
	for name, variable := range map[string]string{
		"api": "FRESHET_HTTP_ADDR", "cdc": "FRESHET_CDC_HTTP_ADDR", "invalidator": "FRESHET_INVALIDATOR_HTTP_ADDR",
	} {
		_, port, _ := strings.Cut(c.Services[name].Environment[variable], ":")
		want[name] = name + ":" + port
	}
	assert.Equal(t, want, targets)
	var sources struct{ Datasources []struct{ URL string } }
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml")), &sources))
	require.Len(t, sources.Datasources, 1)
	assert.Equal(t, "http://prometheus:9090", sources.Datasources[0].URL)
	for name, s := range c.Services {
		optional := name == "prometheus" || name == "grafana"
		assert.Equal(t, optional, len(s.Profiles) > 0, name)
	}
	// Prometheus reads the rules beside its configuration, Grafana the dashboards where its provider says.
	at := map[string]string{}
	for _, s := range c.Services {
		for _, one := range s.Configs {
			at[c.Configs[one.Source].File] = one.Target
		}
	}
	assert.Equal(t, filepath.Dir(at["deploy/prometheus/prometheus.yml"])+"/alerts.yml", at["deploy/prometheus/alerts.yml"])
	assert.Contains(t, read(t, "deploy/grafana/provisioning/dashboards/freshet.yml"), "path: "+filepath.Dir(at["deploy/grafana/freshet.json"])+"\n")
}

// TestSettingsAcceptWhatComposeGives puts each of our services' variables to the
// settings themselves.
func TestSettingsAcceptWhatComposeGives(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if !s.ours() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			require.NoError(t, checkSettings(func(variable string) (string, bool) {
				value, ok := s.Environment[variable]
				return withoutDefaults(value), ok
			}))
		})
	}
}
