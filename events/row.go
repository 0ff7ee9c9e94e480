package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Field is one column of a row with its value as Postgres prints it.
type Field struct {
	Name  string
	Value string
	Null  bool
}

// Row is the columns of a row in the table's order. In JSON it is an object whose members are strings or null.
type Row []Field

// Get finds a column. ok is false if the row does not hold it, which is not the same as holding NULL.
func (r Row) Get(name string) (f Field, ok bool) {
	for i := range r {
		if r[i].Name == name {
			return r[i], true
		}
	}
	return Field{}, false
}

// MarshalJSON keeps the order of the columns.
func (r Row) MarshalJSON() ([]byte, error) { return r.appendJSON(nil), nil }

func (r Row) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range r {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, r[i].Name)
		b = append(b, ':')
		if r[i].Null {
			b = append(b, "null"...)
		} else {
			b = appendString(b, r[i].Value)
		}
	}
	return append(b, '}')
}

// UnmarshalJSON keeps the order of the columns. encoding/json calls it with a complete, valid JSON value; called by hand
// with anything else it returns an error.
func (r *Row) UnmarshalJSON(data []byte) error {
	s := rowScanner{data: data}
	if s.null() {
		*r = nil
		return s.end()
	}
	row, err := s.row()
	if err != nil {
		return fmt.Errorf("a row must be an object of strings and nulls: %w", err)
	}
	*r = row
	return nil
}

var errRowSyntax = errors.New("syntax error")

// rowScanner reads the one form of JSON that a row has. It is several times as fast as a map of pointers, and rows are
// most of what a consumer decodes.
type rowScanner struct {
	data []byte
	at   int
}

func (s *rowScanner) row() (Row, error) {
	if !s.take('{') {
		return nil, errRowSyntax
	}
	if s.take('}') {
		return Row{}, s.end()
	}
	row := make(Row, 0, 8)
	for {
		name, err := s.str()
		if err != nil {
			return nil, err
		}
		if !s.take(':') {
			return nil, errRowSyntax
		}
		f := Field{Name: name, Null: s.null()}
		if !f.Null {
			if f.Value, err = s.str(); err != nil {
				return nil, err
			}
		}
		row = append(row, f)
		if s.take(',') {
			continue
		}
		if s.take('}') {
			return row, s.end()
		}
		return nil, errRowSyntax
	}
}

func (s *rowScanner) end() error {
	s.peek() // skips white space; its 0 may be a byte of the data
	if s.at < len(s.data) {
		return errRowSyntax
	}
	return nil
}

// peek returns the next byte that is not white space, 0 at the end.
func (s *rowScanner) peek() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

func (s *rowScanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *rowScanner) null() bool {
	if s.peek() != 'n' || !bytes.HasPrefix(s.data[s.at:], []byte("null")) {
		return false
	}
	s.at += len("null")
	return true
}

func (s *rowScanner) str() (string, error) {
	if !s.take('"') {
		return "", errRowSyntax
	}
	start, plain := s.at, true
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '\\':
			plain = false
			s.at++
		case c == '"':
			text := s.data[start:s.at]
			s.at++
			if plain && utf8.Valid(text) {
				return string(text), nil
			}
			var out string
			if err := json.Unmarshal(s.data[start-1:s.at], &out); err != nil {
				return "", err
			}
			return out, nil
		case c < ' ':
			return "", errRowSyntax
		}
	}
	return "", errRowSyntax
}

const hexLower = "0123456789abcdef"

// appendString appends s as a JSON string. s is valid UTF-8: cdc lists a value that is not as unknown.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexLower[c>>4], hexLower[c&15])
		}
		start = i + 1
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
