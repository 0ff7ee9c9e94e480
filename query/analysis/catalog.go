package analysis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Catalog is what an analysis has to know of a database: its relations, the functions that are not harmless, and the order in
// which unqualified names are looked up. It is read once and not changed.
type Catalog struct {
	SearchPath []string
	relations  map[[2]string]*Relation // by schema and name
	functions  map[string]function     // the worst of those that share a name, by name
	operators  map[string]function     // the same for operators that somebody defined
}

// Relation is a table, or something that can stand in its place.
type Relation struct {
	Schema, Name string
	Kind         byte // pg_class.relkind: r table, p partitioned table, v view, m materialized view, f foreign table
	Persistence  byte // pg_class.relpersistence: p permanent, u unlogged, t temporary
	// Partition is true of a partition, Children of a table that others inherit from.
	Partition, Children bool
	// Security is true if row security is enabled: what a reader sees then depends on who asks.
	Security bool
	// Identity is the replica identity: d default, f full, i index, n nothing.
	Identity byte
	Columns  []Column
	// Definition is the SELECT of a view.
	Definition string
}

// Column is a column of a relation.
type Column struct {
	Name string
	// Type is the name of its type as format_type prints it.
	Type string
	// Class is the name of the type whose texts compare as the column's values do: text, bigint, bool, uuid, date; "" if
	// there is none, and the column cannot be pinned.
	Class string
	// Logged is true if the old row of a change has the column: it is in the replica identity.
	Logged bool
	// Generated is true if Postgres computes the column from others. The log does not have it then.
	Generated bool
}

type function struct {
	volatility byte // i, s, v: the worst of all overloads, and for an aggregate of the functions that it is made of
	system     bool // all of them are in pg_catalog
}

// column finds a column.
func (r *Relation) column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// String is schema.name.
func (r *Relation) String() string { return r.Schema + "." + r.Name }

// Find finds what a name means; nil if there is nothing of that name. schema "" means the search_path.
func (c *Catalog) Find(schema, name string) *Relation {
	if schema != "" {
		return c.relations[[2]string{schema, name}]
	}
	for _, s := range c.SearchPath {
		if r := c.relations[[2]string{s, name}]; r != nil {
			return r
		}
	}
	return nil
}

// ReadCatalog reads the catalog with the search_path of the connection.
func ReadCatalog(ctx context.Context, conn *pgx.Conn) (*Catalog, error) {
	c := &Catalog{relations: map[[2]string]*Relation{}, functions: map[string]function{}, operators: map[string]function{}}
	if err := conn.QueryRow(ctx, "SELECT current_schemas(true)::text[]").Scan(&c.SearchPath); err != nil {
		return nil, fmt.Errorf("read the search_path: %w", err)
	}
	if err := c.readRelations(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the tables: %w", err)
	}
	if err := readFunctions(ctx, conn, functionsSQL, c.functions); err != nil {
		return nil, fmt.Errorf("read the functions: %w", err)
	}
	if err := readFunctions(ctx, conn, operatorsSQL, c.operators); err != nil {
		return nil, fmt.Errorf("read the operators: %w", err)
	}
	return c, nil
}

const relationsSQL = `
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relispartition,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid), c.relrowsecurity, c.relreplident::text,
       CASE WHEN c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema') THEN pg_get_viewdef(c.oid) ELSE '' END,
       a.attname::text, format_type(a.atttypid, NULL), t.typtype::text, coalesce(k.collisdeterministic, true),
       a.attgenerated = '' AND (c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
           AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) -- not what INCLUDE adds: RelationGetIndexAttrBitmap
           AND i.indimmediate AND i.indisvalid -- nor a deferrable key: RelationGetIndexList
           AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident))),
       a.attgenerated <> ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation k ON k.oid = a.attcollation
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_toast%'
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
	_, err = pgx.ForEachRow(rows, []any{&r.Schema, &r.Name, &kind, &persistence, &r.Partition, &r.Children, &r.Security, &identity,
		&r.Definition, &col.Name, &col.Type, &typeKind, &deterministic, &col.Logged, &col.Generated}, func() error {
		key := [2]string{r.Schema, r.Name}
		known := c.relations[key]
		if known == nil {
			known = &Relation{
				Schema: r.Schema, Name: r.Name, Kind: kind[0], Persistence: persistence[0], Identity: identity[0],
				Partition: r.Partition, Children: r.Children, Security: r.Security, Definition: r.Definition,
			}
			c.relations[key] = known
		}
		col.Class = class(col.Type, typeKind, deterministic)
		known.Columns = append(known.Columns, col)
		return nil
	})
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

// functionsSQL: of functions that share a name any may be meant, so the worst counts; 'v' sorts behind 's' and 'i'. Postgres calls every
// aggregate immutable, whatever the functions are that it is made of.
const functionsSQL = `
SELECT p.proname::text,
       max(greatest(p.provolatile::text, (SELECT max(f.provolatile::text) FROM pg_proc f WHERE f.oid IN (a.aggtransfn, a.aggfinalfn,
           a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)))),
       bool_and(n.nspname = 'pg_catalog')
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid AND n.nspname <> 'pg_catalog'
GROUP BY p.proname`

// operatorsSQL leaves out the operators of Postgres, and those whose function is written in C, as the extensions' are: some are STABLE
// because of a setting (pg_trgm's %, which is the name of the remainder too), and none is known to read tables.
const operatorsSQL = `
SELECT o.oprname::text, max(p.provolatile::text), false
FROM pg_operator o
JOIN pg_proc p ON p.oid = o.oprcode
JOIN pg_language l ON l.oid = p.prolang
WHERE o.oprnamespace <> 'pg_catalog'::regnamespace AND l.lanname NOT IN ('c', 'internal')
GROUP BY o.oprname`

func readFunctions(ctx context.Context, conn *pgx.Conn, sql string, into map[string]function) error {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	var name, volatility string
	var f function
	_, err = pgx.ForEachRow(rows, []any{&name, &volatility, &f.system}, func() error {
		f.volatility = volatility[0]
		into[name] = f
		return nil
	})
	return err
}

// refuse says why nothing that reads the relation can be cached; "" if it can.
func (r *Relation) refuse() string {
	switch {
	case r.Schema == "pg_catalog" || r.Schema == "information_schema":
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
	case r.Kind == 'p' || r.Partition:
		return "is partitioned or a partition: rows can vanish from it without a change in the log"
	case r.Children:
		return "has tables that inherit from it, whose changes are not in the log under its name"
	}
	return ""
}

// Identified tells whether the table has a replica identity: without one, Postgres refuses updates of it once it is published.
func (r *Relation) Identified() bool {
	return slices.ContainsFunc(r.Columns, func(c Column) bool { return c.Logged })
}

// names lists the columns.
func (r *Relation) names() []string {
	out := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		out[i] = c.Name
	}
	return out
}

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
