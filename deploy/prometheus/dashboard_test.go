package prometheus_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dashboardFile = "../grafana/freshet.json"

// dashboard is the part of Grafana's JSON model that the tests look at.
type dashboard struct {
	UID           string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type, Definition, AllValue string
			Query                            any
		}
	}
	Annotations struct {
		List []struct{ Name, Expr, TitleFormat, TextFormat string }
	}
}

type panel struct {
	ID                 int
	Type, Title        string
	GridPos            struct{ X, Y, W, H int }
	Datasource         struct{ Type, UID string }
	Targets            []target
	Panels             []panel
	FieldConfig        struct{ Defaults struct{ Unit string } }
	Options, Transform any
}

type target struct{ RefID, Expr, LegendFormat string }

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(read(t, dashboardFile)), &d))
	return d
}

func TestDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	require.Equal(t, "freshet", d.UID, "docker-compose.yml links to it")
	require.GreaterOrEqual(t, d.SchemaVersion, 42)
	ids := map[int]bool{}
	type cell struct{ x, y int }
	taken := map[cell]string{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		assert.NotEmpty(t, p.Title)
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := cell{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Empty(t, taken[at], "%s lies on another panel", p.Title)
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			assert.Empty(t, p.Panels, "the tests look at no panels within rows")
			continue
		}
		assert.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		if p.Type == "timeseries" || p.Type == "stat" {
			assert.NotEmpty(t, p.FieldConfig.Defaults.Unit, p.Title)
		}
	}
}

// query is one that a panel, an alert or a list of the dashboard asks.
type query struct {
	where, expr string
	// labels are those that its answers must have.
	labels []string
	// answers says that it always has one; an alert in good order has none.
	answers bool
}

var (
	placeholder = regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+) *\}\}`)
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
)

// placeholders are the labels that a text names.
func placeholders(text string) (labels []string) {
	for _, match := range placeholder.FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// allQueries are those of the dashboard and of the alerts.
func allQueries(t *testing.T) (all []query) {
	t.Helper()
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, one := range p.Targets {
			all = append(all, query{p.Title + " " + one.RefID, withoutVariables(t, one.Expr), placeholders(one.LegendFormat), true})
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			match := labelValues.FindStringSubmatch(v.Definition)
			require.NotNil(t, match, v.Definition)
			all = append(all, query{"the list of " + v.Name, withoutVariables(t, match[1]), match[2:], true})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, query{a.Name, a.Expr, placeholders(a.TitleFormat), true})
		}
	}
	for _, r := range readAlerts(t) {
		all = append(all, query{where: r.Alert, expr: r.Expr})
	}
	return all
}
