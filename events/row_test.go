package events

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var rowSamples = []string{
	`{}`, ` { } `, `null`, `{"id":"1"}`, `{"id" : "1" , "n":null}`, `{"b":"2","a":"1"}`, `{"":""}`, `{"a":"\u00e9\ud83e\udd86\"\\\/\b\f\n\r\t\u0000"}`,
	"{\"a\":\"é漢🦆\u2028\x7f\"}", `{"a":"1","a":"2"}`,
}

func TestRowKeepsOrderNullAndText(t *testing.T) {
	r := Row{{Name: "z", Value: "1"}, {Name: "a", Null: true}, {Name: "m"}, {Name: "q\"\\\n", Value: "é\x00\x1f\u2028🦆</script>"}}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	var back Row
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r, back)

	f, ok := back.Get("a")
	require.True(t, ok)
	require.True(t, f.Null)
	f, ok = back.Get("m")
	require.True(t, ok)
	require.Equal(t, Field{Name: "m"}, f, "the empty string is not NULL")
	_, ok = back.Get("absent")
	require.False(t, ok)
}

func TestRowIsAnObjectOfStringsAndNulls(t *testing.T) {
	for _, bad := range []string{
		``, ` `, `{`, `}`, `[]`, `"x"`, `1`, `nul`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":true}`, `{"a":{}}`, `{"a":["x"]}`, `{"a":"x",}`, `{,}`,
		`{"a":"x"}}`, `{"a":"x"} x`, `{"a":"x"`, `{"a":"x`, `{"a":"x\`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":nul}`, `{"a":nullx}`, `{a:"x"}`, `{"a":'x'}`,
		"{\"a\":\"\n\"}", "{}\x00", "{\"a\":\"x\"}\x00\x00", "{\"a\"\x00:\"x\"}", "{}\f", "\u00a0{}", "null\x00", "null{}", "nullx",
	} {
		var r Row
		require.Error(t, r.UnmarshalJSON([]byte(bad)), "%q", bad)
	}
}

// FuzzRow compares the scanner with encoding/json: what it accepts is JSON and means the same, and it accepts every
// object of strings and nulls.
func FuzzRow(f *testing.F) {
	for _, s := range rowSamples {
		f.Add([]byte(s))
	}
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var row Row
		err := row.UnmarshalJSON(data)
		var want map[string]*string
		wantErr := json.Unmarshal(data, &want)
		require.Equal(t, wantErr == nil, err == nil, "encoding/json: %v, Row: %v", wantErr, err)
		if err != nil {
			return
		}
		got := map[string]*string{} // of two members with one name the last counts, as in encoding/json
		for i := range row {
			got[row[i].Name] = nil
			if !row[i].Null {
				got[row[i].Name] = &row[i].Value
			}
		}
		require.Len(t, got, len(want))
		for name, value := range want {
			require.Equal(t, value, got[name])
		}
		text, err := row.MarshalJSON()
		require.NoError(t, err)
		var back Row
		require.NoError(t, json.Unmarshal(text, &back))
		require.ElementsMatch(t, row, back)
	})
}

// FuzzAppendString compares the encoder with encoding/json's reading of it.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", "\"", "\\", "\x00\x1f \x7f", "é漢🦆", "</script>", "\u2028", strings.Repeat("\t", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		var back string
		require.NoError(t, json.Unmarshal(appendString(nil, s), &back))
		require.Equal(t, s, back)
	})
}
