package cache

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

func TestMarkAsText(t *testing.T) {
	for _, tt := range []struct {
		text, again string
		mark        Mark
	}{
		{"0/16B3748", "0/16B3748", Mark{0, 0x16B3748}},
		{"16B/3748", "16B/3748", Mark{0, 0x16B_00003748}},
		{"0/16b3748", "0/16B3748", Mark{0, 0x16B3748}},
		{"  0/16B3748 ", "0/16B3748", Mark{0, 0x16B3748}},
		{"0/16B3748;timeline=2", "0/16B3748;timeline=2", Mark{2, 0x16B3748}},
		{" 0/16B3748 ; timeline=2 ", "0/16B3748;timeline=2", Mark{2, 0x16B3748}},
		{"0/16B3748;timeline=1", "0/16B3748", Mark{1, 0x16B3748}},
		{"0/1;timeline=4294967295", "0/1;timeline=4294967295", Mark{1<<32 - 1, 1}},
		{"0/0", "0/0", Mark{}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			m, err := ParseMark(tt.text)
			require.NoError(t, err)
			require.Equal(t, tt.mark, m)
			require.Equal(t, tt.again, m.String())
		})
	}
	for _, text := range []string{
		"", " ", "7", "0/", "/7", "0/G", "0/1/2", "-0/1", "0/123456789", ";timeline=2", "0/1;", "0/1;timeline", "0/1;timeline=",
		"0/1;timeline=x", "0/1;timeline=-1", "0/1;timeline=4294967296", "0/1;timeline=2;timeline=3", "0/1;other=2", "0/1,0/2", "0/1 0/2",
		"0/1;timeline=2 3",
	} {
		t.Run("malformed "+text, func(t *testing.T) {
			_, err := ParseMark(text)
			require.Error(t, err)
		})
	}
}

func FuzzParseMark(f *testing.F) {
	for _, seed := range []string{"0/16B3748", "0/16B3748;timeline=2", "FFFFFFFF/FFFFFFFF;timeline=4294967295", "0/1;timeline=", ";", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMark(text)
		if err != nil {
			return
		}
		again, err := ParseMark(m.String())
		require.NoError(t, err)
		require.Equal(t, m.Position, again.Position)
		require.Equal(t, m.String(), again.String())
		require.True(t, m.Reached(again) || !m.Reachable())
		require.True(t, again.Reached(m) || m.Timeline == 1 || !m.Reachable())
	})
}

// Positions of two timelines are not comparable: the later one has given out again what the earlier one had lost.
func TestMarkReached(t *testing.T) {
	for _, tt := range []struct {
		name           string
		applied, asked Mark
		want           bool
	}{
		{"the same", Mark{1, 100}, Mark{1, 100}, true},
		{"behind it", Mark{1, 100}, Mark{1, 99}, true},
		{"ahead of it", Mark{1, 100}, Mark{1, 101}, false},
		{"on a timeline that is not known, behind", Mark{2, 100}, Mark{0, 100}, true},
		{"on a timeline that is not known, ahead", Mark{2, 100}, Mark{0, 101}, false},
		{"a cache that does not know its timeline, behind", Mark{0, 100}, Mark{2, 100}, true},
		{"a cache that does not know its timeline, ahead", Mark{0, 100}, Mark{2, 101}, false},
		// The cache still follows the server that was left behind; its positions above the fork are other transactions.
		{"after a failover that the cache has not seen", Mark{1, 1000}, Mark{2, 100}, false},
		{"before a failover, and before the fork", Mark{2, 100}, Mark{1, 100}, true},
		// It may have been lost: only Postgres can say.
		{"before a failover, and ahead", Mark{2, 100}, Mark{1, 101}, false},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, tt.applied.Reached(tt.asked)) })
	}
}

func TestMarkMax(t *testing.T) {
	for _, tt := range []struct {
		name       string
		a, b, want Mark
	}{
		{"the larger position", Mark{1, 100}, Mark{1, 200}, Mark{1, 200}},
		{"the later timeline", Mark{1, 200}, Mark{2, 100}, Mark{2, 100}},
		{"nothing is known of one", Mark{2, 100}, Mark{}, Mark{2, 100}},
		{"one has a timeline and no position", Mark{1, 100}, Mark{2, 0}, Mark{1, 100}},
		// 0/200 may be of either timeline. Who asks for it must not get less.
		{"one timeline is not known", Mark{0, 200}, Mark{2, 100}, Mark{2, 200}},
		{"both are not known", Mark{0, 200}, Mark{0, 100}, Mark{0, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.a.Max(tt.b))
			require.Equal(t, tt.want, tt.b.Max(tt.a))
		})
	}
}

// What has reached the later of two marks has reached both, but for a mark of a timeline that is over.
func FuzzMarkMax(f *testing.F) {
	f.Add(uint32(1), uint64(200), uint32(2), uint64(100))
	f.Add(uint32(0), uint64(200), uint32(2), uint64(100))
	f.Add(uint32(2), uint64(0), uint32(1), uint64(100))
	f.Fuzz(func(t *testing.T, at uint32, ap uint64, bt uint32, bp uint64) {
		a, b := Mark{at % 4, events.Position(ap)}, Mark{bt % 4, events.Position(bp)}
		m := a.Max(b)
		require.Equal(t, m, b.Max(a))
		for _, one := range []Mark{a, b} {
			over := one.Timeline != 0 && one.Timeline < m.Timeline
			require.True(t, one.Position == 0 || over || m.Reached(one), "%v of %v and %v", m, a, b)
		}
	})
}
