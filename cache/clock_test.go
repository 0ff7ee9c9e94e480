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

// Ages must never be understated, and latencies be exact: they go by two readings of the same answers.
func TestLikelyTimeIsThatOfTheQuickestAnswer(t *testing.T) {
	ahead := time.Hour
	// ask answers after a while, with the time at its end.
	ask := func(takes time.Duration) func(context.Context) (time.Time, error) {
		return func(context.Context) (time.Time, error) {
			<-time.After(takes)
			return time.Now().Add(ahead), nil
		}
	}
	off := func(now time.Time) time.Duration { return now.Sub(time.Now().Add(ahead)) }
	c, err := NewClock(t.Context(), ask(200*time.Millisecond))
	require.NoError(t, err)
	require.GreaterOrEqual(t, off(c.Now()), 199*time.Millisecond)
	require.Less(t, off(c.Likely()), off(c.Now()))
	for _, takes := range []time.Duration{0, 200 * time.Millisecond} { // the slow one says nothing new
		require.NoError(t, c.Sync(t.Context(), ask(takes)))
		require.InDelta(t, 0, off(c.Likely()).Seconds(), 0.05)
	}
	require.GreaterOrEqual(t, off(c.Now()), 199*time.Millisecond)
	ahead = -time.Hour // the server's clock is set
	require.NoError(t, c.Sync(t.Context(), ask(200*time.Millisecond)))
	require.Less(t, off(c.Likely()).Abs(), 200*time.Millisecond)
}
