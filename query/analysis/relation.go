package analysis

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Relation is a table, or something that can stand in its place.
type Relation struct {
	Schema, Name string
	Kind         byte // pg_class.relkind: r table, p partitioned table, v view, m materialized view, f foreign table
	Persistence  byte // pg_class.relpersistence: p permanent, u unlogged, t temporary
	// Partition is true of a partition, Children of a table that others inherit from, or that has partitions.
	Partition, Children bool
	// Security is true if row security is enabled: what a reader sees then depends on who asks.
	Security bool
	// Identity is the replica identity: d default, f full, i index, n nothing. That of a partitioned table means nothing: Postgres
	// logs the rows by those of its partitions.
	Identity byte
	// Columns is empty for what belongs to Postgres, which is never cached.
	Columns []Column
	// Definition is the SELECT of a view.
	Definition string

	oid    uint32
	parent [2]string // of a partition: schema and name of the table that it is a part of
	tree   tree      // of a partitioned table that is no partition itself
}

// Column is a column of a relation.
type Column struct {
	Name string
	// Type is the name of its type as format_type prints it.
	Type string
	// Class is the name of the type whose texts compare as the column's values do: text, bigint, bool, uuid, date; "" if
	// there is none, and the column cannot be pinned.
	Class string
	// Logged is true if the old row of a change has the column: it is in the replica identity. Of a partitioned table: in the
	// replica identity of each of its partitions.
	Logged bool
	// Generated is true if Postgres computes the column from others. The log does not have it then.
	Generated bool
}

// Column finds a column by its name; nil if there is none.
func (r *Relation) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// Names lists the columns, in their order in the table.
func (r *Relation) Names() []string {
	out := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		out[i] = c.Name
	}
	return out
}

// String is schema.name.
func (r *Relation) String() string { return r.Schema + "." + r.Name }

// sql is schema.name as SQL writes it, with quotes only where they are needed. Behind a dot, key words need none.
func (r *Relation) sql() string {
	out := r.String()
	if !plainName.MatchString(out) {
		out = pgx.Identifier{r.Schema, r.Name}.Sanitize()
	}
	return out
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$`)

// logged lists the columns of the replica identity.
func (r *Relation) logged() string {
	var out []string
	for _, c := range r.Columns {
		if c.Logged {
			out = append(out, c.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// refuse says why nothing that reads the relation can be cached, whatever it is a part of or has parts of; "" if it can.
func (r *Relation) refuse() string {
	switch {
	case isPostgres(r.Schema):
		return "belongs to Postgres, which does not replicate its changes"
	case r.Kind == 'm':
		return "is a materialized view: its refresh is not in the log; read the tables that it is made of, or the view's SELECT"
	case r.Kind == 'f':
		return "is a foreign table: its changes are not in the log"
	case r.Kind == 'v':
		return ""
	case r.Persistence == 't':
		return "is a temporary table: Postgres does not replicate its changes"
	case r.Persistence == 'u':
		return "is an unlogged table: Postgres does not replicate its changes"
	case r.Security:
		return "has row security: what a reader sees depends on who asks"
	case r.Children && r.Kind != 'p':
		return "has tables that inherit from it, whose changes are not in the log under its name"
	}
	return ""
}

func isPostgres(schema string) bool { return schema == "pg_catalog" || schema == "information_schema" }

// relationsSQL leaves out the temporary relations of other sessions, and the columns of what belongs to Postgres. Whether a column of a
// partitioned table is logged is asked of its primary key, whatever its own replica identity is: partitions inherit only the key.
const relationsSQL = `
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relispartition,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid), c.relrowsecurity, c.relreplident::text,
       CASE WHEN c.relkind = 'v' AND NOT own.postgres THEN coalesce(pg_get_viewdef(c.oid), '') ELSE '' END,
       coalesce(un.nspname::text, ''), coalesce(u.relname::text, ''),
       coalesce(a.attname::text, ''), coalesce(format_type(a.atttypid, NULL), ''), coalesce(t.typtype::text, ''),
       coalesce(k.collisdeterministic, true),
       coalesce(a.attgenerated = '' AND (c.relreplident = 'f' AND c.relkind <> 'p' OR a.attnum = ANY (i.columns)), false),
       coalesce(a.attgenerated <> '', false)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT n.nspname IN ('pg_catalog', 'information_schema') AS postgres) own
LEFT JOIN pg_inherits h ON h.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_class u ON u.oid = h.inhparent
LEFT JOIN pg_namespace un ON un.oid = u.relnamespace
LEFT JOIN LATERAL (
    -- Not what INCLUDE adds (RelationGetIndexAttrBitmap), nor a deferrable key (RelationGetIndexList).
    SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns
    FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indimmediate AND i.indisvalid AND NOT own.postgres
      AND CASE WHEN c.relkind = 'p' OR c.relreplident = 'd' THEN i.indisprimary ELSE c.relreplident = 'i' AND i.indisreplident END
) i ON true
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT own.postgres
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation k ON k.oid = a.attcollation
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_toast%'
  AND (c.relpersistence <> 't' OR c.relnamespace = pg_my_temp_schema())
ORDER BY c.oid, a.attnum`

func (c *Catalog) readRelations(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, relationsSQL)
	if err != nil {
		return err
	}
	var (
		r                                     Relation
		col                                   Column
		kind, persistence, identity, typeKind string
		deterministic                         bool
	)
	_, err = pgx.ForEachRow(rows, []any{&r.oid, &r.Schema, &r.Name, &kind, &persistence, &r.Partition, &r.Children, &r.Security, &identity,
		&r.Definition, &r.parent[0], &r.parent[1], &col.Name, &col.Type, &typeKind, &deterministic, &col.Logged, &col.Generated}, func() error {
		key := [2]string{r.Schema, r.Name}
		known := c.relations[key]
		if known == nil {
			relation := r
			relation.Kind, relation.Persistence, relation.Identity = kind[0], persistence[0], identity[0]
			known = &relation
			c.relations[key] = known
		}
		if col.Name != "" { // a table can have none
			col.Class = class(col.Type, typeKind, deterministic)
			known.Columns = append(known.Columns, col)
		}
		return nil
	})
	if err == nil {
		c.growTrees()
	}
	return err
}

// classes maps types to the type whose canonical texts compare as their values do.
var classes = map[string]string{
	"text": "text", "character varying": "text", "smallint": "bigint", "integer": "bigint", "bigint": "bigint",
	"boolean": "bool", "uuid": "uuid", "date": "date",
}

func class(typeName, typeKind string, deterministic bool) string {
	if typeKind == "e" { // an enum is written by its label
		return "text"
	}
	if !deterministic || typeKind != "b" { // such a collation holds different texts for equal; a domain can have any comparison
		return ""
	}
	return classes[typeName]
}
