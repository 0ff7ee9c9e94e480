package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// An invalidator that verifies in the background counts what it finds for Prometheus, and has the api tell how much is cleared for
// nothing; one that does not has neither.
func TestVerifyMetrics(t *testing.T) {
	b := exampleBackends(t)
	begin(t, b.env, "cdc").WaitForLine(t, "msg=streaming", patience)
	quiet := begin(t, b.env, "invalidator")
	require.NotContains(t, scraped(t, opsOf(t, quiet)), "freshet_verify_checked_total")
	stopAll(t, quiet)

	ops := opsOf(t, begin(t, b.env, "invalidator", "--verify-rate", "500/s", "--example"))
	url := serving(t, begin(t, b.env, "api", "--example"))
	over := func() (o struct {
		Over *struct {
			Cleared     int64    `json:"cleared"`
			Overcleared int64    `json:"overcleared"`
			Ratio       *float64 `json:"ratio"`
		} `json:"over_clearing"`
	}) {
		a := send(t, http.MethodGet, url+"/performance/cache/stats", "a-token", "")
		require.NoError(t, json.Unmarshal([]byte(a.body), &o), a.body)
		return o
	}
	var seen map[string]float64
	testenv.Eventually(t, patience, func() (bool, string) {
		untilHit(t, url+"/blogs/1")
		seen = scraped(t, ops)
		if seen["freshet_verify_checked_total"] > 0 {
			// The same bytes again: cleared for nothing, as far as readers can tell.
			b.db.Exec(t, "SELECT freshet.clear('public.blogs', '{\"id\": 1}')")
		}
		return seen["freshet_verify_overcleared_total"] > 0, fmt.Sprint(seen)
	})
	require.Zero(t, seen["freshet_verify_stale_total"])
	require.GreaterOrEqual(t, seen["freshet_verify_cleared_total"], seen["freshet_verify_overcleared_total"])
	testenv.Eventually(t, patience, func() (bool, string) {
		o := over().Over
		return o != nil && o.Overcleared > 0 && o.Cleared >= o.Overcleared && o.Ratio != nil && *o.Ratio > 0, fmt.Sprint(o)
	})
}
