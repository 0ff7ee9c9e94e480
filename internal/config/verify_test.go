package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/config"
)

func TestVerifySettings(t *testing.T) {
	var v config.Verify
	require.NoError(t, check(t, &v, env{}))
	require.Equal(t, config.Verify{MaxStaleness: 5 * time.Second}, v)
	require.NoError(t, check(t, &v, env{"FRESHET_VERIFY_RATE": "0.5/s"}, "--example"))
	require.Equal(t, config.Verify{Rate: 0.5, Example: true, MaxStaleness: 5 * time.Second}, v)
	// The folder of the api's machine is none of ours while nothing is verified.
	require.NoError(t, check(t, &v, env{"FRESHET_QUERIES": "/no/such/folder"}))
	for want, e := range map[string]env{
		"which queries":              {"FRESHET_VERIFY_RATE": "5"},
		"the path of a folder":       {"FRESHET_VERIFY_RATE": "5", "FRESHET_QUERIES": "/no/such/folder"},
		"from 0 to 10000":            {"FRESHET_VERIFY_RATE": "10001", "FRESHET_EXAMPLE": "1"},
		"a rate such as 50/s or 0.5": {"FRESHET_VERIFY_RATE": "50/m", "FRESHET_EXAMPLE": "1"},
	} {
		require.ErrorContains(t, check(t, &config.Verify{}, e), want)
	}
}

func TestParseRate(t *testing.T) {
	for raw, want := range map[string]float64{"50": 50, "50/s": 50, "0.25 /s": 0.25, "0": 0} {
		got, err := config.ParseRate(raw)
		require.NoError(t, err, raw)
		require.InDelta(t, want, got, 0, raw)
	}
	for _, raw := range []string{"", "/s", "-1", "1e3", "Inf", "NaN", "1/m", "1.2.3", "fast"} {
		_, err := config.ParseRate(raw)
		require.Error(t, err, raw)
	}
}
