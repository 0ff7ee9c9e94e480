package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Shape is a table and the columns that a query pins by equality: blogs(status). No columns: the whole table, blogs().
type Shape struct {
	Schema, Table string
	// Columns are sorted; NewShape sorts them.
	Columns []string
}

// NewShape sorts the columns and leaves out what is there twice: the order in which a query names them means nothing.
func NewShape(schema, table string, columns ...string) Shape {
	columns = slices.Clone(columns)
	slices.Sort(columns)
	return Shape{Schema: schema, Table: table, Columns: slices.Compact(columns)}
}

// String names the shape: public.blogs(author,status). Two different shapes never have the same name.
func (s Shape) String() string {
	escaped := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		escaped[i] = escape(c)
	}
	return escape(s.Schema) + "." + escape(s.Table) + "(" + strings.Join(escaped, ",") + ")"
}

// Tag is the shape with values, one for each of its columns, in their order and as Postgres prints them. A value that is NULL
// has no tag: an equality never matches it.
func (s Shape) Tag(values ...string) Tag {
	if len(values) != len(s.Columns) {
		panic(fmt.Sprintf("cache: shape %s needs %d values, got %d", s, len(s.Columns), len(values)))
	}
	var b strings.Builder
	b.WriteString(escape(s.Schema))
	b.WriteByte('.')
	b.WriteString(escape(s.Table))
	b.WriteByte(':')
	for i, c := range s.Columns {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(escape(c))
		b.WriteByte('=')
		b.WriteString(escapeValue(values[i])) //nolint:gosec // as many as columns: checked above
	}
	return Tag{Shape: s, Name: b.String()}
}

// Tag is a shape with values.
type Tag struct {
	Shape Shape
	// Name is public.blogs:id=42; the tag's bucket is the Redis key of that name behind the prefix. The table-wide tag
	// has nothing behind the colon.
	Name string
}

// escape leaves what reads well in a key and makes the rest %XX: separators, white space, control bytes and '%' itself.
func escape(s string) string {
	clean := true
	for i := range len(s) {
		if special(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; special(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func special(c byte) bool {
	return c <= ' ' || c == 0x7f || strings.IndexByte(`%.:=&(),~*?[]\"'`, c) >= 0
}

// maxValue bounds a value within a key. Longer ones are hashed: 128 bits, and a collision would only clear more.
const maxValue = 100

func escapeValue(v string) string {
	// '.', which numbers and names have, separates nothing here.
	if e := strings.ReplaceAll(escape(v), "%2E", "."); len(e) <= maxValue {
		return e
	}
	sum := sha256.Sum256([]byte(v))
	return "~" + hex.EncodeToString(sum[:16])
}
