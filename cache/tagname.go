package cache

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ParseTag reads the name of a tag, as it stands in the key of its bucket: public.blogs:id=42. The prefix of the key may stand
// before it. Values that were hashed stay so.
func ParseTag(name string) (Tag, error) {
	bad := func(why string) (Tag, error) {
		return Tag{}, fmt.Errorf("%q is no bucket: %s (such as public.blogs:id=42, or public.blogs: for the whole table)", name, why)
	}
	text := strings.TrimPrefix(name, DefaultPrefix)
	table, values, ok := strings.Cut(text, ":")
	if !ok {
		return bad("a colon must follow the table")
	}
	schema, relation, ok := strings.Cut(table, ".")
	if !ok {
		return bad("the table needs its schema")
	}
	var columns, raw []string
	for values != "" {
		var pin string
		pin, values, _ = strings.Cut(values, "&")
		column, value, ok := strings.Cut(pin, "=")
		if !ok {
			return bad("each column needs a value")
		}
		columns, raw = append(columns, column), append(raw, value)
	}
	var err error
	for _, s := range []*string{&schema, &relation} {
		err = errors.Join(err, unescape(s))
	}
	for i := range columns {
		err = errors.Join(err, unescape(&columns[i]))
		if !strings.HasPrefix(raw[i], "~") { // which stands before a hash
			err = errors.Join(err, unescape(&raw[i]))
			raw[i] = string(appendValue(nil, raw[i]))
		}
	}
	if err != nil {
		return bad(err.Error())
	}
	shape := NewShape(schema, relation, columns...)
	if len(shape.Columns) != len(columns) {
		return bad("a column is there twice")
	}
	pins := make([]string, 0, len(columns))
	for _, want := range shape.Columns { // the order in which they were given means nothing
		for i, column := range columns {
			if column == want {
				pins = append(pins, escape(column)+"="+raw[i])
			}
		}
	}
	return Tag{Shape: shape, Name: escape(schema) + "." + escape(relation) + ":" + strings.Join(pins, "&")}, nil
}

// unescape is the inverse of escape.
func unescape(s *string) error {
	plain, err := url.PathUnescape(*s)
	if err != nil {
		return fmt.Errorf("%q has a bad escape", *s)
	}
	*s = plain
	return nil
}
