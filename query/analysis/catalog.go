package analysis

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Catalog is what an analysis has to know of a database: its relations, the functions that are not harmless, and the order in
// which unqualified names are looked up. It is read once and not changed.
type Catalog struct {
	SearchPath []string
	relations  map[[2]string]*Relation // by schema and name
	functions  map[string]function     // the worst of those that share a name, by name
	operators  map[string]function     // the same for operators that somebody defined
	objects    []string                // definitions of what else matters, for the fingerprint
}

type function struct {
	volatility byte // i, s, v: the worst of all overloads, and for an aggregate of the functions that it is made of
	system     bool // all of them are in pg_catalog
}

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
	if err := c.readObjects(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the definitions of functions and types: %w", err)
	}
	return c, nil
}

// functionsSQL: of functions that share a name any may be meant, so the worst counts; 'v' sorts behind 's' and 'i'. Postgres calls every
// aggregate immutable, whatever the functions are that it is made of. Its own immutable functions, which are most of all, are left out:
// they are as good as syntax.
const functionsSQL = `
SELECT name, max(volatility), bool_and(system)
FROM (
    SELECT p.proname::text AS name, p.provolatile::text AS volatility, p.pronamespace = 'pg_catalog'::regnamespace AS system
    FROM pg_proc p
    WHERE p.pronamespace <> 'pg_catalog'::regnamespace OR p.provolatile <> 'i'
    UNION ALL
    SELECT p.proname::text, f.provolatile::text, false
    FROM pg_proc p
    JOIN pg_aggregate a ON a.aggfnoid = p.oid
    JOIN pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn,
        a.aggminvtransfn, a.aggmfinalfn)
    WHERE p.pronamespace <> 'pg_catalog'::regnamespace
) all_functions
GROUP BY name`

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
