package events_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

// A time, or how long ago it was.
func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m":                       now.Add(-90 * time.Minute),
		"0s":                        now,
		"2026-02-03T01:02:03.5Z":    time.Date(2026, 2, 3, 1, 2, 3, 500_000_000, time.UTC),
		"2026-02-03T01:02:03+01:00": time.Date(2026, 2, 3, 0, 2, 3, 0, time.UTC),
		"2026-02-03 01:02:03":       time.Date(2026, 2, 3, 1, 2, 3, 0, time.UTC),
		"2026-02-03":                time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC),
	} {
		got, err := events.ParseWhen(text, now)
		require.NoError(t, err)
		require.True(t, want.Equal(got), "%s: %s", text, got)
	}
	for _, text := range []string{"", "soon", "2h ago", "2026"} {
		_, err := events.ParseWhen(text, now)
		require.ErrorContains(t, err, "is neither a duration (90m, 2h) nor a time")
	}
}
