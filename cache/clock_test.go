package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClockIsTheServersAndNeverEarly(t *testing.T) {
	const ahead = 3 * time.Hour
	var answered time.Time // the server's time when it answered
	ask := func(context.Context) (time.Time, error) {
		answered = time.Now().Add(ahead)
		reply := time.NewTimer(50 * time.Millisecond) // a long way back
		defer reply.Stop()
		<-reply.C
		return answered, nil
	}
	c, err := NewClock(t.Context(), ask)
	require.NoError(t, err)
	now, server := c.Now(), time.Now().Add(ahead)
	require.False(t, now.Before(answered.Add(50*time.Millisecond)), "it is the time of the answer's arrival, at least")
	require.WithinDuration(t, server, now, 40*time.Millisecond, "and overstates by the way there, at most a round trip")
	require.False(t, c.Now().Before(now))

	// A step of the server's clock is followed.
	require.NoError(t, c.Sync(t.Context(), func(context.Context) (time.Time, error) { return time.Now().Add(-ahead), nil }))
	require.WithinDuration(t, time.Now().Add(-ahead), c.Now(), 5*time.Second)

	// A failure leaves it as it is.
	failure := errors.New("no answer")
	fail := func(context.Context) (time.Time, error) { return time.Time{}, failure }
	require.ErrorIs(t, c.Sync(t.Context(), fail), failure)
	require.WithinDuration(t, time.Now().Add(-ahead), c.Now(), 5*time.Second)
	_, err = NewClock(t.Context(), fail)
	require.ErrorIs(t, err, failure)
}

// The whole round trip is added, so that a question that took long to arrive makes the age larger, never smaller.
func TestClockOverstatesAgesByTheRoundTrip(t *testing.T) {
	const way = 50 * time.Millisecond
	c, err := NewClock(t.Context(), func(context.Context) (time.Time, error) {
		there := time.NewTimer(way)
		defer there.Stop()
		<-there.C
		return time.Now(), nil
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Until(c.Now()), way-time.Millisecond)
}
