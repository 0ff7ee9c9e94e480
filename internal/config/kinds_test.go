package config

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestParseDuration(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		"10": 10 * time.Second, "10s": 10 * time.Second, " 2m ": 2 * time.Minute, "0": 0,
		"1.5": 1500 * time.Millisecond, "1h2m": 62 * time.Minute, "250ms": 250 * time.Millisecond,
		"": -1, "ten": -1, "-5": -1, "-5s": -1, "5 s": -1, "1.2.3": -1, ".": -1, "99999999999999": -1, "NaN": -1, "3d": -1,
	} {
		t.Run(raw, func(t *testing.T) {
			got, err := parseDuration(raw)
			if want < 0 {
				assert.Error(t, err)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestFormatDurationIsReadBack(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 2 * time.Minute: "2m", 72 * time.Hour: "72h",
		90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", time.Millisecond: "1ms",
	} {
		assert.Equal(t, want, formatDuration(d))
		back, err := parseDuration(want)
		assert.NoError(t, err)
		assert.Equal(t, d, back)
	}
}

func TestParseBytes(t *testing.T) {
	for raw, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "256MiB": 256 << 20, "256 mib": 256 << 20, "1KB": 1000, "3GB": 3e9,
		"2TiB": 2 << 40, "7B": 7, "9223372036854775807": math.MaxInt64,
		"": -1, "MiB": -1, "-1": -1, "1.5GiB": -1, "12PB": -1, "9223372036854775807KiB": -1, "1e3": -1, "B": -1, "é": -1,
	} {
		t.Run(raw, func(t *testing.T) {
			got, err := parseBytes(raw)
			if want < 0 {
				assert.Error(t, err)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// FuzzParseBytes holds that what is accepted is never negative and survives
// being formatted.
func FuzzParseBytes(f *testing.F) {
	f.Add("256MiB")
	f.Add("1 kb")
	f.Fuzz(func(t *testing.T, raw string) {
		n, err := parseBytes(raw)
		if err != nil {
			return
		}
		if back, err := parseBytes(formatBytes(n)); n < 0 || err != nil || back != n {
			t.Fatalf("parseBytes(%q) = %d, read back as %d, %v", raw, n, back, err)
		}
	})
}

func TestRedactURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"nats://127.0.0.1:4222":                     "nats://127.0.0.1:4222",
		"nats://token@host:4222":                    "nats://xxxxx@host:4222",
		"redis://user:pass@host:1/0?password=other": "redis://xxxxx@host:1/0",
		"nats://u:p@a,nats://u:p@b":                 "nats://xxxxx@a,nats://xxxxx@b",
		"redis://:pa ss@host":                       notShown,
		"user:pass":                                 notShown,
		"hunter2":                                   notShown,
		"//hunter2":                                 notShown,
	} {
		assert.Equal(t, want, redactURLs(raw), raw)
	}
}
