package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Prepare has a real server check the statement and the dependencies, and leaves nothing behind on the connection. What
// is wrong with the file comes back as joined [*Error]s, each with Postgres's message and the line of the file that it
// means; any other error is one of the connection.
func (q *Query) Prepare(ctx context.Context, conn *pgx.Conn) error {
	// The unnamed statement: the next one replaces it.
	_, err := conn.PgConn().Prepare(ctx, "", q.Text, nil)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		return &Error{File: q.File, Line: q.lineOf(int(pgErr.Position)), Msg: message(pgErr), Err: err}
	case err != nil:
		return fmt.Errorf("prepare the query %s: %w", q.Name, err)
	}
	p := &problems{file: q.File}
	for _, d := range q.Depends {
		if err := q.checkTable(ctx, conn, d, p); err != nil {
			return fmt.Errorf("look up the table %s of the query %s: %w", d.Table, q.Name, err)
		}
	}
	return p.join()
}

// message is what Postgres says, in one line.
func message(e *pgconn.PgError) string {
	var msg strings.Builder
	fmt.Fprintf(&msg, "%s (SQLSTATE %s)", e.Message, e.Code)
	for _, more := range []struct{ label, text string }{{"detail", e.Detail}, {"hint", e.Hint}} {
		if more.text != "" {
			msg.WriteString("; " + more.label + ": " + more.text)
		}
	}
	return strings.ReplaceAll(msg.String(), "\n", " ")
}

// lineOf maps a position in Text, in characters counted from 1 as Postgres counts them, to a line of the file. A position
// in what we put around the statement, or none (0), is the statement as a whole: its first line.
func (q *Query) lineOf(position int) int {
	offset, n := -1, 0
	for i := range q.Text {
		if n++; n == position {
			offset = i
			break
		}
	}
	if offset < q.before || offset >= q.before+len(q.SQL) {
		return q.line
	}
	return q.line + strings.Count(q.Text[q.before:offset], "\n")
}

// tableFacts is what the server's catalog says about a table.
type tableFacts struct {
	kind        string // pg_class.relkind
	persistence string // pg_class.relpersistence
	schema      string
	partition   bool
	children    bool // other tables inherit from it
	columns     map[string]columnFacts
}

type columnFacts struct {
	typ string // the exact type that pins it, or what Postgres calls its type
	ok  bool   // it can be pinned
}

// checkTable reports a dependency through which no change would ever arrive.
func (q *Query) checkTable(ctx context.Context, conn *pgx.Conn, d Dependency, p *problems) error {
	facts, err := lookUp(ctx, conn, d)
	if err != nil {
		return err
	}
	if facts == nil {
		p.add(d.Line, "depends: there is no table %s", d.full())
		return nil
	}
	switch {
	case facts.kind == "p" || facts.partition:
		// pgoutput tells a partition's rows under the name of its root, but not a TRUNCATE of one partition (CREATE
		// PUBLICATION, publish_via_partition_root), and detaching one is no change of any row.
		p.add(d.Line, "depends: %s is partitioned or a partition: rows can vanish from it without a change in the log", d.full())
	case facts.kind != "r":
		kinds := map[string]string{"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "c": "type"}
		p.add(d.Line, "depends: %s is a %s, whose changes are not in the log under that name; name the tables that hold its rows",
			d.full(), kinds[facts.kind])
	case facts.persistence != "p":
		p.add(d.Line, "depends: %s is an unlogged or temporary table: Postgres does not replicate its changes", d.full())
	case facts.schema == "pg_catalog" || facts.schema == "information_schema":
		p.add(d.Line, "depends: %s belongs to Postgres, which does not replicate its changes", d.full())
	case facts.children:
		p.add(d.Line, "depends: other tables inherit from %s, and their changes are not in the log under that name", d.full())
	default:
		q.checkPins(d, facts, p)
	}
	return nil
}

// checkPins reports pins whose comparison as text would not be Postgres's comparison of the values.
func (q *Query) checkPins(d Dependency, facts *tableFacts, p *problems) {
	for _, pin := range d.Columns {
		column, ok := facts.columns[pin.Column]
		var names []string
		for name := range facts.columns {
			names = append(names, name)
		}
		slices.Sort(names)
		switch {
		case !ok:
			p.add(d.Line, "depends: the table %s has no column %s%s", d.full(), pin.Column, suggest(pin.Column, names))
		case !column.ok:
			p.add(d.Line, "depends: %s(%s) pins a column of type %s, whose equal values can be written differently; use %s()",
				d.Table, pin.Column, column.typ, d.Table)
		case pin.Param == "":
			if canonical, err := Type(column.typ).canonical(pin.Const); err != nil || canonical != pin.Const {
				p.add(d.Line, "depends: %s(%s) has the type %s, which has no value written %q", d.Table, pin.Column, column.typ, pin.Const)
			}
		case !sameKind(Type(column.typ), q.param(pin.Param).Type):
			p.add(d.Line, "depends: %s(%s) has the type %s, but the parameter %s is %s", d.Table, pin.Column, column.typ,
				pin.Param, q.param(pin.Param).Type)
		}
	}
}

// sameKind reports whether equal values of the two types have one canonical form.
func sameKind(column, param Type) bool {
	return column == param || column == TypeBigint && param == TypeInt
}

// full is the table as the file writes it.
func (d Dependency) full() string {
	if d.Schema == "" {
		return d.Table
	}
	return d.Schema + "." + d.Table
}

// lookUp asks the catalog; nil means that there is no such table.
func lookUp(ctx context.Context, conn *pgx.Conn, d Dependency) (*tableFacts, error) {
	name := pgx.Identifier{d.Table}
	if d.Schema != "" {
		name = pgx.Identifier{d.Schema, d.Table}
	}
	rows, err := conn.Query(ctx, `
		SELECT c.relkind::text, c.relpersistence::text, n.nspname::text, c.relispartition,
		       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid),
		       a.attname::text, format_type(a.atttypid, NULL), t.typtype::text, coalesce(k.collisdeterministic, true)
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_collation k ON k.oid = a.attcollation
		WHERE c.oid = to_regclass($1)`, name.Sanitize())
	if err != nil {
		return nil, err
	}
	var facts *tableFacts
	var column, typeName, typeKind string
	var deterministic bool
	f := tableFacts{columns: make(map[string]columnFacts)}
	_, err = pgx.ForEachRow(rows, []any{&f.kind, &f.persistence, &f.schema, &f.partition, &f.children,
		&column, &typeName, &typeKind, &deterministic}, func() error {
		facts = &f
		f.columns[column] = pinnable(typeName, typeKind, deterministic)
		return nil
	})
	return facts, err
}

// pinnable maps the type of a column to the type whose canonical form it has in the log.
func pinnable(typeName, typeKind string, deterministic bool) columnFacts {
	exact := map[string]Type{
		"text": TypeText, "character varying": TypeText, "smallint": TypeBigint, "integer": TypeBigint, "bigint": TypeBigint,
		"boolean": TypeBool, "uuid": TypeUUID, "date": TypeDate,
	}
	t, ok := exact[typeName]
	if typeKind == "e" { // an enum is written by its label
		t, ok = TypeText, true
	}
	if !ok || !deterministic { // a nondeterministic collation holds different texts for equal
		return columnFacts{typ: typeName}
	}
	return columnFacts{typ: string(t), ok: true}
}
