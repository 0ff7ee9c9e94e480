package events

import (
	"fmt"
	"strconv"
	"strings"
)

// Position is a log sequence number (LSN) in the WAL of the source: a byte offset, printed by Postgres as two hexadecimal
// halves, "16/B374D848". Positions of one source and timeline are totally ordered. The zero Position is before everything.
type Position uint64

// String prints the position as Postgres does (pg_lsn_out in src/backend/utils/adt/pg_lsn.c).
func (p Position) String() string {
	return fmt.Sprintf("%X/%X", uint32(p>>32), uint32(p))
}

// MarshalText makes a Position a JSON string.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (p *Position) UnmarshalText(text []byte) error {
	got, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = got
	return nil
}

// ParsePosition reads a position in the form of String. As pg_lsn_in does, it takes 1 to 8 hexadecimal digits on each
// side of the slash and nothing else.
func ParsePosition(s string) (Position, error) {
	high, low, ok := strings.Cut(s, "/")
	if !ok || !hexDigits(high) || !hexDigits(low) {
		return 0, fmt.Errorf("%q is not a position: expected a form like 16/B374D848", s)
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse position %q: %w", s, err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse position %q: %w", s, err)
	}
	return Position(h<<32 | l), nil
}

func hexDigits(s string) bool {
	if len(s) == 0 || len(s) > 8 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}
