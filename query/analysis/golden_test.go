package analysis_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is what a case expects.
type golden struct {
	Depends  []dependency `json:"depends,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	Opaque   []string     `json:"opaque,omitempty"`
	Refused  string       `json:"refused,omitempty"`
}

type dependency struct {
	Table string              `json:"table"`
	Pins  map[string][]string `json:"pins,omitempty"`
	Reads []string            `json:"reads"`
}

// A case is a folder of testdata/cases: input.sql, a statement that Postgres accepts, and expected.json.
func TestGolden(t *testing.T) {
	db := testenv.Postgres(t)
	conn := db.Conn(t)
	schema, err := os.ReadFile("testdata/schema.sql")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), string(schema)+"; SET search_path = public, other")
	require.NoError(t, err)
	catalog, err := analysis.ReadCatalog(t.Context(), conn)
	require.NoError(t, err)
	inputs, err := filepath.Glob("testdata/cases/*/input.sql")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(inputs), 150)
	for _, input := range inputs {
		folder := filepath.Dir(input)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			sql, err := os.ReadFile(input)
			require.NoError(t, err)
			got := analyzed(t, catalog, string(sql))
			if !rejected[filepath.Base(folder)] {
				_, err = conn.Prepare(t.Context(), "", string(sql))
				require.NoError(t, err)
			}
			path := filepath.Join(folder, "expected.json")
			if *update {
				text, err := json.MarshalIndent(got, "", "  ")
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
			}
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var want golden
			require.NoError(t, json.Unmarshal(text, &want))
			assert.Equal(t, want, got)
		})
	}
}

// rejected are the cases that Postgres itself does not take as one statement.
var rejected = map[string]bool{"refused_two_statements": true, "refused_syntax": true, "refused_no_such_table": true}

// temporary is the schema of the session's temporary tables, whose number differs.
var temporary = regexp.MustCompile(`pg_temp_\d+\.`)

// analyzed is what the analysis says of a statement.
func analyzed(t *testing.T, c *analysis.Catalog, sql string) golden {
	t.Helper()
	r, err := analysis.Analyze(c, sql)
	if refused, ok := errors.AsType[*analysis.Error](err); ok {
		return golden{Refused: temporary.ReplaceAllString(refused.Error(), "pg_temp.")}
	}
	require.NoError(t, err)
	g := golden{Warnings: r.Warnings, Opaque: r.Opaque}
	for _, d := range r.Dependencies {
		out := dependency{Table: d.Relation.String(), Reads: d.Reads}
		for _, p := range d.Pins {
			if out.Pins == nil {
				out.Pins = map[string][]string{}
			}
			for _, v := range p.Values {
				out.Pins[p.Column] = append(out.Pins[p.Column], v.String())
			}
		}
		g.Depends = append(g.Depends, out)
	}
	return g
}
