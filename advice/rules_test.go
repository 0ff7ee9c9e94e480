package advice_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/advice"
)

// hour is the evidence of an hour in which one query, with the given changes, had 10,000 requests of which 5,000 missed.
func hour(edit func(*advice.Evidence, *advice.Query)) *advice.Evidence {
	e := &advice.Evidence{Window: time.Hour, Queries: []advice.Query{{
		Name: "q", File: "q.sql", Requests: 10_000, Hits: 5000, Misses: 5000, Entries: 10, Expired: -1, TTL: 10 * time.Minute,
		MeanFill: 10 * time.Millisecond, P99: 50 * time.Millisecond,
		Analysis: advice.Analysis{Shapes: []advice.Shape{{Table: "public.t", Name: "t(a)", Columns: []string{"a"}, Reads: []string{"a", "b"}}}},
	}}}
	edit(e, &e.Queries[0])
	return e
}

// inOrder is an hour without anything to be found, changed.
func inOrder(edit func(*advice.Evidence, *advice.Query)) *advice.Evidence {
	return hour(func(e *advice.Evidence, q *advice.Query) {
		q.Hits, q.Misses = 9990, 10
		e.Pool = &advice.Pool{InUse: 10, Max: 50}
		e.Lag = &advice.Lag{WatermarkAge: 5 * time.Millisecond, MaxStaleness: 5 * time.Second}
		e.Redis = &advice.Redis{Used: 10 << 20, Max: 100 << 20, Host: 8 << 30, Policy: "allkeys-lru", Keys: 100, Expiring: 99, Uptime: time.Hour}
		e.Postgres = &advice.Postgres{
			Version: 150000, MaxConnections: 100, Connections: 20, StatsAge: 30 * 24 * time.Hour, SlotLimit: -1,
			Tables:  []advice.Table{{Name: "public.t", Rows: 100_000, DistinctOfColumn: map[string]float64{"a": 5000, "b": 3, "c": 9000}}},
			Indexes: []advice.Index{{Name: "public.t_b", Table: "public.t", Columns: []string{"b", "a"}, Method: "btree", Size: 50 << 20, Scans: 7, Valid: true}},
			Slots:   []advice.Slot{{Name: "freshet_main", Ours: true, Active: true, Status: "reserved", Retained: 16 << 20, Safe: -1}},
			Plans:   map[string][]advice.Plan{"q": {{Cost: 8, Costliest: "Index Scan using t_pkey on public.t", Share: 1}}},
		}
		edit(e, q)
	})
}

func scan(filter string, rows float64) func(e *advice.Evidence, _ *advice.Query) {
	return func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Plans["q"] = []advice.Plan{{SeqScans: []advice.SeqScan{{Table: "public.t", Filter: filter, Rows: rows}}}}
	}
}

func slot(edit func(p *advice.Postgres, s *advice.Slot)) func(*advice.Evidence, *advice.Query) {
	return func(e *advice.Evidence, _ *advice.Query) { edit(e.Postgres, &e.Postgres.Slots[0]) }
}

func redis(edit func(r *advice.Redis)) func(*advice.Evidence, *advice.Query) {
	return func(e *advice.Evidence, _ *advice.Query) { edit(e.Redis) }
}

func unused(edit func(e *advice.Evidence, i *advice.Index)) *advice.Evidence {
	return inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Indexes[0].Scans = 0
		edit(e, &e.Postgres.Indexes[0])
	})
}

type rule struct {
	name     string
	evidence *advice.Evidence
	want     string // id subject severity; "" for no finding at all
	title    string // a part of it
	fact     string // "name: text", one that must be there
	code     string // a part of it
}

