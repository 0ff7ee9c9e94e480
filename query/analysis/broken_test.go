package analysis_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query/analysis"
	"freshet/query/analysis/soundness"
)

// broken are analyses each of which forgets one rule.
func broken() map[string]soundness.Analyze {
	out := map[string]soundness.Analyze{}
	for name, rule := range analysis.Rules {
		out[name] = func(c *analysis.Catalog, sql string) (*analysis.Result, error) {
			return analysis.AnalyzeWithout(c, sql, rule)
		}
	}
	for _, wrong := range []struct{ typeName, class string }{{"numeric", "bigint"}, {"character", "text"}, {"text", "text"}, {"app.name", "text"}} {
		out[wrong.typeName+" wrongly pinned"] = func(c *analysis.Catalog, sql string) (*analysis.Result, error) {
			return analysis.Analyze(c.Misjudged(func(c analysis.Column) bool { return c.Type == wrong.typeName }, wrong.class), sql)
		}
	}
	return out
}

// An analysis that forgets one of its rules is caught by the soundness check: so the check looks where it should.
func TestBrokenAnalysersAreCaught(t *testing.T) {
	suspects := broken()
	report, err := soundness.Run(t.Context(), testenv.Postgres(t).Conn(t), soundness.Options{
		Seed: 4, Pairs: 200_000, Suspects: suspects,
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

// What is shown of a stale answer is little enough to be understood.
func TestFailureIsSmall(t *testing.T) {
	conn := testenv.Postgres(t).Conn(t)
	for _, rule := range []string{"underLimit", "either"} {
		_, err := soundness.Run(t.Context(), conn, soundness.Options{Seed: 8, Pairs: 100_000, Analyze: broken()[rule]})
		var f *soundness.StaleError
		require.ErrorAs(t, err, &f, rule)
		assert.Less(t, len(f.Query), 200, f.Error())
		assert.Len(t, f.Write, 1, f.Error())
		rows := 0
		for _, r := range f.Rows {
			rows += len(r)
		}
		assert.LessOrEqual(t, rows, 3, f.Error())
		assert.NotEqual(t, f.Before, f.After)
	}
}
