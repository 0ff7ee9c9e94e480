package query

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Type is the type of a parameter, by its name in Postgres.
type Type string

// The types of parameters. A request writes a text[] as a JSON array in a body; in a query string it repeats the
// parameter or separates the elements by commas.
const (
	TypeText        Type = "text"
	TypeInt         Type = "int"
	TypeBigint      Type = "bigint"
	TypeBool        Type = "bool"
	TypeUUID        Type = "uuid"
	TypeDate        Type = "date"        // 2006-01-02, years 1 to 9999
	TypeTimestamptz Type = "timestamptz" // RFC 3339, years 1 to 9999; kept in UTC, to the microsecond as Postgres does
	TypeNumeric     Type = "numeric"
	TypeTextArray   Type = "text[]"
)

// types maps what a file may write to the type.
var types = map[string]Type{
	"text": TypeText, "int": TypeInt, "bigint": TypeBigint, "bool": TypeBool, "uuid": TypeUUID, "date": TypeDate,
	"timestamptz": TypeTimestamptz, "numeric": TypeNumeric, "text[]": TypeTextArray,
}

// typeNames lists the types for messages.
const typeNames = "text, int, bigint, bool, uuid, date, timestamptz, numeric, text[]"

// otherNames maps names of the same types that a file may not use to the ones that it should.
var otherNames = map[string]Type{
	"integer": TypeInt, "int4": TypeInt, "smallint": TypeInt, "int8": TypeBigint, "boolean": TypeBool,
	"string": TypeText, "varchar": TypeText, "timestamp": TypeTimestamptz, "decimal": TypeNumeric,
}

// describe is what a wrong value is told that it must be.
var describe = map[Type]string{
	TypeText:        "must be text",
	TypeInt:         "must be an integer between -2147483648 and 2147483647",
	TypeBigint:      "must be an integer between -9223372036854775808 and 9223372036854775807",
	TypeBool:        "must be true or false",
	TypeUUID:        "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000",
	TypeDate:        "must be a date such as 2006-01-02",
	TypeTimestamptz: "must be a time with a zone such as 2006-01-02T15:04:05Z (in a URL, + is written %2B)",
	TypeNumeric:     "must be a number without an exponent such as 12.50",
	TypeTextArray:   "must be a list of texts",
}

// exact reports whether equality of two values of the type is equality of their canonical forms, and those are what
// Postgres prints, which is what pinning a column needs. 1.5 = 1.50 in Postgres, and a timestamptz is written in as many ways as there are zones.
func (t Type) exact() bool {
	switch t {
	case TypeText, TypeInt, TypeBigint, TypeBool, TypeUUID, TypeDate:
		return true
	default:
		return false
	}
}

// canonical checks one value and returns the one way of writing it: what Postgres would take for the same value gives
// the same text, as far as the type allows, and Postgres accepts all of it. For text[] it is one element.
func (t Type) canonical(raw string) (string, error) {
	var (
		value string
		ok    bool
	)
	switch t {
	case TypeText, TypeTextArray:
		return raw, checkText(raw)
	case TypeInt:
		value, ok = canonicalInt(raw, 32)
	case TypeBigint:
		value, ok = canonicalInt(raw, 64)
	case TypeBool:
		value, ok = canonicalBool(raw)
	case TypeUUID:
		value, ok = canonicalUUID(raw)
	case TypeDate:
		d, err := time.Parse(time.DateOnly, raw)
		value, ok = raw, err == nil && d.Year() >= 1
	case TypeTimestamptz:
		value, ok = canonicalTime(raw)
	case TypeNumeric:
		value, ok = canonicalNumeric(raw)
	}
	if !ok {
		return "", errors.New(describe[t])
	}
	return value, nil
}

// checkText refuses what Postgres cannot store in a UTF-8 database.
func checkText(raw string) error {
	if !utf8.ValidString(raw) {
		return errors.New("must be valid UTF-8")
	}
	if strings.ContainsRune(raw, 0) {
		return errors.New("must not contain a NUL character")
	}
	return nil
}

func canonicalInt(raw string, bits int) (string, bool) {
	n, err := strconv.ParseInt(raw, 10, bits)
	return strconv.FormatInt(n, 10), err == nil
}

// canonicalBool writes t and f, as Postgres prints them and the log has them.
func canonicalBool(raw string) (string, bool) {
	switch strings.ToLower(raw) {
	case "true", "t", "1":
		return "t", true
	case "false", "f", "0":
		return "f", true
	}
	return "", false
}

// canonicalUUID takes the form with hyphens, in either case, and the one of 32 digits.
func canonicalUUID(raw string) (string, bool) {
	digits := raw
	if len(raw) == 36 && raw[8] == '-' && raw[13] == '-' && raw[18] == '-' && raw[23] == '-' {
		digits = raw[:8] + raw[9:13] + raw[14:18] + raw[19:23] + raw[24:]
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != 16 {
		return "", false
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), true
}

// canonicalTime keeps to the years that every client can write, in UTC.
func canonicalTime(raw string) (string, bool) {
	t, err := time.Parse(time.RFC3339Nano, raw)
	if err != nil {
		return "", false
	}
	t = t.UTC().Round(time.Microsecond)
	return t.Format(time.RFC3339Nano), t.Year() >= 1 && t.Year() <= 9999
}

// maxNumeric bounds a numeric in characters. Postgres takes more, nobody sends more.
const maxNumeric = 1000

// canonicalNumeric drops a plus sign and leading zeros. Trailing zeros of the fraction stay: to Postgres 1.50 equals 1.5
// but is displayed differently.
func canonicalNumeric(raw string) (string, bool) {
	digits, negative := raw, false
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		digits, negative = digits[1:], digits[0] == '-'
	}
	whole, fraction, point := strings.Cut(digits, ".")
	if len(raw) > maxNumeric || whole == "" || !allDigits(whole) || point && (fraction == "" || !allDigits(fraction)) {
		return "", false
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	value := whole
	if point {
		value += "." + fraction
	}
	if negative && strings.Trim(value, "0.") != "" {
		value = "-" + value // Postgres's numeric has no negative zero
	}
	return value, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}