var hitRates = []rule{
	{"ttl: entries expire before they are asked for again", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Entries, q.TTL, q.Expired = 100, 10*time.Second, 4900
	}), "hit-rate.ttl q warning", "q: 50.0 % hits, because its entries expire", "time between two requests of one entry: 36s", "-- ttl: 30m"},
	{"ttl, reckoned", hour(func(_ *advice.Evidence, q *advice.Query) { q.Entries, q.TTL = 100, 10*time.Second }),
		"hit-rate.ttl q warning", "", "misses of expired entries: 4,900", "-- ttl: 30m"},
	{"ttl of a result that depends on the time", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Entries, q.TTL, q.Analysis.Timed = 100, 10*time.Second, true
	}), "hit-rate.ttl q warning", "", "ttl: 10s", ""},
	{"cleared by its own count", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Cleared, q.Expired = map[string]int64{"public.t": 4000, "public.u": 900}, 0
	}), "hit-rate.cleared q warning", "because changes of public.t clear", "entries cleared by changes of public.u: 900", "freshet why q"},
	{"cleared by what is known of the table", hour(func(e *advice.Evidence, q *advice.Query) {
		e.Cleared, q.Expired = map[string]int64{"public.t": 4800, "public.other": 99999}, 0
	}), "hit-rate.cleared q warning", "", "buckets of any query cleared by changes of public.t: 4,800", "freshet why q"},
	{"cleared, and the shape is coarse", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Cleared, q.Expired = map[string]int64{"public.t": 4900}, 0
		q.Analysis.Shapes[0].Flaw, q.Analysis.Shapes[0].Reason = advice.Coarse, "it pins nothing"
		q.Analysis.Shapes[0].Remedy.Code = "ALTER TABLE public.t REPLICA IDENTITY FULL;"
	}), "hit-rate.cleared q warning", "", "because: it pins nothing", "REPLICA IDENTITY FULL"},
	{"too many parameters", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Entries = 4900
		q.Analysis.Params = []advice.Param{{Name: "offset", Type: "int"}, {Name: "status", Type: "text", Values: 3}}
	}), "hit-rate.parameters q warning", "too many different parameters", "hit rate if each missed only once: 51.0 %", "-- param: offset int = 0, min 0, max 1000"},
	{"bypassed", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Misses, q.Bypasses = 100, map[string]int64{"watermark-stale": 4000, "shape-inactive": 900}
	}), "hit-rate.bypass q warning", "could not be used (watermark-stale)", "bypasses: shape-inactive: 900", "/health/detailed"},
	{"bypassed because of long transactions", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Misses, q.Bypasses = 0, map[string]int64{"shape-inactive": 5000}
	}), "hit-rate.bypass q warning", "", "bypasses: 5,000", "FROM pg_stat_activity"},
	{"bypassed because it is refused", hour(func(_ *advice.Evidence, q *advice.Query) {
		q.Misses, q.Bypasses = 0, map[string]int64{"query-disabled": 5000}
	}), "hit-rate.bypass q warning", "", "", "freshet check q.sql"},
	{"evicted", hour(func(e *advice.Evidence, _ *advice.Query) {
		e.Redis = &advice.Redis{Used: 50 << 20, Max: 100 << 20, Policy: "allkeys-lru", Evicted: 7000}
	}), "hit-rate.evicted q warning", "", "keys evicted since Redis was started: 7,000", "CONFIG SET maxmemory 200MB"},
	{"not explained", hour(func(*advice.Evidence, *advice.Query) {}), "hit-rate.unexplained q warning", "", "misses not explained: 4,930", "freshet why q"},
	{"a query of which little is asked", hour(func(e *advice.Evidence, q *advice.Query) {
		q.Requests, q.Hits, q.Misses = 200, 0, 200
		e.Queries = append(e.Queries, advice.Query{Name: "busy", Requests: 1_000_000, Hits: 1_000_000})
	}), "hit-rate.unexplained q info", "", "", ""},
	{"a hit rate just at the limit", hour(func(_ *advice.Evidence, q *advice.Query) { q.Hits, q.Misses = 8000, 2000 }), "", "", "", ""},
	{"too few requests to say anything", hour(func(_ *advice.Evidence, q *advice.Query) { q.Requests, q.Hits, q.Misses = 99, 0, 99 }), "", "", "", ""},

	{"a ttl that decides nothing", inOrder(func(_ *advice.Evidence, q *advice.Query) {
		q.Cleared, q.Expired, q.TTL = map[string]int64{"public.t": 1000}, 0, time.Hour
	}), "ttl.idle q info", "its ttl of 1h decides nothing, as changes clear an entry after 36s", "mean life of an entry: 36s", "-- ttl: 5m"},
	{"a ttl that decides nothing, as far as the table tells", inOrder(func(e *advice.Evidence, q *advice.Query) {
		e.Cleared, q.TTL = map[string]int64{"public.t": 1000, "public.other": 5000}, time.Hour
	}), "ttl.idle q info", "", "entries cleared: 1,000", "-- ttl: 5m"},
	{"a ttl, and a table that another query reads too", inOrder(func(e *advice.Evidence, q *advice.Query) {
		e.Cleared, q.TTL = map[string]int64{"public.t": 1000}, time.Hour
		other := *q
		other.Name = "other"
		e.Queries = append(e.Queries, other)
	}), "", "", "", ""},
	{"a ttl that some entries reach", inOrder(func(_ *advice.Evidence, q *advice.Query) {
		q.Cleared, q.Expired, q.TTL = map[string]int64{"public.t": 1000}, 1, time.Hour
	}), "", "", "", ""},
	{"a ttl that is not much longer", inOrder(func(_ *advice.Evidence, q *advice.Query) {
		q.Cleared, q.Expired, q.TTL = map[string]int64{"public.t": 1000}, 0, 5*time.Minute
	}), "", "", "", ""},
}

