package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"freshet/events"
	"freshet/internal/postgres"
)

// Snapshot writes every row of a table as it is at one moment, and then every change of the table after that moment: none missing, and
// none twice.
//
// The moment is that of a snapshot of Postgres. The log is read from a watermark that was there before the snapshot was taken: whatever
// stands before it was visible then (rule 1), so that no change is missing. Of what comes after it, the transactions that the snapshot
// has seen are left out, so that none comes twice. Nothing is locked, and no slot is made.
//
// o.From and o.Tables are not used. A reset of the log on the way is an error: what was written is of no use then.
func Snapshot(ctx context.Context, url, publication string, table events.Table, o Options, to Sink, tally *Tally) error {
	place, err := events.LastWatermark(ctx, o.JetStream, o.Source)
	if err != nil {
		return err
	}
	seen, err := writeRows(ctx, url, publication, table, place, o.Where, to, tally)
	if err != nil {
		return fmt.Errorf("read the rows of %s.%s: %w", table.Schema, table.Name, err)
	}
	o.From, o.Tables = events.After(place), []events.Table{table}
	return o.run(ctx, seen.Visible, noReset{to}, tally)
}

// noReset is a Sink for what a reset makes useless.
type noReset struct{ Sink }

func (s noReset) Write(ctx context.Context, raw *events.Message, selected []Event) error {
	if raw.Kind == events.KindReset {
		return &events.GapError{Reason: "it began anew after the snapshot (" + raw.Reset.Reason + "): take another one"}
	}
	return s.Sink.Write(ctx, raw, selected)
}

// batchRows are written at once.
const batchRows = 100

// writeRows writes the rows, and returns the snapshot that they were read in.
func writeRows(
	ctx context.Context, url, publication string, table events.Table, place events.Cursor, where Where, to Sink, tally *Tally,
) (seen postgres.Snapshot, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return seen, err
	}
	maps.Copy(cfg.RuntimeParams, postgres.PrintSettings)
	cfg.RuntimeParams["application_name"] = "freshet replay"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return seen, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := checkPublished(ctx, conn, publication, table); err != nil {
		return seen, err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return seen, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it has only read
	var (
		snapshot, position string
		keys               []string
		template           = Event{Cursor: place, Schema: table.Schema, Table: table.Name}
	)
	err = tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, clock_timestamp(), array(
			SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
			WHERE i.indrelid = $1::text::regclass AND i.indisprimary ORDER BY a.attnum)`, name(table)).
		Scan(&snapshot, &position, &template.Committed, &keys)
	if err != nil {
		return seen, err
	}
	if seen, err = postgres.ParseSnapshot(snapshot); err != nil {
		return seen, err
	}
	if template.Position, err = events.ParsePosition(position); err != nil {
		return seen, err
	}
	return seen, copyRows(ctx, tx, table, template, keys, where, to, tally)
}

func copyRows(
	ctx context.Context, tx pgx.Tx, table events.Table, template Event, keys []string, where Where, to Sink, tally *Tally,
) error {
	// Texts, as in the log, and the rows as they come: a table may be larger than memory.
	rows, err := tx.Query(ctx, "SELECT * FROM "+name(table), pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return err
	}
	defer rows.Close()
	var batch []Event
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := to.Write(ctx, nil, batch)
		tally.Selected += int64(len(batch))
		batch = batch[:0]
		return err
	}
	for rows.Next() {
		e := template
		e.Change = rowOf(rows, keys)
		tally.Changes++
		if where != nil && !where(&e.Change) {
			continue
		}
		if batch = append(batch, e); len(batch) == batchRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return flush()
}

// rowOf is the row that was just read.
func rowOf(rows pgx.Rows, keys []string) events.Change {
	c := events.Change{Op: Snapshotted}
	for i, value := range rows.RawValues() {
		f := events.Field{Name: rows.FieldDescriptions()[i].Name, Value: string(value), Null: value == nil}
		c.New = append(c.New, f)
		if slices.Contains(keys, f.Name) {
			c.Key = append(c.Key, f)
		}
	}
	return c
}

// checkPublished wants the table to be one whose changes are in the log.
func checkPublished(ctx context.Context, conn *pgx.Conn, publication string, table events.Table) error {
	var exists, published bool
	err := conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL,
			EXISTS (SELECT FROM pg_publication_tables WHERE pubname = $2 AND schemaname = $3 AND tablename = $4)`,
		name(table), publication, table.Schema, table.Name).Scan(&exists, &published)
	switch {
	case err != nil:
		return err
	case !exists:
		return errors.New("there is no such table")
	case !published:
		return fmt.Errorf("its changes are not in the log: no query depends on it; to have them, run ALTER PUBLICATION %s ADD TABLE %s",
			publication, name(table))
	}
	return nil
}

func name(t events.Table) string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }
