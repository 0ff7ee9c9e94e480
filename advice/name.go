package advice

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	pg "github.com/pganalyze/pg_query_go/v6"
)

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// identifier is a name as SQL writes it: with quotes where they are needed, as Postgres's own quote_ident has it.
func identifier(name string) string {
	if plainName.MatchString(name) && !keyword(name) {
		return name
	}
	return pgx.Identifier{name}.Sanitize()
}

// keyword tells whether a name means something else to the parser, at least in some places.
func keyword(name string) bool {
	scan, err := pg.Scan(name)
	if err != nil || len(scan.GetTokens()) != 1 {
		return true
	}
	kind := scan.GetTokens()[0].GetKeywordKind()
	return kind != pg.KeywordKind_NO_KEYWORD && kind != pg.KeywordKind_UNRESERVED_KEYWORD
}

// qualified is schema.name as SQL writes it. The schema ends at the first dot: one with a dot in its own name would be quoted wrongly,
// and the statement refused.
func qualified(name string) string {
	schema, relation, _ := strings.Cut(name, ".")
	return identifier(schema) + "." + identifier(relation)
}

// list is a, b, c.
func list(items []string) string { return strings.Join(items, ", ") }
