package advice_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/advice"
	"freshet/internal/testenv"
	"freshet/query"
)

// parsed is a read of a statement.
func parsed(t *testing.T, name, header, sql string) *query.Query {
	t.Helper()
	q, err := query.Parse("queries/"+name+".sql", []byte("-- name: "+name+"\n-- route: GET /"+name+"\n-- result: many\n"+header+sql))
	require.NoError(t, err)
	return q
}

// gathered is the evidence of some queries, each of which had a thousand requests.
func gathered(t *testing.T, db *testenv.Database, queries ...*query.Query) *advice.Evidence {
	t.Helper()
	e := &advice.Evidence{Window: time.Hour}
	var targets []advice.Target
	a, err := advice.NewAnalyzer(t.Context(), db.Conn(t))
	require.NoError(t, err)
	for _, q := range queries {
		analysis, err := a.Analyze(q)
		require.NoError(t, err)
		e.Queries = append(e.Queries, advice.Query{
			Name: q.Name, File: q.File, Requests: 1000, Hits: 990, Misses: 10, Entries: 10, Expired: -1, TTL: q.TTL, Analysis: analysis,
		})
		targets = append(targets, advice.Target{Query: q})
	}
	e.Postgres, err = advice.GatherPostgres(t.Context(), db.Pool(t), "freshet_test", targets)
	require.NoError(t, err)
	return e
}

func ids(findings []advice.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, f.ID+" "+f.Subject)
	}
	return out
}

func find(t *testing.T, e *advice.Evidence, id string) advice.Finding {
	t.Helper()
	all := advice.Findings(e)
	i := slices.IndexFunc(all, func(f advice.Finding) bool { return f.ID == id })
	require.NotEqual(t, -1, i, "no finding %s among %v", id, ids(all))
	return all[i]
}

const manyOrders = `
	CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint NOT NULL, "Group" text NOT NULL, status text NOT NULL, note text);
	ALTER TABLE orders REPLICA IDENTITY FULL;
	INSERT INTO orders (customer, "Group", status, note) SELECT i % 2000, 'g' || i % 500, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'done' END, repeat('x', 50)
		FROM generate_series(1, 20000) i;
	ANALYZE orders`

// The finding goes when its remedy is carried out, and the planner then does what was promised.
func TestMissingIndexOnRealServer(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders)
	q := parsed(t, "orders_of", "-- param: who bigint\n-- param: status text = 'open'\n-- example: /orders_of?who=7\n",
		"SELECT id, note FROM orders WHERE customer = :who AND status = :status ORDER BY id LIMIT 10")
	e := gathered(t, db, q)
	plans := e.Postgres.Plans["orders_of"]
	require.Len(t, plans, 2)
	assert.Empty(t, plans[0].Sample)
	assert.Contains(t, plans[1].Sample, "7")
	assert.Contains(t, plans[1].Explain, "customer = '7'::bigint")
	assert.Equal(t, "Seq Scan on public.orders", plans[1].Costliest)
	assert.Positive(t, plans[1].Share)

	f := find(t, e, "index.missing")
	assert.Equal(t, "orders_of", f.Subject)
	assert.Equal(t, "CREATE INDEX CONCURRENTLY ON public.orders (customer);", f.Remedy.Code, "status has two values: it makes no search shorter")

	db.Exec(t, f.Remedy.Code)
	e = gathered(t, db, q)
	assert.NotContains(t, ids(advice.Findings(e)), "index.missing orders_of")
	for _, p := range e.Postgres.Plans["orders_of"] {
		assert.Empty(t, p.SeqScans)
	}
	rows, err := db.Conn(t).Query(t.Context(), plans[1].Explain, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	assert.Contains(t, strings.Join(lines, "\n"), "actual time")
}

func TestMissingIndexQuotesNames(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders)
	q := parsed(t, "grouped", "-- param: g text\n", `SELECT id FROM orders WHERE "Group" = :g`)
	f := find(t, gathered(t, db, q), "index.missing")
	assert.Equal(t, `CREATE INDEX CONCURRENTLY ON public.orders ("Group");`, f.Remedy.Code)
	db.Exec(t, f.Remedy.Code)
}

// A table that is read whole because most of it is wanted needs no index.
func TestNoIndexWhereItWouldNotHelp(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders)
	half := parsed(t, "half", "-- param: status text\n-- example: /half?status=open\n", "SELECT count(*) FROM orders WHERE status = :status")
	all := parsed(t, "whole", "", "SELECT count(*) FROM orders")
	for _, id := range ids(advice.Findings(gathered(t, db, half, all))) {
		assert.NotContains(t, id, "index.missing")
	}
}

// An index that could not be built is in the catalog, and no query can use it.
func TestInvalidIndexOnRealServer(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders)
	_, err := db.Conn(t).Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY orders_customer ON orders (customer)")
	require.Error(t, err)
	e := gathered(t, db)
	f := find(t, e, "index.invalid")
	assert.Equal(t, "public.orders_customer", f.Subject)
	assert.Equal(t, "REINDEX INDEX CONCURRENTLY public.orders_customer;", f.Remedy.Code)
}

// What indexes are for is read from the catalog: those that somebody needs are never called unused.
func TestIndexesOnRealServer(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders+`;
		CREATE INDEX plain ON orders (customer, status DESC);
		CREATE INDEX partial ON orders (customer) WHERE status = 'open';
		CREATE INDEX expression ON orders (lower(note), id);
		CREATE UNIQUE INDEX only_one ON orders (id, customer);
		CREATE INDEX hashed ON orders USING hash (status);
		CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
		CREATE TABLE part_1 PARTITION OF parts DEFAULT;
		CREATE INDEX of_parts ON parts (id)`)
	got := map[string]advice.Index{}
	for _, i := range gathered(t, db).Postgres.Indexes {
		assert.Positive(t, i.Size)
		i.Size = 0
		got[i.Name] = i
	}
	index := func(name, table, method, needed string, columns ...string) advice.Index {
		return advice.Index{Name: "public." + name, Table: "public." + table, Method: method, Needed: needed, Columns: columns, Valid: true}
	}
	partial := index("partial", "orders", "btree", "", "customer")
	partial.Partial = true
	for _, want := range []advice.Index{
		index("orders_pkey", "orders", "btree", "primary key", "id"), index("plain", "orders", "btree", "", "customer", "status"), partial,
		index("expression", "orders", "btree", "", "", "id"), index("only_one", "orders", "btree", "unique", "id", "customer"),
		index("hashed", "orders", "hash", "", "status"), index("part_1_id_idx", "part_1", "btree", "index of a partitioned table", "id"),
	} {
		assert.Equal(t, want, got[want.Name])
	}
}

// With pg_stat_statements the time of each query is known by the very text that was sent, and others' statements are found.
func TestStatementsOnRealServer(t *testing.T) {
	db := testenv.PrivatePostgres(t, map[string]string{"shared_preload_libraries": "pg_stat_statements"})
	db.Exec(t, manyOrders)
	q := parsed(t, "orders_of", "-- param: who bigint\n", "SELECT id FROM orders WHERE customer = :who")
	assert.Nil(t, gathered(t, db, q).Postgres.Statements, "the extension is not created yet")
	db.Exec(t, `CREATE SCHEMA "Stat"; CREATE EXTENSION pg_stat_statements SCHEMA "Stat"`)
	conn := db.Conn(t)
	for range 3 {
		_, err := conn.Exec(t.Context(), q.Text, "7")
		require.NoError(t, err)
	}
	for range advice.MinCalls {
		_, err := conn.Exec(t.Context(), "SELECT count(*) FROM orders WHERE note <> 'somebody else'")
		require.NoError(t, err)
	}
	db.Exec(t, "CREATE ROLE hidden PASSWORD 'not to be shown'")
	e := gathered(t, db, q)
	calls := map[string]int64{}
	for _, s := range e.Postgres.Statements {
		assert.NotContains(t, s.Text, "not to be shown")
		assert.Positive(t, s.Mean)
		calls[cmp.Or(s.Query, s.Text)] = s.Calls
	}
	assert.EqualValues(t, 3, calls["orders_of"])
	assert.EqualValues(t, advice.MinCalls, calls["SELECT count(*) FROM orders WHERE note <> $1"])
}

func TestServerOnRealServer(t *testing.T) {
	db := testenv.PrivatePostgres(t, map[string]string{"max_slot_wal_keep_size": "64MB", "max_connections": "33"})
	db.Exec(t, "SELECT pg_create_logical_replication_slot('freshet_test', 'pgoutput'); CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
	idle := db.Conn(t)
	tx, err := idle.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err)

	p := gathered(t, db).Postgres
	assert.Equal(t, 33, p.MaxConnections)
	assert.GreaterOrEqual(t, p.Connections, 2)
	assert.GreaterOrEqual(t, p.Version, 140000)
	assert.Positive(t, p.StatsAge)
	assert.Less(t, p.StatsAge, time.Minute)
	assert.EqualValues(t, 64<<20, p.SlotLimit)
	assert.EqualValues(t, idle.PgConn().PID(), p.Longest.PID)
	assert.Positive(t, p.Longest.Age)
	assert.Equal(t, "idle in transaction", p.Longest.State)
	require.Len(t, p.Slots, 1)
	assert.True(t, p.Slots[0].Ours)
	assert.False(t, p.Slots[0].Active)
	assert.Equal(t, "reserved", p.Slots[0].Status)
	assert.Positive(t, p.Slots[0].Retained)
	assert.Positive(t, p.Slots[0].Safe)
	require.NoError(t, tx.Rollback(t.Context()))
	assert.Zero(t, gathered(t, db).Postgres.Longest)
}

// What a role may not read is missing; the rest is there, and nothing is left behind on the connection.
func TestGatherWithFewRights(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders+"; CREATE ROLE weak_advice LOGIN")
	t.Cleanup(func() { db.Exec(t, "DROP OWNED BY weak_advice; DROP ROLE weak_advice") })
	weak := &testenv.Database{URL: strings.Replace(db.URL, "postgres@", "weak_advice@", 1)}
	pool := weak.Pool(t)
	t.Cleanup(pool.Close)
	q := parsed(t, "orders_of", "-- param: who bigint\n-- example: /orders_of?who=7\n", "SELECT id FROM orders WHERE customer = :who")
	for range 2 { // the same connection again
		p, err := advice.GatherPostgres(t.Context(), pool, "none", []advice.Target{{Query: q}})
		require.ErrorContains(t, err, "plan of orders_of")
		require.ErrorContains(t, err, "permission denied")
		assert.NotContains(t, err.Error(), "already exists")
		assert.Empty(t, p.Plans["orders_of"])
		assert.NotEmpty(t, p.Tables)
		assert.NotEmpty(t, p.Indexes)
	}
}

// A table that somebody alters is not waited for, nor is the pool's last connection for ever.
func TestGatherIsBounded(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders)
	tx, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE orders")
	require.NoError(t, err)
	q := parsed(t, "orders_of", "-- param: who bigint\n", "SELECT id FROM orders WHERE customer = :who")
	start := time.Now()
	p, err := advice.GatherPostgres(t.Context(), db.Pool(t), "none", []advice.Target{{Query: q}})
	require.ErrorContains(t, err, "lock timeout")
	assert.NotEmpty(t, p.Tables)
	assert.Less(t, time.Since(start), 10*time.Second)
}

// Nothing is written, and no statement of a query is run.
func TestGatherChangesNothing(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, manyOrders+`; CREATE SEQUENCE runs; CREATE FUNCTION counts() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('runs') $$`)
	q, err := query.Parse("f.sql", []byte("-- name: f\n-- route: POST /f\n-- result: many\nSELECT counts() FROM orders"))
	require.NoError(t, err)
	p, err := advice.GatherPostgres(t.Context(), db.Pool(t), "none", []advice.Target{{Query: q}})
	require.NoError(t, err)
	assert.Len(t, p.Plans["f"], 1)
	assert.False(t, testenv.Value[bool](t, db, "SELECT is_called FROM runs"))
}

func TestRedisOnRealServer(t *testing.T) {
	server := testenv.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
	client := server.Client(t)
	require.NoError(t, client.Set(t.Context(), "stays", "1", 0).Err())
	require.NoError(t, client.Set(t.Context(), "goes", "1", time.Hour).Err())
	r, err := advice.GatherRedis(t.Context(), client)
	require.NoError(t, err)
	assert.Positive(t, r.Used)
	assert.EqualValues(t, 64<<20, r.Max)
	assert.Positive(t, r.Host)
	assert.Equal(t, "volatile-lru", r.Policy)
	assert.Zero(t, r.Evicted)
	assert.EqualValues(t, 2, r.Keys)
	assert.EqualValues(t, 1, r.Expiring)
	f := find(t, &advice.Evidence{Redis: r}, "redis.policy")
	assert.Contains(t, f.Title, "50.0 %")

	// The remedy is what the server takes.
	command := strings.Fields(f.Remedy.Code)
	require.NoError(t, client.Do(t.Context(), command[0], command[1], command[2], command[3]).Err())
	r, err = advice.GatherRedis(t.Context(), client)
	require.NoError(t, err)
	assert.Empty(t, advice.Findings(&advice.Evidence{Redis: r}))

	require.NoError(t, client.Set(t.Context(), "large", strings.Repeat("x", 1<<20), 0).Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1mb").Err())
	testenv.Eventually(t, 10*time.Second, func() (bool, string) {
		client.Set(t.Context(), "more", "1", 0)
		r, err = advice.GatherRedis(t.Context(), client)
		return err == nil && r.Evicted > 0, "nothing evicted"
	})
	command = strings.Fields(find(t, &advice.Evidence{Redis: r}, "redis.memory").Remedy.Code)
	require.NoError(t, client.Do(t.Context(), command[0], command[1], command[2], command[3]).Err())
}
