package prometheus_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
)

func TestPromtoolFindsNothingWrong(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml")
	promtool(t, "check", "rules", "alerts.yml")
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	promtool(t, "test", "rules", "alerts_test.yml")
}

// promtool tests what it is given: that it is given both, for each alert, is seen to here.
func TestEachAlertIsTestedBothWays(t *testing.T) {
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "alerts_test.yml", &file)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, one := range file.Tests {
		for _, c := range one.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.Alertname] = true
			} else {
				silent[c.Alertname] = true
			}
		}
	}
	for _, r := range readAlerts(t) {
		assert.True(t, fires[r.Alert], "no test in which %s fires", r.Alert)
		assert.True(t, silent[r.Alert], "no test in which %s does not fire", r.Alert)
	}
}

// A setting that is renamed is renamed here too.
func TestRunbookNamesSettingsThatExist(t *testing.T) {
	flags, variables := map[string]bool{}, map[string]bool{"FRESHET_URL": true} // of dev.env
	for _, v := range config.All() {
		flags["--"+v.Flag], variables[v.Name] = true, true
	}
	for _, tool := range []string{"--since", "--duration", "--cdc", "--invalidator", "--once", "--latency", "--profile", "--build", "--wait"} {
		flags[tool] = true // of freshet's commands, redis-cli and docker
	}
	text := read(t, "../../"+runbook)
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(text, -1) {
		assert.True(t, flags[flag], "there is no %s", flag)
	}
	for _, name := range regexp.MustCompile(`\b(?:FRESHET|DB|REDIS|NATS)_[A-Z_]+\b`).FindAllString(text, -1) {
		assert.True(t, variables[name], "there is no %s", name)
	}
}

const runbook = "docs/operations.md"

// anchors are the headings of a Markdown file, as GitHub names them in links.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	inCode := false
	for line := range strings.SplitSeq(text, "\n") {
		inCode = inCode != strings.HasPrefix(line, "```")
		heading := regexp.MustCompile(`^#+ (.*)`).FindStringSubmatch(line)
		if heading == nil || inCode {
			continue
		}
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all[strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

func TestEachAlertHasARunbook(t *testing.T) {
	headings := anchors(read(t, "../../"+runbook))
	for _, r := range readAlerts(t) {
		t.Run(r.Alert, func(t *testing.T) {
			assert.Regexp(t, `^Freshet[A-Z]\w+$`, r.Alert)
			assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"])
			assert.NotEmpty(t, r.Annotations["summary"])
			assert.NotEmpty(t, r.Annotations["description"])
			file, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
			assert.Equal(t, runbook, file)
			assert.True(t, headings[anchor], "%s has no heading #%s", runbook, anchor)
		})
	}
}

func TestRunbookLinksToWhatIsThere(t *testing.T) {
	text := read(t, "../../"+runbook)
	headings := anchors(text)
	for _, link := range regexp.MustCompile(`\]\(([^)#]*)#?([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		if link[1] == "" {
			assert.True(t, headings[link[2]], "no heading #%s", link[2])
		} else {
			assert.FileExists(t, "../../docs/"+link[1])
		}
	}
}

// Findings of advice, checks of health and reasons of metrics: who meets one finds it in the runbook.
func TestRunbookExplainsWhatProcessesSay(t *testing.T) {
	text := read(t, "../../"+runbook)
	explains := func(line string) bool { return strings.Contains(text, "\n"+line) } // not the whole text in a message
	for _, tt := range []struct {
		what, file, pattern, heading string
	}{
		{"finding", "../../advice/hitrate.go", `ID: "([\w.-]+)"`, "#### "},
		{"finding", "../../advice/index.go", `ID: "([\w.-]+)"`, "#### "},
		{"finding", "../../advice/load.go", `ID: "([\w.-]+)"`, "#### "},
		{"finding", "../../advice/log.go", `ID[:,].* (?:= )?"((?:slot|log)\.[\w.-]+)"`, "#### "},
		{"finding", "../../advice/memory.go", `ID: "([\w.-]+)"`, "#### "},
		{"health check", "../../internal/health/database.go", `Check\w+ += "(\w+)"`, "#### "},
		{"reason of a bypass", "../../cache/reader.go", `Reason\w+ += "([\w-]+)"`, "| `"},
		{"reason of a reset", "../../cdc/join.go", `loss\{"([\w-]+)"`, "| `"},
		{"reason to clear everything", "../../invalidator/tally.go", `clear\w+ += "([\w-]+)"`, "| `"},
	} {
		found := regexp.MustCompile(tt.pattern).FindAllStringSubmatch(read(t, tt.file), -1)
		require.NotEmpty(t, found, "%s in %s", tt.what, tt.file)
		for _, match := range found {
			assert.True(t, explains(tt.heading+match[1]), "%s does not explain the %s %s of %s", runbook, tt.what, match[1], tt.file)
		}
	}
	flaws := regexp.MustCompile(`Flaw = "([\w-]+)"`).FindAllStringSubmatch(read(t, "../../advice/evidence.go"), -1)
	require.Len(t, flaws, 3)
	for _, flaw := range flaws {
		assert.True(t, explains("#### shape."+flaw[1]), "%s does not explain the finding shape.%s", runbook, flaw[1])
	}
}
