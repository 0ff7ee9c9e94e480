package events_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

func ExampleRow_Scan() {
	row := events.Row{{Name: "id", Value: "42"}, {Name: "title", Value: "Spring"}, {Name: "published_at", Null: true}}
	var blog struct {
		ID          int64
		Title       string
		PublishedAt *time.Time `db:"published_at"`
	}
	if err := row.Scan(&blog); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(blog.ID, blog.Title, blog.PublishedAt == nil)
	// Output: 42 Spring true
}

func TestScan(t *testing.T) {
	type all struct {
		S       string `json:"s,omitempty"`
		B       bool
		I       int16
		U       uint32
		F       float64
		T       time.Time
		D       time.Time `db:"d" json:"elsewhere"`
		Bytes   []byte
		J       json.RawMessage
		P       *int
		N       *int
		Scanner sql.NullString
		Text    netip.Addr
		Left    string `db:"-"`
		Absent  string
		hidden  string
	}
	field := func(name, value string) events.Field { return events.Field{Name: name, Value: value} }
	row := events.Row{
		field("s", "text"), field("b", "t"), field("i", "-7"), field("u", "4000000000"), field("f", "1.5e3"),
		field("t", "2026-02-03 04:05:06.789+05:30"), field("d", "2026-02-03"), field("bytes", `\x00ff`), field("j", `{"a":1}`),
		field("p", "5"), null("n"), null("scanner"), field("text", "192.0.2.1"), field("Left", "x"), field("hidden", "x"), field("more", "x"),
	}
	got := all{Left: "kept", Absent: "kept", N: new(int)}
	require.NoError(t, row.Scan(&got))
	five := 5
	require.Equal(t, all{
		S: "text", B: true, I: -7, U: 4000000000, F: 1500, T: got.T, D: time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC),
		Bytes: []byte{0, 255}, J: json.RawMessage(`{"a":1}`), P: &five, Text: netip.MustParseAddr("192.0.2.1"), Left: "kept", Absent: "kept",
	}, got)
	require.True(t, got.T.Equal(time.Date(2026, 2, 2, 22, 35, 6, 789e6, time.UTC)))
	require.Empty(t, got.hidden)
}

func null(name string) events.Field { return events.Field{Name: name, Null: true} }

func TestScanErrors(t *testing.T) {
	require.ErrorContains(t, events.Row{}.Scan(struct{}{}), "expected a pointer to a struct, got struct {}")
	require.ErrorContains(t, events.Row{}.Scan(nil), "expected a pointer to a struct")
	for _, tt := range []struct {
		into  any
		value events.Field
		want  string
	}{
		{&struct{ A int }{}, null("a"), `scan the column "a" into the field A: it is NULL: make the field a pointer`},
		{&struct{ A int8 }{}, events.Field{Name: "a", Value: "128"}, "out of range"},
		{&struct{ A uint }{}, events.Field{Name: "a", Value: "-1"}, "invalid syntax"},
		{&struct{ A float32 }{}, events.Field{Name: "a", Value: "x"}, "invalid syntax"},
		{&struct{ A bool }{}, events.Field{Name: "a", Value: "true"}, `"true" is no boolean`},
		{&struct{ A time.Time }{}, events.Field{Name: "a", Value: "infinity"}, `"infinity" is no time`},
		{&struct{ A time.Time }{}, events.Field{Name: "a", Value: "0044-03-15 BC"}, "is no time"},
		{&struct{ A []byte }{}, events.Field{Name: "a", Value: "00"}, "no bytea"},
		{&struct{ A []byte }{}, events.Field{Name: "a", Value: `\x0`}, "odd length"},
		{&struct{ A json.RawMessage }{}, events.Field{Name: "a", Value: "{"}, "no JSON"},
		{&struct{ A []int }{}, events.Field{Name: "a", Value: "{1}"}, "a field of type []int cannot hold it"},
		{&struct{ A *int }{}, events.Field{Name: "a", Value: "x"}, "invalid syntax"},
		{&struct{ A netip.Addr }{}, events.Field{Name: "a", Value: "x"}, "ParseAddr"},
	} {
		require.ErrorContains(t, events.Row{tt.value}.Scan(tt.into), tt.want)
	}
}

func TestCursor(t *testing.T) {
	c := events.Cursor{Sequence: 42, Session: "abc"}
	require.Equal(t, "42@abc", c.String())
	text, err := json.Marshal(c)
	require.NoError(t, err)
	var got events.Cursor
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, c, got)
	for _, bad := range []string{"", "42", "@", "x@y", "-1@a"} {
		_, err := events.ParseCursor(bad)
		require.ErrorContains(t, err, "is not a cursor")
	}
}
