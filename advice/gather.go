package advice

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/query"
)

const (
	// partTimeout bounds each question to Postgres, on the server: statistics must not hold up what they are about.
	partTimeout = 2 * time.Second
	// lockTimeout bounds the wait for a table that somebody alters.
	lockTimeout = 200 * time.Millisecond
	// gatherTimeout bounds the whole, and the wait for a connection of a busy pool.
	gatherTimeout = 15 * time.Second
)

// Target is a query whose statement is looked at.
type Target struct {
	Query *query.Query
	// Text is what the server is sent; Query.Text if it is empty. pg_stat_statements knows the query by it.
	Text string
	// Args are those of a request, preferably a slow one. Nil: those of the query's own example, if it has one.
	Args *query.Args
}

// GatherPostgres asks the server for its statistics, and for the plan of each target, with one connection of the pool, in read-only
// transactions and for 15 seconds at most. slot is the name of cdc's replication slot. What cannot be read is missing in the result, and
// in the error: a part that fails leaves the others as they are.
func GatherPostgres(ctx context.Context, pool *pgxpool.Pool, slot string, targets []Target) (*Postgres, error) {
	ctx, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("gather statistics of Postgres: %w", err)
	}
	defer conn.Release()
	g := &gatherer{conn: conn.Conn(), slot: slot, targets: targets, queryID: map[int64]string{}}
	g.out.Plans = map[string][]Plan{}
	g.part(ctx, "server", g.server)
	g.part(ctx, "tables", g.tables)
	g.part(ctx, "columns", g.columns)
	g.part(ctx, "indexes", g.indexes)
	g.part(ctx, "slots", g.slots)
	for i := range targets {
		g.part(ctx, "plan of "+targets[i].Query.Name, func(ctx context.Context, tx pgx.Tx) error { return g.plans(ctx, tx, &targets[i]) })
	}
	g.part(ctx, "statements", g.statements)
	return &g.out, errors.Join(g.errs...)
}

// gatherer is one gathering.
type gatherer struct {
	conn    *pgx.Conn
	slot    string
	targets []Target
	queryID map[int64]string // query by the id that pg_stat_statements gives its text
	out     Postgres
	errs    []error
}

// part runs one part in a transaction of its own, which is rolled back: it leaves nothing behind, settings included.
func (g *gatherer) part(ctx context.Context, name string, do func(context.Context, pgx.Tx) error) {
	err := pgx.BeginTxFunc(ctx, g.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)",
			strconv.FormatInt(partTimeout.Milliseconds(), 10), strconv.FormatInt(lockTimeout.Milliseconds(), 10))
		if err != nil {
			return err
		}
		if err := do(ctx, tx); err != nil {
			return err
		}
		return errUndo
	})
	if err != nil && !errors.Is(err, errUndo) {
		g.errs = append(g.errs, fmt.Errorf("gather statistics of Postgres (%s): %w", name, err))
	}
}

// errUndo rolls a transaction back that did what it should.
var errUndo = errors.New("rolled back")

// serverSQL: the statistics may be older than the start of the server, but nobody knows then whether they are (stats_reset is empty where
// they never were reset). A role that may not see others' sessions sees their transactions without an age.
const serverSQL = `
SELECT current_setting('server_version_num')::int, current_setting('max_connections')::int,
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend'),
       extract(epoch FROM now() - greatest(pg_postmaster_start_time(), (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database())))::float8,
       (SELECT count(*)::int FROM pg_stat_replication r WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
       (SELECT CASE WHEN setting::bigint < 0 THEN -1 ELSE setting::bigint << 20 END FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       coalesce(t.pid, 0), coalesce(extract(epoch FROM clock_timestamp() - t.xact_start), 0)::float8, coalesce(t.state, ''), coalesce(t.application_name, '')
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT pid, xact_start, state, application_name FROM pg_stat_activity
    WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'
    ORDER BY xact_start LIMIT 1
) t ON true`

