package events

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Kind is what a subject carries.
type Kind string

// The kinds of messages in a stream.
const (
	KindChange    Kind = "change"
	KindWatermark Kind = "watermark"
	KindReset     Kind = "reset"
)

const subjectRoot = "cdc"

// StreamName is the name of the JetStream stream of a source.
func StreamName(source string) string { return "cdc-" + source }

// AllSubjects matches every message of a source.
func AllSubjects(source string) string { return subjectRoot + "." + source + ".>" }

// ChangeSubject is the subject of the changes of one table. Names that are no NATS tokens are escaped.
func ChangeSubject(source, schema, table string) string {
	return strings.Join([]string{subjectRoot, source, string(KindChange), EscapeToken(schema), EscapeToken(table)}, ".")
}

// WatermarkSubject is the subject of the watermarks of a source.
func WatermarkSubject(source string) string {
	return subjectRoot + "." + source + "." + string(KindWatermark)
}

// ResetSubject is the subject of the resets of a source.
func ResetSubject(source string) string {
	return subjectRoot + "." + source + "." + string(KindReset)
}

// SubjectKind tells what a message of this subject is; an error means that it is none of ours.
func SubjectKind(subject string) (Kind, error) {
	parts := strings.Split(subject, ".")
	if len(parts) >= 3 && parts[0] == subjectRoot {
		switch kind := Kind(parts[2]); {
		case kind == KindChange && len(parts) == 5, kind == KindWatermark && len(parts) == 3, kind == KindReset && len(parts) == 3:
			return kind, nil
		}
	}
	return "", fmt.Errorf("subject %q is none of the log's (cdc.<source>.change.<schema>.<table>, .watermark, .reset)", subject)
}

// EscapeToken makes a name one NATS subject token: every byte but ASCII letters, digits, '_' and '-' becomes %XX.
func EscapeToken(name string) string {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// UnescapeToken is the inverse of EscapeToken.
func UnescapeToken(token string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("subject token %q ends within an escape", token)
		}
		c, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("subject token %q: bad escape %q", token, token[i:i+3])
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), nil
}
