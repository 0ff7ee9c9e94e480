package analysis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"
)

// FingerprintVersion says how a fingerprint is made: only those of one version can be compared. Raise it with every change of what goes
// into one.
const FingerprintVersion = 1

// Fingerprint is a short hash of everything in the catalog that can change what a query means or what it depends on: the search_path;
// tables with their columns, types, replica identities and partitions; views; and of what is not Postgres's own also functions with their
// source, aggregates, operators, casts, types with their labels and collations. Two catalogs with one fingerprint give
// every statement one analysis. What only makes a query faster (indexes, statistics) and the rows do not matter.
//
// A table that was dropped and made again has another fingerprint even if it looks alike: its rows went without a change in the
// log, and so did its place in the publication. What a fingerprint cannot tell is that a table was rewritten in place, such as by ALTER
// COLUMN ... TYPE to the same type USING another value.
func (c *Catalog) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", c.SearchPath)
	relations := make([]*Relation, 0, len(c.relations))
	for _, r := range c.relations {
		if !isPostgres(r.Schema) {
			relations = append(relations, r)
		}
	}
	slices.SortFunc(relations, func(a, b *Relation) int {
		return slices.Compare([]string{a.Schema, a.Name}, []string{b.Schema, b.Name})
	})
	for _, r := range relations {
		r.print(h)
	}
	for _, object := range slices.Sorted(slices.Values(c.objects)) {
		fmt.Fprintf(h, "%q\n", object)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// print writes all that is known of the relation, so that no two different ones are written alike.
func (r *Relation) print(w io.Writer) {
	oid := r.oid
	if r.Kind == 'v' { // a view made anew is as good as the old one
		oid = 0
	}
	fmt.Fprintf(w, "%q %q %d %c %c %t %t %t %c %q %q\n", r.Schema, r.Name, oid, r.Kind, r.Persistence, r.Partition, r.Children,
		r.Security, r.Identity, r.parent, r.Definition)
	for _, c := range r.Columns {
		fmt.Fprintf(w, " %q %q %q %t %t\n", c.Name, c.Type, c.Class, c.Logged, c.Generated)
	}
}

// objectsSQL gives a text for each function, operator, cast, type and collation that is not Postgres's own (initdb gives its own numbers
// below 16384, FirstNormalObjectId in src/include/access/transam.h). Numbers are written as names, so that what is dropped and made again alike
// is the same; of sources, which are long, there are hashes. Whole rows of the catalog are taken where their columns differ from
// version to version.
const objectsSQL = `
SELECT format('function %s %s %s %s %s %s %s %s %s %s %s', p.oid::regprocedure, pg_get_function_arguments(p.oid),
       pg_get_function_result(p.oid), p.prokind, p.provolatile, p.proisstrict, p.prosecdef, l.lanname, p.probin, p.proconfig,
       hashtextextended(concat(p.prosrc, pg_get_function_sqlbody(p.oid)) COLLATE "C", 0))
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384
UNION ALL
SELECT format('aggregate %s %s %s', a.aggfnoid::regprocedure, a.aggtranstype::regtype,
       to_jsonb(a) - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[])
FROM pg_aggregate a
WHERE a.aggfnoid >= 16384
UNION ALL
SELECT format('operator %s %s', o.oid::regoperator, o.oprcode::regprocedure)
FROM pg_operator o
WHERE o.oid >= 16384
UNION ALL
SELECT format('cast %s %s %s %s %s', c.castsource::regtype, c.casttarget::regtype, c.castfunc::regprocedure, c.castcontext, c.castmethod)
FROM pg_cast c
WHERE c.oid >= 16384
UNION ALL
SELECT format('type %s %s %s %s %s %s %s %s %s %s', t.oid::regtype, t.typtype, format_type(nullif(t.typbasetype, 0), t.typtypmod),
       t.typnotnull, t.typdefault, nullif(t.typcollation, 0)::regcollation,
       (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
       (SELECT array_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid),
       (SELECT array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT format('%s %s', r.rngsubtype::regtype, nullif(r.rngcollation, 0)::regcollation) FROM pg_range r WHERE r.rngtypid = t.oid))
FROM pg_type t
WHERE t.oid >= 16384 AND (t.typtype <> 'b' OR t.typcategory <> 'A') -- an array has nothing of its own
  AND (t.typtype <> 'c' OR EXISTS (SELECT FROM pg_class r WHERE r.oid = t.typrelid AND r.relkind = 'c')) -- the row of a table is its columns
UNION ALL
SELECT format('collation %s %s', k.oid::regcollation, to_jsonb(k) - '{oid,collowner,collnamespace}'::text[])
FROM pg_collation k
WHERE k.oid >= 16384`

func (c *Catalog) readObjects(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, objectsSQL)
	if err != nil {
		return err
	}
	c.objects, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}
