package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

func TestEntryRoundTrip(t *testing.T) {
	at := time.UnixMicro(1_767_225_600_123_456)
	for name, e := range map[string]*Entry{
		"ordinary": {
			Bound: []string{"chain", "generation", "token"}, Filled: at, Expires: at.Add(time.Minute),
			Result: Result{Seen: Mark{3, 0x16B374D848}, Found: true, ETag: `"abc"`, Body: []byte(`{"id":1}`)},
		},
		"with its name": {
			Bound: []string{"c", "g", "t"}, Filled: at, Expires: at, Name: "list@1?q=" + strings.Repeat("x", 300),
			Result: Result{Found: true, ETag: `"abc"`, Body: []byte(`{}`)},
		},
		"not found": {Bound: []string{"c", "g", "t"}, Filled: at, Expires: at, Result: Result{Body: []byte{}}},
		"a long token": {
			Bound: []string{strings.Repeat("x", 300)}, Filled: at, Expires: at,
			Result: Result{Found: true, Body: []byte("\x00\xff")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := e.encode()
			got, err := decodeEntry(raw)
			require.NoError(t, err)
			require.Equal(t, e, got)
			for n := range len(raw) - len(e.Body) {
				_, err := decodeEntry(raw[:n])
				require.ErrorIs(t, err, errEntry, "the first %d bytes", n)
			}
		})
	}
}

func FuzzDecodeEntry(f *testing.F) {
	e := Entry{Bound: []string{"chain", "generation", "token"}, Result: Result{Seen: Mark{2, 7}, Found: true, ETag: `"e"`, Body: []byte("body")}}
	f.Add(e.encode())
	f.Add([]byte{})
	f.Add([]byte{entryVersion})
	named := e
	named.Name = "list@1?q=x"
	f.Add(named.encode())
	f.Add(append(make([]byte, 26), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeEntry(data)
		if err != nil {
			require.ErrorIs(t, err, errEntry)
			return
		}
		again, err := decodeEntry(got.encode())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzEntryRoundTrip(f *testing.F) {
	f.Add("chain", "token", `"etag"`, []byte("body"), int64(5), uint64(9), true)
	f.Fuzz(func(t *testing.T, chain, token, etag string, body []byte, at int64, position uint64, found bool) {
		e := &Entry{
			Bound: []string{chain, token}, Filled: time.UnixMicro(at), Expires: time.UnixMicro(at),
			Result: Result{Found: found, ETag: etag, Body: body, Seen: Mark{7, events.Position(position)}},
		}
		got, err := decodeEntry(e.encode())
		require.NoError(t, err)
		require.Equal(t, e.Bound, got.Bound)
		require.Equal(t, found, got.Found)
		require.Equal(t, etag, got.ETag)
		require.Equal(t, string(body), string(got.Body))
		require.Equal(t, at, got.Filled.UnixMicro())
		require.Equal(t, e.Seen, got.Seen)
	})
}

// An entry without a name is written as it was before there were names: processes of both versions share it.
func TestEntryWithoutANameIsOfTheFirstVersion(t *testing.T) {
	require.EqualValues(t, 2, (&Entry{}).encode()[0])
	require.EqualValues(t, 3, (&Entry{Name: "x"}).encode()[0])
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b []string
		want bool
	}{
		{"the same", []string{"c", "g", "t"}, []string{"c", "g", "t"}, true},
		{"another token", []string{"c", "g", "t"}, []string{"c", "g", "u"}, false},
		{"more", []string{"c", "g", "t"}, []string{"c", "g", "t", "t"}, false},
		{"fewer", []string{"c", "g", "t"}, []string{"c", "g"}, false},
		// A value that is not there proves nothing, even if the entry lacks it as well.
		{"both empty", []string{"c", "", "t"}, []string{"c", "", "t"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, same(tt.a, tt.b)) })
	}
}
