package events

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSubjects(t *testing.T) {
	require.Equal(t, "cdc.main.change.public.blogs", ChangeSubject("main", "public", "blogs"))
	require.Equal(t, "cdc.main.change.my%2Eschema.t%C3%A4_-1", ChangeSubject("main", "my.schema", "tä_-1"))
	require.Equal(t, "cdc-main", StreamName("main"))
	require.Equal(t, "cdc.main.>", AllSubjects("main"))
	for subject, want := range map[string]Kind{
		ChangeSubject("main", "a.b", "*"): KindChange,
		WatermarkSubject("main"):          KindWatermark,
		ResetSubject("main"):              KindReset,
	} {
		got, err := SubjectKind(subject)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, foreign := range []string{
		"", "cdc", "cdc.main", "cdc.main.", "cdc.main.other", "cdc.main.change", "cdc.main.change.public", "cdc.main.change.a.b.c",
		"cdc.main.watermark.x", "cdc.main.reset.x", "other.main.watermark",
	} {
		_, err := SubjectKind(foreign)
		require.Error(t, err, foreign)
	}
}

func TestUnescapeTokenRefusesWhatIsNoEscape(t *testing.T) {
	for _, bad := range []string{"%", "%4", "a%", "%4G", "%G4", "% 1", "%+1", "%%41", "%0x"} {
		_, err := UnescapeToken(bad)
		require.Error(t, err, bad)
	}
}

func FuzzEscapeToken(f *testing.F) {
	for _, name := range []string{"", "blogs", "a.b", "*", ">", "%41", " ", "tä", "\x00\xff", "$SYS"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token := EscapeToken(name)
		require.False(t, strings.ContainsFunc(token, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(".*>$", r)
		}), "%q is no plain NATS token", token)
		back, err := UnescapeToken(token)
		require.NoError(t, err)
		require.Equal(t, name, back)

		// The name itself, taken as a token: an error, or a name whose token means the same.
		if plain, err := UnescapeToken(name); err == nil {
			again, err := UnescapeToken(EscapeToken(plain))
			require.NoError(t, err)
			require.Equal(t, plain, again)
		}
	})
}
