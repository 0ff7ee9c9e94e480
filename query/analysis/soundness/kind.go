package soundness

import "strings"

// kind is a type of column with the few values that it takes: few, so that equalities come true often.
type kind struct {
	sql    string // the column's type
	cast   string // how a parameter is cast to the type
	family string // kinds of one family can be compared with one another
	values []string
	// odd are other ways of writing the values. Some are equal without being the same text.
	odd []string
	// exact is true if equal values have the same text. Only then may a query that picks one of several equal values show it.
	exact bool
}

var (
	integer  = &kind{"int", "int", "number", []string{"1", "2", "3"}, []string{"01", "+2", " 3"}, true}
	bigint   = &kind{"bigint", "bigint", "number", []string{"1", "2", "3000000000"}, []string{"02"}, true}
	smallint = &kind{"smallint", "smallint", "number", []string{"1", "2", "3"}, nil, true}
	text     = &kind{"text", "text", "text", []string{"a", "b", "a "}, []string{"A"}, true}
	varchar  = &kind{"varchar(4)", "varchar", "text", []string{"a", "b", "c"}, nil, true}
	boolean  = &kind{"bool", "bool", "bool", []string{"t", "f"}, []string{"true", "no", "1"}, true}
	mood     = &kind{"app.mood", "text::app.mood", "mood", []string{"sad", "ok", "O'K"}, nil, true}
	date     = &kind{"date", "date", "date", []string{"2020-01-31", "2021-02-01"}, []string{"2020-1-31", "20210201"}, true}
	uuid     = &kind{
		"uuid", "uuid", "uuid", []string{"11111111-2222-3333-4444-55555555555a", "11111111-2222-3333-4444-55555555555b"},
		[]string{"11111111-2222-3333-4444-55555555555A", "{11111111-2222-3333-4444-55555555555b}"}, true,
	}
	numeric    = &kind{"numeric", "numeric", "number", []string{"1", "1.0", "2.00"}, []string{"1.000"}, false}
	char       = &kind{"char(3)", "char(3)", "text", []string{"a", "b"}, []string{"a "}, false}
	folded     = &kind{"text COLLATE app.folded", "text", "text", []string{"a", "A", "b"}, nil, false}
	foldedName = &kind{"app.name", "app.name", "text", []string{"a", "A", "b"}, nil, false}
	float      = &kind{"float8", "float8", "number", []string{"1", "2", "1.5"}, []string{"1.0", "1e0"}, false}
	moment     = &kind{
		"timestamptz", "timestamptz", "moment", []string{"2020-01-01 00:00:00+00", "2020-01-01 12:00:00+00"},
		[]string{"2020-01-01 02:00:00+02"}, false,
	}
	tags = &kind{"text[]", "text[]", "tags", []string{"{a,b}", "{b}", "{}"}, nil, false}
)

// plainKinds can be pinned, fuzzyKinds not.
var (
	plainKinds = []*kind{integer, text, integer, text, bigint, boolean, mood, smallint, varchar, date, uuid}
	fuzzyKinds = []*kind{numeric, char, folded, numeric, foldedName, char, float, moment, tags}
)

// types are the types, collations and domains that the kinds need.
const types = `
CREATE COLLATION app.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'O''K');
CREATE DOMAIN app.name AS text COLLATE app.folded;`

// value picks a value, the first most often: so that what is written is what is looked for.
func (k *kind) value(d *draw) string {
	if i := d.weighted(55, 30, 15); i < len(k.values) {
		return k.values[i]
	}
	return k.values[0]
}

// quote writes a string constant.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// column is a column of a table or of a query. Its name is as SQL writes it, with quotes if need be.
type column struct {
	name string
	kind *kind
	// generated is true of a column that Postgres computes, which the log does not have.
	generated bool
	notNull   bool
}