var shapes = []rule{
	{"a coarse shape", inOrder(func(_ *advice.Evidence, q *advice.Query) {
		q.Analysis.Shapes[0] = advice.Shape{Table: "public.t", Name: "t()", Flaw: advice.Coarse, Reason: "why", Remedy: advice.Remedy{Text: "do", Code: "ALTER"}}
	}), "shape.coarse q info", "any change of public.t clears", "because: why", "ALTER"},
	{"a coarse shape that costs hits", hour(func(e *advice.Evidence, q *advice.Query) {
		q.Analysis.Shapes[0].Flaw, q.Entries, q.TTL = advice.Coarse, 5000, time.Second
		e.Cleared = map[string]int64{"public.t": 20}
	}), "shape.coarse q warning", "", "cleared by changes of public.t: 20", ""},
	{"pinned by a constant", inOrder(func(_ *advice.Evidence, q *advice.Query) { q.Analysis.Shapes[0].Flaw = advice.Constant }),
		"shape.constant q info", "for all parameters", "columns pinned: 1", ""},
	{"a partition that hides its old values", inOrder(func(_ *advice.Evidence, q *advice.Query) { q.Analysis.Shapes[0].Flaw = advice.UnknownOldValues }),
		"shape.unknown-old-values q info", "clears more of its results", "", ""},
}

