package events

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPosition(t *testing.T) {
	for text, want := range map[string]Position{
		"0/0": 0, "0/16B3748": 0x16B3748, "16/B374D848": 0x16B374D848, "FFFFFFFF/FFFFFFFF": 1<<64 - 1, "00000001/00000000": 1 << 32, "a/b": 0xA0000000B,
	} {
		got, err := ParsePosition(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	require.Equal(t, "16/B374D848", Position(0x16B374D848).String())
	require.Equal(t, "0/0", Position(0).String())
	for _, bad := range []string{"", "/", "0/", "/0", "0", "0/0/0", "123456789/0", "0/123456789", "0x1/0", "-1/0", "+1/0", "g/0", " 0/0", "0/0 ", "0_0/0"} {
		_, err := ParsePosition(bad)
		require.ErrorContains(t, err, "position", bad)
		var p Position
		require.Error(t, json.Unmarshal([]byte(`"`+bad+`"`), &p), bad)
	}
	text, err := json.Marshal(map[string]Position{"position": 0x16B374D848})
	require.NoError(t, err)
	require.JSONEq(t, `{"position":"16/B374D848"}`, string(text))
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/", "x"} {
		f.Add(s, uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, text string, n uint64) {
		back, err := ParsePosition(Position(n).String())
		require.NoError(t, err)
		require.Equal(t, Position(n), back)

		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		trim := func(half string) string {
			if half = strings.TrimLeft(strings.ToUpper(half), "0"); half == "" {
				return "0"
			}
			return half
		}
		high, low, _ := strings.Cut(text, "/")
		require.Equal(t, trim(high)+"/"+trim(low), p.String())
	})
}