func (g *gatherer) server(ctx context.Context, tx pgx.Tx) error {
	o := &g.out
	var statsAge, age float64
	err := tx.QueryRow(ctx, serverSQL).Scan(&o.Version, &o.MaxConnections, &o.Connections, &statsAge, &o.Standbys, &o.SlotLimit,
		&o.Longest.PID, &age, &o.Longest.State, &o.Longest.Application)
	o.StatsAge, o.Longest.Age = seconds(statsAge), seconds(age)
	return err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// maxObjects bounds the tables and the indexes that are looked at: the largest.
const maxObjects = 1000

// tablesSQL takes no lock of the tables, as pg_relation_size would, and so sizes are those of the last VACUUM or ANALYZE. Where nobody has counted the rows since the statistics were reset, the planner's estimate is taken.
const tablesSQL = `
SELECT s.schemaname || '.' || s.relname, CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup ELSE greatest(c.reltuples, 0)::bigint END,
       s.seq_scan, s.seq_tup_read, coalesce(s.idx_scan, 0), s.n_mod_since_analyze, c.reltuples < 0 AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL,
       c.relpages::bigint * current_setting('block_size')::bigint
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname <> 'freshet'
ORDER BY c.relpages DESC, 1
LIMIT $1`

func (g *gatherer) tables(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, tablesSQL, maxObjects)
	if err != nil {
		return err
	}
	g.out.Tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Table, err error) {
		err = row.Scan(&t.Name, &t.Rows, &t.SeqScans, &t.SeqRows, &t.IndexScans, &t.ChangedSince, &t.NeverAnalyzed, &t.Size)
		t.DistinctOfColumn = map[string]float64{}
		return t, err
	})
	return err
}

// columnsSQL: a negative n_distinct is a share of the rows.
const columnsSQL = `
SELECT s.schemaname || '.' || s.tablename, s.attname::text,
       CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(c.reltuples, 1) ELSE s.n_distinct END::float8
FROM pg_stats s
JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema', 'freshet') AND NOT s.inherited AND s.n_distinct <> 0
LIMIT $1`

func (g *gatherer) columns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, columnsSQL, 20*maxObjects)
	if err != nil {
		return err
	}
	var table, column string
	var distinct float64
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &distinct}, func() error {
		if t := g.out.table(table); t != nil {
			t.DistinctOfColumn[column] = distinct
		}
		return nil
	})
	return err
}

const indexesSQL = `
SELECT n.nspname || '.' || ic.relname, n.nspname || '.' || tc.relname,
       ARRAY(SELECT coalesce(a.attname::text, '')
             FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, at)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0 ORDER BY k.at),
       am.amname::text, ic.relpages::bigint * current_setting('block_size')::bigint, coalesce(s.idx_scan, 0), i.indpred IS NOT NULL,
       CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique' WHEN i.indisexclusion THEN 'exclusion constraint'
            WHEN i.indisreplident THEN 'replica identity' WHEN ic.relispartition THEN 'index of a partitioned table'
            WHEN EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) THEN 'constraint' ELSE '' END,
       i.indisvalid
FROM pg_index i
JOIN pg_class ic ON ic.oid = i.indexrelid
JOIN pg_class tc ON tc.oid = i.indrelid
JOIN pg_namespace n ON n.oid = ic.relnamespace
JOIN pg_am am ON am.oid = ic.relam
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'freshet') AND n.nspname NOT LIKE 'pg\_toast%' AND tc.relkind IN ('r', 'm')
ORDER BY ic.relpages DESC, 1
LIMIT $1`

func (g *gatherer) indexes(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, indexesSQL, maxObjects)
	if err != nil {
		return err
	}
	g.out.Indexes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i Index, err error) {
		return i, row.Scan(&i.Name, &i.Table, &i.Columns, &i.Method, &i.Size, &i.Scans, &i.Partial, &i.Needed, &i.Valid)
	})
	return err
}

// slotsSQL: a lost slot keeps nothing any more.
const slotsSQL = `
SELECT slot_name::text, slot_name = $1, active, coalesce(wal_status, ''),
       CASE WHEN wal_status = 'lost' THEN 0 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint END,
       coalesce(safe_wal_size, -1)
FROM pg_replication_slots
ORDER BY slot_name`

func (g *gatherer) slots(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, slotsSQL, g.slot)
	if err != nil {
		return err
	}
	g.out.Slots, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Slot, err error) {
		return s, row.Scan(&s.Name, &s.Ours, &s.Active, &s.Status, &s.Retained, &s.Safe)
	})
	return err
}