var indexes = []rule{
	{"an index is missing", inOrder(scan("(t.a = $1)", 20)), "index.missing q warning", "reads all of public.t to find the rows of one a", "rows of the table: 100,000",
		"CREATE INDEX CONCURRENTLY ON public.t (a);"},
	{"an index on two columns, that with most values first", inOrder(func(e *advice.Evidence, q *advice.Query) {
		q.Analysis.Shapes[0].Columns = []string{"a", "b", "c"}
		scan("((t.a = $1) AND (t.b = 'x'::text) AND (t.c = $2))", 20)(e, q)
	}), "index.missing q warning", "", "", "ON public.t (c, a);"},
	{"several queries want the index", inOrder(func(e *advice.Evidence, q *advice.Query) {
		e.Queries = append(e.Queries, *q)
		e.Queries[1].Name = "r"
		scan("(a = $1)", 20)(e, q)
		e.Postgres.Plans["r"] = e.Postgres.Plans["q"]
	}), "index.missing q warning", "", "also reads all of it: r", ""},
	{"an index is there", inOrder(func(e *advice.Evidence, q *advice.Query) {
		scan("(a = $1)", 20)(e, q)
		e.Postgres.Indexes[0].Columns = []string{"a"}
	}), "", "", "", ""},
	{"a partial index is there", inOrder(func(e *advice.Evidence, q *advice.Query) {
		scan("(a = $1)", 20)(e, q)
		e.Postgres.Indexes[0].Columns, e.Postgres.Indexes[0].Partial = []string{"a"}, true
	}), "index.missing q warning", "", "", ""},
	{"a small table", inOrder(func(e *advice.Evidence, q *advice.Query) {
		scan("(a = $1)", 20)(e, q)
		e.Postgres.Tables[0].Rows = 9999
	}), "", "", "", ""},
	{"most of the table is wanted", inOrder(scan("(a = $1)", 10_001)), "", "", "", ""},
	{"a column that is not pinned", inOrder(scan("(aa = $1)", 20)), "", "", "", ""},

	{"an invalid index", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Postgres.Indexes[0].Valid = false }),
		"index.invalid public.t_b warning", "", "size: 50.0 MB", "REINDEX INDEX CONCURRENTLY public.t_b;"},
	{"an index that nobody uses", unused(func(*advice.Evidence, *advice.Index) {}), "index.unused public.t_b info", "for 30 days", "size: 50.0 MB",
		"DROP INDEX CONCURRENTLY public.t_b;"},
	{"an index that a standby may use", unused(func(e *advice.Evidence, _ *advice.Index) { e.Postgres.Standbys = 2 }), "index.unused public.t_b info", "",
		"standbys, whose scans are not counted here: 2", ""},
	{"a small index", unused(func(_ *advice.Evidence, i *advice.Index) { i.Size = 10<<20 - 1 }), "", "", "", ""},
	{"an index that is needed", unused(func(_ *advice.Evidence, i *advice.Index) { i.Needed = "unique" }), "", "", "", ""},
	{"statistics that have not counted for long", unused(func(e *advice.Evidence, _ *advice.Index) { e.Postgres.StatsAge = 6 * 24 * time.Hour }), "", "", "", ""},

	{"old statistics", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Postgres.Tables[0].ChangedSince = 20_000 }),
		"statistics.old public.t warning", "", "rows changed since it was analyzed: 20,000", "ANALYZE public.t;"},
	{"no statistics", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Postgres.Tables[0].NeverAnalyzed = true }),
		"statistics.old public.t warning", "has never been analyzed", "rows: 100,000", "ANALYZE public.t;"},
	{"old statistics of a table that no query reads", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Tables[0] = advice.Table{Name: "public.other", Rows: 100_000, ChangedSince: 99_999}
	}), "", "", "", ""},
}

var loads = []rule{
	{"a busy pool", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Pool.InUse = 40 }), "pool.busy pool warning", "used to 80.0 %", "connections at most: 50",
		"DB_MAX_CONNECTIONS=67"},
	{"a pool that is used up", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		*e.Pool = advice.Pool{InUse: 50, Max: 50, Waits: 100, Waited: 5 * time.Second}
		e.Postgres.Connections = 90
	}), "pool.busy pool critical", "", "mean wait: 50ms", "ALTER SYSTEM SET max_connections = 184;\nDB_MAX_CONNECTIONS=84"},
	{"a pool with room", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Pool.InUse = 39 }), "", "", "", ""},

	{"a slow query", inOrder(func(e *advice.Evidence, q *advice.Query) {
		q.MeanFill, q.P99 = 300*time.Millisecond, 900*time.Millisecond
		e.Postgres.Plans["q"] = []advice.Plan{{Sample: "a=1:7", Costliest: "Sort", Share: 0.7, Explain: "EXPLAIN (ANALYZE, BUFFERS)\nSELECT 7;"}}
		e.Postgres.Statements = []advice.Statement{{Query: "q", Calls: 9, Mean: 290 * time.Millisecond, Read: 5}}
	}), "query.slow q warning", "takes Postgres 300ms", "share of the costliest step of the plan for a=1:7: 70.0 %: Sort", "EXPLAIN (ANALYZE, BUFFERS)"},
	{"a query that waits", inOrder(func(_ *advice.Evidence, q *advice.Query) { q.P99 = 500 * time.Millisecond }), "query.slow q warning",
		"though Postgres needs 10ms", "p99 of its requests: 500ms", "wait_event"},
	{"a query that is fast enough", inOrder(func(_ *advice.Evidence, q *advice.Query) {
		q.MeanFill, q.P99 = 199*time.Millisecond, 499*time.Millisecond
	}), "", "", "", ""},

	{"a slow statement of somebody else", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Statements = []advice.Statement{{Text: "UPDATE t SET b =\n\t$1", Calls: 20, Mean: time.Second, Total: 20 * time.Second}}
	}), "statement.slow UPDATE t SET b = $1 info", "1s each time", "runs: 20", "-- with values for $1, $2, ...\nEXPLAIN UPDATE"},
	{"a slow statement on a server that has generic plans", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Version = 160000
		e.Postgres.Statements = []advice.Statement{{Text: "SELECT $1", Calls: 20, Mean: time.Second}}
	}), "statement.slow SELECT $1 info", "", "", "EXPLAIN (GENERIC_PLAN) SELECT"},
	{"a statement that ran a few times", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Postgres.Statements = []advice.Statement{{Text: "VACUUM", Calls: 19, Mean: time.Hour}}
	}), "", "", "", ""},
}

