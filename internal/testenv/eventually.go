package testenv

import (
	"testing"
	"time"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 5 * time.Millisecond

// Eventually waits until the condition is true. If the time is over first, the test fails with the condition's last
// message, which says what is wrong still. The condition runs in the test's goroutine and may fail the test itself.
func Eventually(tb testing.TB, timeout time.Duration, condition func() (bool, string)) {
	tb.Helper()
	over := time.NewTimer(timeout)
	defer over.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, message := condition()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-over.C:
			tb.Fatalf("not within %v: %s", timeout, message)
		}
	}
}
