package cdc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

func TestConfirmerWaitsForTheSyncInterval(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := begin.Add
	c := newConfirmer(100, time.Minute)
	require.Equal(t, events.Position(100), c.position(begin))
	c.acknowledged(200, begin)
	c.acknowledged(300, after(30*time.Second))
	require.Equal(t, events.Position(100), c.position(after(time.Minute-1)))
	require.Equal(t, events.Position(200), c.position(after(time.Minute)))
	require.Equal(t, events.Position(200), c.position(after(90*time.Second-1)))
	require.Equal(t, events.Position(300), c.position(after(90*time.Second)))
	require.Equal(t, events.Position(300), c.position(after(time.Hour)))
}

func TestConfirmerWithoutDelayFollowsAtOnce(t *testing.T) {
	c := newConfirmer(100, 0)
	c.acknowledged(200, time.Now())
	require.Equal(t, events.Position(200), c.position(time.Now()))
}

func TestConfirmerNeverGoesBack(t *testing.T) {
	now := time.Now()
	for _, delay := range []time.Duration{0, time.Second} {
		c := newConfirmer(100, delay)
		c.acknowledged(50, now)
		require.Equal(t, events.Position(100), c.position(now.Add(delay)))
		c.acknowledged(200, now.Add(2*delay))
		require.Equal(t, events.Position(200), c.position(now.Add(3*delay)))
		require.Equal(t, events.Position(200), c.position(now), "a clock that goes back")
	}
}

// A stream of acknowledgements costs bounded memory, and is confirmed with no more than the delay and a little.
func TestConfirmerThinsOut(t *testing.T) {
	const delay = time.Minute
	begin := time.Now()
	c := newConfirmer(0, delay)
	most := 0
	for i := range 20_000 {
		now := begin.Add(time.Duration(i) * 10 * time.Millisecond)
		c.acknowledged(events.Position(i), now)
		most = max(most, len(c.waiting))
		if behind := now.Add(-delay-delay/marksPerDelay-10*time.Millisecond).Sub(begin) / (10 * time.Millisecond); behind > 0 {
			require.GreaterOrEqual(t, c.position(now), events.Position(behind))
		}
		require.LessOrEqual(t, c.position(now), events.Position(max(0, i-int(delay/(10*time.Millisecond)))))
	}
	require.LessOrEqual(t, most, marksPerDelay+1)
}