var logs = []rule{
	{"a slot that keeps much", inOrder(slot(func(_ *advice.Postgres, s *advice.Slot) { s.Retained = 1 << 30 })), "slot.retains-wal freshet_main warning",
		"keeps 1.0 GB", "max_slot_wal_keep_size: no limit", "max_slot_wal_keep_size = '20480MB'"},
	{"a slot that keeps far too much, of a cdc that does not run", inOrder(slot(func(_ *advice.Postgres, s *advice.Slot) { s.Retained, s.Active = 10<<30, false })),
		"slot.retains-wal freshet_main critical", "", "WAL kept: 10.0 GB", "SELECT pg_drop_replication_slot('freshet_main');"},
	{"a slot that is about to be lost", inOrder(slot(func(p *advice.Postgres, s *advice.Slot) { p.SlotLimit, s.Safe = 1000<<20, 249<<20 })),
		"slot.retains-wal freshet_main critical", "", "may still be written before it can be lost (safe_wal_size): 249.0 MB", "max_slot_wal_keep_size"},
	{"a slot with enough left", inOrder(slot(func(p *advice.Postgres, s *advice.Slot) { p.SlotLimit, s.Safe = 1000<<20, 250<<20 })), "", "", "", ""},
	{"a slot that is held by a transaction", inOrder(slot(func(p *advice.Postgres, s *advice.Slot) {
		s.Status, p.Longest = "extended", advice.Transaction{PID: 77, Age: time.Hour, State: "idle in transaction", Application: "psql"}
	})), "slot.retains-wal freshet_main warning", "", "oldest transaction in progress: 1h", "SELECT pg_terminate_backend(77);"},
	{"a slot that goes beyond the limit", inOrder(slot(func(_ *advice.Postgres, s *advice.Slot) { s.Status = "unreserved" })),
		"slot.retains-wal freshet_main critical", "", "", ""},
	{"a lost slot", inOrder(slot(func(p *advice.Postgres, s *advice.Slot) { p.SlotLimit, s.Status, s.Retained = 64<<20, "lost", 0 })),
		"slot.lost freshet_main critical", "is lost", "wal_status: lost", "ALTER SYSTEM"},
	{"a lost slot of somebody else", inOrder(slot(func(_ *advice.Postgres, s *advice.Slot) { s.Status, s.Ours, s.Active = "lost", false, false })),
		"slot.lost freshet_main warning", "", "", "pg_drop_replication_slot"},

	{"a watermark that ages", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Lag.WatermarkAge = 2500 * time.Millisecond }), "log.lag log warning",
		"The watermark is 2.5s old", "max_staleness: 5s", "/health/ready"},
	{"a watermark that is too old, as the invalidator is behind", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		*e.Lag = advice.Lag{WatermarkAge: 6 * time.Second, MaxStaleness: 5 * time.Second, Invalidator: 6 * time.Second, Messages: 1234}
	}), "log.lag log critical", "more than the 5s", "messages that it has not applied: 1,234", "redis-cli --latency"},
	{"nobody streams", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Lag.WatermarkAge, e.Lag.CDC, e.Postgres.Slots[0].Active = 6*time.Second, -1, false
	}), "log.lag log critical", "", "age of the watermark: 6s", "8081/health/ready"},
	{"no invalidator", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Lag.WatermarkAge, e.Lag.CDC, e.Lag.Invalidator = 6*time.Second, -1, -1
	}), "log.lag log critical", "", "age of the watermark: 6s", "curl -s http://127.0.0.1:8082/health/ready"},
	{"no Redis", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Lag.WatermarkAge, e.Lag.CDC, e.Lag.Invalidator, e.Redis = 6*time.Second, -1, -1, nil
	}), "log.lag log critical", "", "age of the watermark: 6s", "redis-cli --latency"},
	{"cdc is behind", inOrder(func(e *advice.Evidence, _ *advice.Query) { e.Lag.CDC, e.Lag.CDCBytes = time.Second, 5<<20 }), "log.lag log warning", "",
		"WAL that cdc has not published: 5.0 MB", "pg_stat_replication"},
	{"cdc waits for a transaction", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		e.Lag.CDC, e.Postgres.Longest = time.Second, advice.Transaction{PID: 78, Age: time.Minute, State: "idle in transaction"}
	}), "log.lag log warning", "", "", "SELECT pg_terminate_backend(78);"},
	{"a watermark that is young enough", inOrder(func(e *advice.Evidence, _ *advice.Query) {
		*e.Lag = advice.Lag{WatermarkAge: 2499 * time.Millisecond, MaxStaleness: 5 * time.Second, CDC: 999 * time.Millisecond}
	}), "", "", "", ""},
}

