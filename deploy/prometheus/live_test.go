package prometheus_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"freshet/internal/testenv"
)

// server is a Prometheus.
type server struct{ url string }

// startPrometheus starts one with the configuration of this folder, of which only the targets and the intervals are others.
func startPrometheus(t *testing.T, s *stack) *server {
	t.Helper()
	var cfg map[string]any
	readYAML(t, "prometheus.yml", &cfg)
	maps.Copy(cfg["global"].(map[string]any), map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"})
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	cfg["rule_files"] = []string{rules}
	for _, one := range cfg["scrape_configs"].([]any) {
		scrape := one.(map[string]any)
		var targets []string
		for _, u := range s.urls[strings.TrimPrefix(scrape["job_name"].(string), "freshet-")] {
			targets = append(targets, strings.TrimPrefix(u, "http://"))
		}
		require.Len(t, targets, 2, scrape["job_name"])
		scrape["static_configs"].([]any)[0].(map[string]any)["targets"] = targets
	}
	text, err := yaml.Marshal(cfg)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p := testenv.StartProcess(t, program(t, "prometheus"), nil,
		"--config.file="+file, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0")
	line := p.WaitForLine(t, `msg="Listening on"`, patience)
	_, address, found := strings.Cut(line, "address=")
	require.True(t, found, line)
	p.WaitForLine(t, "Server is ready", patience)
	return &server{"http://" + strings.TrimSpace(address)}
}

// ask asks the API and decodes the data of the answer; what is not accepted fails the test.
func (p *server) ask(t *testing.T, path string, into any) {
	t.Helper()
	resp, err := http.Get(p.url + path)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, text)
	require.NoError(t, json.Unmarshal(text, &struct{ Data any }{into}), "%s: %s", path, text)
}

// series are the labels of the answers to an expression.
func (p *server) series(t *testing.T, expr string) (all []map[string]string) {
	t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	p.ask(t, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	for _, r := range data.Result {
		all = append(all, r.Metric)
	}
	return all
}

// until waits until an expression has an answer, and returns the series.
func (p *server) until(t *testing.T, where, expr string) (all []map[string]string) {
	t.Helper()
	testenv.Eventually(t, patience, func() (bool, string) {
		all = p.series(t, expr)
		return len(all) > 0, fmt.Sprintf("%s: nothing answers to %s", where, expr)
	})
	return all
}

func hasLabel(series []map[string]string, label string) bool {
	return slices.ContainsFunc(series, func(s map[string]string) bool { return s[label] != "" })
}

// Every query of the dashboard and of the alerts, asked of a Prometheus that scrapes real processes: the metrics and labels that it
// names are there, and where something has to be drawn, there is something to draw. Then, of each alert, that it is evaluated without an
// error also where there are several of each process, and that those fire that should.
func TestQueriesOnRealMetrics(t *testing.T) {
	s := startStack(t)
	p := startPrometheus(t, s)
	p.until(t, "scrapes", "sum(sum_over_time(up[1m])) >= 6 * 6")
	for _, q := range allQueries(t) {
		t.Run(q.where, func(t *testing.T) { checkQuery(t, p, q) })
	}
	t.Run("promtool check metrics", func(t *testing.T) { checkMetrics(t, s) })
	t.Run("alerts", func(t *testing.T) { checkAlerts(t, p) })
	t.Run("without cdc", func(t *testing.T) {
		for _, cdc := range s.processes["cdc"] {
			cdc.Kill()
		}
		for _, r := range readAlerts(t) {
			switch r.Alert {
			case "FreshetProcessDown", "FreshetNotStreaming", "FreshetWatermarkOld":
				p.until(t, r.Alert, r.Expr)
			}
		}
	})
}

func checkQuery(t *testing.T, p *server, q query) {
	t.Helper()
	e := parse(q.expr)
	require.NotEmpty(t, e.selectors)
	var all []map[string]string
	for _, selector := range e.selectors {
		all = append(all, p.until(t, q.where, selector)...)
	}
	for _, label := range e.labels {
		assert.True(t, hasLabel(all, label), "no series has the label %s: %s", label, q.expr)
	}
	if !q.answers {
		return
	}
	answers := p.until(t, q.where, q.expr)
	for _, label := range q.labels {
		assert.True(t, hasLabel(answers, label), "no answer has the label %s: %s", label, q.expr)
	}
}

// checkAlerts: nothing is wrong with the stack, but it is new.
func checkAlerts(t *testing.T, p *server) {
	t.Helper()
	want := []string{"FreshetCacheCleared no-watermark", "FreshetLogReset slot-new"}
	testenv.Eventually(t, patience, func() (bool, string) {
		var data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError string
					Alerts                  []struct {
						State  string
						Labels map[string]string
					}
				}
			}
		}
		p.ask(t, "/api/v1/rules", &data)
		var firing []string
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					return false, fmt.Sprintf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
				for _, a := range r.Alerts {
					if a.State == "firing" {
						firing = append(firing, r.Name+" "+a.Labels["reason"])
					}
				}
			}
		}
		slices.Sort(firing)
		return slices.Equal(want, firing), fmt.Sprintf("%q fire", firing)
	})
}

// promtool's own opinion of names and types, beside that of the library in other tests.
func checkMetrics(t *testing.T, s *stack) {
	t.Helper()
	for process, urls := range s.urls {
		resp, err := http.Get(urls[0] + "/metrics")
		require.NoError(t, err)
		check := exec.CommandContext(t.Context(), program(t, "promtool"), "check", "metrics")
		check.Stdin = resp.Body
		out, err := check.CombinedOutput()
		require.NoError(t, resp.Body.Close())
		require.NoError(t, err, "%s: %s", process, out)
		require.Empty(t, string(out), process)
	}
}
