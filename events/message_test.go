package events

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestChangeMessage(t *testing.T) {
	bodies, _ := build(t, &Builder{Source: "main"}, 7, goldenChanges(), same(blogs))
	m := bodies[0].Message("main", "session-1")
	require.Equal(t, "cdc.main.change.public.blogs", m.Subject)
	require.JSONEq(t, golden, string(m.Data))
	require.Equal(t, nats.Header{
		"Nats-Msg-Id":     {"0/16B3748-7@session-1"},
		"Freshet-Session": {"session-1"},
		"Content-Type":    {"application/json"},
		"ce-specversion":  {"1.0"},
		"ce-id":           {"0/16B3748-7"},
		"ce-type":         {"freshet.change.v1"},
		"ce-source":       {"freshet/main"},
		"ce-subject":      {"public.blogs"},
		"ce-time":         {"2026-02-03T04:05:06.789012Z"},
	}, m.Header)
}

func TestWatermarkAndResetMessages(t *testing.T) {
	w := Watermark{Source: "main", Position: 0x16B3748, At: committed}
	m, err := w.Message("session-1")
	require.NoError(t, err)
	require.Equal(t, "cdc.main.watermark", m.Subject)
	require.JSONEq(t, `{"version":1,"source":"main","position":"0/16B3748","at":"2026-02-03T04:05:06.789012Z"}`, string(m.Data))
	require.Empty(t, m.Header.Get(nats.MsgIdHdr), "JetStream must never drop a watermark as a duplicate")
	back, err := DecodeWatermark(m.Data)
	require.NoError(t, err)
	w.Version = Version
	require.Equal(t, &w, back)

	r := Reset{Source: "main", Reason: "the slot is new", Position: 1, At: committed}
	m, err = r.Message("session-1")
	require.NoError(t, err)
	require.Equal(t, "cdc.main.reset", m.Subject)
	require.Equal(t, []string{"freshet.reset.v1"}, m.Header["ce-type"])
	reset, err := DecodeReset(m.Data)
	require.NoError(t, err)
	r.Version = Version
	require.Equal(t, &r, reset)
}

func TestDecodersRefuse(t *testing.T) {
	decoders := map[string]func([]byte) error{
		"change":    func(b []byte) error { _, err := DecodeChanges(b); return err },
		"watermark": func(b []byte) error { _, err := DecodeWatermark(b); return err },
		"reset":     func(b []byte) error { _, err := DecodeReset(b); return err },
	}
	for name, decode := range decoders {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, decode([]byte(`{"version":2}`)), ErrVersion)
			require.ErrorIs(t, decode([]byte(`{}`)), ErrVersion)
			require.ErrorContains(t, decode(nil), "the body is empty")
			require.ErrorContains(t, decode([]byte(`{"version":1,"position":"x"}`)), "is not a position")
			require.Error(t, decode([]byte(`{"version":1`)))
			require.NoError(t, decode([]byte(`{"version":1,"later":["members"]}`)), "a later version may add members")
		})
	}
	_, err := DecodeChanges([]byte(`{"version":1,"changes":[{"op":"merge"}]}`))
	require.ErrorContains(t, err, `unknown operation "merge"`)
	_, err = DecodeChanges([]byte(`{"version":1,"changes":[{"op":"insert","new":{"a":1}}]}`))
	require.ErrorContains(t, err, "an object of strings and nulls")
}

func TestStreamSettings(t *testing.T) {
	c := StreamSettings{Source: "main"}.Config()
	require.Equal(t, "cdc-main", c.Name)
	require.Equal(t, []string{"cdc.main.>"}, c.Subjects)
	require.Equal(t, 72*time.Hour, c.MaxAge)
	require.Equal(t, 1, c.Replicas)
	require.EqualValues(t, -1, c.MaxBytes)
	c = StreamSettings{Source: "main", Retention: time.Hour, MaxBytes: 1 << 30, Replicas: 3}.Config()
	require.Equal(t, time.Hour, c.MaxAge)
	require.Equal(t, 3, c.Replicas)
	require.EqualValues(t, 1<<30, c.MaxBytes)
	// JetStream refuses a window longer than what the stream keeps.
	require.LessOrEqual(t, StreamSettings{Source: "main", Retention: time.Millisecond}.Config().Duplicates, time.Millisecond)
}
