package events

import (
	"fmt"
	"strconv"
	"time"
)

// ParseWhen reads a time, or how long before now it was: 2h, 2026-02-03T04:05:06Z, 2026-02-03 04:05:06 or 2026-02-03, in UTC unless said.
func ParseWhen(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil {
		return now.Add(-ago), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is neither a duration (90m, 2h) nor a time (2026-02-03T04:05:06Z)", strconv.Quote(s))
}
