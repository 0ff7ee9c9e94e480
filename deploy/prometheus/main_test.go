// Package prometheus holds what Prometheus needs to watch Freshet: the targets, the alerts, and promtool's tests of these. Its Go tests
// hold configuration, alerts, dashboard and docs/operations.md together, and ask a real Prometheus, which scrapes real processes, every
// query that an alert or a panel asks.
//
// They use the programs of Debian's package prometheus, and no Go package of Prometheus's server: its parser of PromQL would bring 200
// modules along.
package prometheus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds each wait, on a machine that is busy.
const patience = time.Minute

// program finds one of Prometheus's programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err,
		"run `deploy/setup.sh tests`, as `make test` does first: it installs Prometheus on Debian and Ubuntu")
	return path
}

// promtool runs it in this folder; it must find nothing wrong.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program(t, "promtool"), args...).CombinedOutput()
	require.NoError(t, err, "promtool %q: %s", args, out)
	require.NotContains(t, string(out), "lint error")
}

// rule is an alert.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

// readAlerts reads the alerts from alerts.yml.
func readAlerts(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	readYAML(t, "alerts.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, path)), into), path)
}

// read reads a file, named from this folder.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	require.NoError(t, err)
	return string(text)
}