var memories = []rule{
	{"memory near its limit", inOrder(redis(func(r *advice.Redis) { r.Used = 80 << 20 })), "redis.memory redis warning", "80.0 %", "maxmemory: 100.0 MB",
		"CONFIG SET maxmemory 160MB"},
	{"enough memory", inOrder(redis(func(r *advice.Redis) { r.Used = 80<<20 - 1 })), "", "", "", ""},
	{"evictions, though there is room now", inOrder(redis(func(r *advice.Redis) { r.Evicted = 500 })), "redis.memory redis info", "has evicted 500 keys",
		"keys evicted in an hour: 500", "CONFIG SET maxmemory 150MB"},
	{"a full Redis that refuses writes", inOrder(redis(func(r *advice.Redis) { r.Used, r.Policy = 95<<20, "noeviction" })), "redis.memory redis critical",
		"refuses writes", "maxmemory-policy: noeviction", ""},
	{"no limit on a machine that is nearly full", inOrder(redis(func(r *advice.Redis) { r.Max, r.Used = 0, 5<<30 })), "redis.unlimited redis warning", "62.5 %",
		"memory of the machine: 8.0 GB", "CONFIG SET maxmemory 5120MB"},
	{"no limit, and little used", inOrder(redis(func(r *advice.Redis) { r.Max, r.Policy = 0, "noeviction" })), "", "", "", ""},

	{"a policy that refuses", inOrder(redis(func(r *advice.Redis) { r.Policy = "noeviction" })), "redis.policy redis info", "refuse writes", "used_memory: 10.0 MB",
		"CONFIG SET maxmemory-policy allkeys-lru"},
	{"a policy that refuses soon", inOrder(redis(func(r *advice.Redis) { r.Policy, r.Used = "noeviction", 85<<20 })), "redis.policy redis warning", "", "", ""},
	{"a policy that finds little", inOrder(redis(func(r *advice.Redis) { r.Policy, r.Expiring = "volatile-lru", 89 })), "redis.policy redis info",
		"only the 89.0 % of the keys", "keys with a time to live: 89", "allkeys-lru"},
	{"a policy that looks at the time to live", inOrder(redis(func(r *advice.Redis) { r.Policy = "volatile-ttl" })), "redis.policy redis info",
		"filled longest ago", "", "allkeys-lru"},
	{"a policy that looks at nothing", inOrder(redis(func(r *advice.Redis) { r.Policy = "allkeys-random" })), "redis.policy redis info", "evicts any key", "", ""},
	{"a policy that is as good", inOrder(redis(func(r *advice.Redis) { r.Policy = "volatile-lfu" })), "", "", "", ""},
}

