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
	// Reads are the columns whose values can matter to an entry, sorted; nil: any. They are not part of the shape's name: an
	// update that changes none of them clears nothing, and shapes of one name share their buckets.
	Reads []string
}

// CatalogShape stands for the definitions of everything, as far as the log has told of them. No table has its name. It is always
// active, and gets a new generation whenever a definition changes: whoever analyses a query binds what it finds to the generation
// that it read before.
var CatalogShape = NewShape(RegistrySchema, "catalog")

// NewShape sorts the columns and leaves out what is there twice: the order in which a query names them means nothing.
func NewShape(schema, table string, columns ...string) Shape {
	columns = slices.Clone(columns)
	slices.Sort(columns)
	return Shape{Schema: schema, Table: table, Columns: slices.Compact(columns)}
}

// String names the shape: public.blogs(author,status). Two different shapes never have the same name.
func (s Shape) String() string {
	b := append(s.appendTable(nil), '(')
	for i, c := range s.Columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendName(b, c)
	}
	return string(append(b, ')'))
}

// Tag is the shape with values, one for each of its columns, in their order and as Postgres prints them. A value that is NULL
// has no tag: an equality never matches it.
func (s Shape) Tag(values ...string) Tag {
	if len(values) != len(s.Columns) {
		panic(fmt.Sprintf("cache: shape %s needs %d values, got %d", s, len(s.Columns), len(values)))
	}
	b := append(s.appendTable(make([]byte, 0, 128)), ':')
	for i, column := range s.Columns {
		b = appendValue(appendColumn(b, i, column), values[i]) //nolint:gosec // as many as columns: checked above
	}
	return Tag{Shape: s, Name: string(b)}
}

// Tag is a shape with values.
type Tag struct {
	Shape Shape
	// Name is public.blogs:id=42; the tag's bucket is the Redis key of that name behind the prefix. The table-wide tag
	// has nothing behind the colon.
	Name string
}

// TagNames makes the names of a shape's tags. It holds what all of them have in common, escaped, for whoever makes many.
type TagNames struct {
	table   string   // public.blogs:
	columns []string // author= and then &status=
}

// TagNames prepares the names of the shape's tags.
func (s Shape) TagNames() TagNames {
	n := TagNames{table: string(append(s.appendTable(nil), ':')), columns: make([]string, len(s.Columns))}
	for i, column := range s.Columns {
		n.columns[i] = string(appendColumn(nil, i, column))
	}
	return n
}

// Append appends the name of the tag with these values to b, one for each of the shape's columns.
func (n TagNames) Append(b []byte, values []string) []byte {
	b = append(b, n.table...)
	for i, column := range n.columns {
		b = append(b, column...)
		b = appendValue(b, values[i])
	}
	return b
}

func (s Shape) appendTable(b []byte) []byte {
	return appendName(append(appendName(b, s.Schema), '.'), s.Table)
}

// appendColumn appends what stands before the value of the column with that index.
func appendColumn(b []byte, i int, column string) []byte {
	if i > 0 {
		b = append(b, '&')
	}
	return append(appendName(b, column), '=')
}

// The bytes that names and values are written without: what separates in a key, what Redis takes for a pattern, what people cannot
// see, and '%' itself. They become %XX. A '.', which numbers and names have, separates nothing in a value.
var (
	specialInName  = specialBytes(`%.:=&(),~*?[]\"'`)
	specialInValue = specialBytes(`%:=&(),~*?[]\"'`)
)

func specialBytes(printed string) (special [256]bool) {
	for c := range special {
		special[c] = c <= ' ' || c == 0x7f || strings.IndexByte(printed, byte(c)) >= 0
	}
	return special
}

func appendEscaped(b []byte, s string, special *[256]bool) []byte {
	const hexUpper = "0123456789ABCDEF"
	start := 0
	for i := range len(s) {
		if c := s[i]; special[c] {
			b = append(b, s[start:i]...)
			b = append(b, '%', hexUpper[c>>4], hexUpper[c&15])
			start = i + 1
		}
	}
	return append(b, s[start:]...)
}

// escape is a name as keys have it.
func escape(name string) string { return string(appendName(nil, name)) }

func appendName(b []byte, name string) []byte { return appendEscaped(b, name, &specialInName) }

// maxValue bounds a value within a key. Longer ones are hashed: 128 bits, and a collision would only clear more.
const maxValue = 100

func appendValue(b []byte, value string) []byte {
	start := len(b)
	if len(value) <= maxValue { // escaped it is no shorter
		if b = appendEscaped(b, value, &specialInValue); len(b)-start <= maxValue {
			return b
		}
	}
	b = append(b[:start], value...)
	sum := sha256.Sum256(b[start:])
	return hex.AppendEncode(append(b[:start], '~'), sum[:16])
}
