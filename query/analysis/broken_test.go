package analysis_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis"
	"freshet/query/analysis/soundness"
)

// An analysis that forgets one of its rules is caught by the soundness check: so the check looks where it should.
func TestBrokenAnalysersAreCaught(t *testing.T) {
	suspects := map[string]soundness.Analyze{}
	for name, rule := range analysis.Rules {
		suspects[name] = func(c *analysis.Catalog, sql string) (*analysis.Result, error) {
			return analysis.AnalyzeWithout(c, sql, rule)
		}
	}
	for _, wrong := range []struct{ typeName, class string }{{"numeric", "bigint"}, {"character", "text"}, {"text", "text"}, {"app.name", "text"}} {
		suspects[wrong.typeName+" wrongly pinned"] = func(c *analysis.Catalog, sql string) (*analysis.Result, error) {
			return analysis.Analyze(c.Misjudged(func(c analysis.Column) bool { return c.Type == wrong.typeName }, wrong.class), sql)
		}
	}
	db := testenv.Postgres(t)
	report, err := soundness.Run(t.Context(), db.Conn(t), soundness.Options{
		Seed: 8, Pairs: 100_000, Suspects: suspects,
		Done: func(r *soundness.Report) bool { return len(r.Caught) == len(suspects) },
	})
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(suspects)) {
		if after, ok := report.Caught[name]; ok {
			t.Logf("%s: caught after %d pairs", name, after)
		} else {
			t.Errorf("%s: not caught in %d pairs", name, report.Pairs)
		}
	}
}