func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range slices.Concat(hitRates, shapes, indexes, loads, logs, memories) {
		t.Run(r.name, func(t *testing.T) {
			findings := advice.Findings(r.evidence)
			for _, f := range findings {
				seen[f.ID] = true
				wellFormed(t, f)
			}
			if r.want == "" {
				assert.Empty(t, ids(findings))
				return
			}
			i := slices.IndexFunc(findings, func(f advice.Finding) bool { return f.ID+" "+f.Subject+" "+string(f.Severity) == r.want })
			require.NotEqual(t, -1, i, "found %v", findings)
			f := findings[i]
			assert.Contains(t, f.Title, r.title)
			assert.Contains(t, f.Remedy.Code, r.code)
			if r.fact != "" {
				var facts []string
				for _, fact := range f.Evidence {
					facts = append(facts, fact.Name+": "+fact.Text)
				}
				assert.Contains(t, facts, r.fact)
			}
		})
	}
	// What this test is about is all that there is.
	for _, id := range []string{
		"hit-rate.ttl", "hit-rate.cleared", "hit-rate.parameters", "hit-rate.bypass", "hit-rate.evicted", "hit-rate.unexplained", "ttl.idle",
		"shape.coarse", "shape.constant", "shape.unknown-old-values", "index.missing", "index.invalid", "index.unused", "statistics.old",
		"pool.busy", "query.slow", "statement.slow", "slot.retains-wal", "slot.lost", "log.lag", "redis.memory", "redis.unlimited", "redis.policy",
	} {
		assert.True(t, seen[id], id)
		delete(seen, id)
	}
	assert.Empty(t, seen)
}

// No finding without a number, and none without something to do.
func wellFormed(t *testing.T, f advice.Finding) {
	t.Helper()
	assert.True(t, slices.ContainsFunc(f.Evidence, advice.Fact.Number), "%s has no number", f.ID)
	for _, fact := range f.Evidence {
		assert.NotEmpty(t, fact.Name)
		if fact.Number() {
			assert.NotEmpty(t, fact.Text)
			assert.GreaterOrEqual(t, fact.Value, 0.0)
		}
	}
	assert.NotEmpty(t, f.Title)
	assert.NotEmpty(t, f.Subject)
	assert.GreaterOrEqual(t, f.Weight, 0.0)
	assert.LessOrEqual(t, f.Weight, 1.0)
	if !strings.HasPrefix(f.ID, "shape.") { // those of the analysis, which here is made up
		assert.NotEmpty(t, f.Remedy.Text)
	}
	for _, s := range []string{f.Title, f.Remedy.Text, f.Remedy.Code} {
		assert.NotContains(t, s, "%!")
	}
}

// Without evidence nothing is found, and an answer in JSON has a list all the same.
func TestNoEvidence(t *testing.T) {
	assert.Equal(t, []advice.Finding{}, advice.Findings(&advice.Evidence{}))
	assert.Empty(t, advice.Findings(&advice.Evidence{Postgres: &advice.Postgres{}, Redis: &advice.Redis{}, Pool: &advice.Pool{}, Lag: &advice.Lag{}}))
	assert.Empty(t, advice.Findings(inOrder(func(*advice.Evidence, *advice.Query) {})))
}

func TestOrder(t *testing.T) {
	e := inOrder(func(e *advice.Evidence, q *advice.Query) {
		q.Name, q.P99, q.Requests = "rare", time.Second, 1000
		often := *q
		often.Name, often.Requests = "often", 9000
		e.Queries = append(e.Queries, often)
		e.Lag.WatermarkAge = time.Minute
		e.Redis.Policy = "noeviction"
	})
	e.Queries[0].Hits, e.Queries[1].Hits = 1000, 9000
	findings := advice.Findings(e)
	assert.Equal(t, []string{"log.lag log", "query.slow often", "query.slow rare", "redis.policy redis"}, ids(findings))
	assert.InDelta(t, 0.9, findings[1].Weight, 1e-9)
}

func TestText(t *testing.T) {
	text := advice.Text(advice.Findings(inOrder(func(e *advice.Evidence, q *advice.Query) {
		e.Pool.InUse = 40
		scan("(a = 'x\x1b[31m\ny')", 20)(e, q)
	})))
	assert.Contains(t, text, "WARNING   The pool of connections to Postgres is used to 80.0 %  [pool.busy, 100.0 % of the requests]\n          use: 80.0 %\n")
	assert.Contains(t, text, "  run     DB_MAX_CONNECTIONS=67\n")
	assert.Contains(t, text, "          filter: (a = 'x [31m y')\n", "no control characters reach a terminal")
	assert.Contains(t, advice.Text(nil), "Nothing to recommend")
}
