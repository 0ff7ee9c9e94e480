package advice

import (
	"slices"
	"time"
)

// Evidence is everything that the rules look at. What is nil or zero is not known, and no rule that needs it finds anything.
type Evidence struct {
	// Window is how long the counters of the queries, and Cleared, have been counting.
	Window  time.Duration
	Queries []Query
	// Cleared counts the buckets that changes of a table (schema.table) have cleared, whatever query had filled them.
	Cleared map[string]int64
	// Pool is that of the process that answers.
	Pool     *Pool
	Lag      *Lag
	Postgres *Postgres
	Redis    *Redis
}

// Query is one read: what was asked of it, and what became of that.
type Query struct {
	Name string
	File string // for people
	Path string // of its route
	// Requests are all that were answered: Hits, Misses and Bypasses, the latter by reason (see package cache).
	Requests, Hits, Misses int64
	Bypasses               map[string]int64
	// Cleared counts how often a change has taken an entry of the query away, by table (schema.table). Nil: not known; then
	// Evidence.Cleared is looked at, for the tables that the query depends on.
	Cleared map[string]int64
	// Expired counts the misses whose entry had come to the end of its TTL; negative: not known, and reckoned from the TTL.
	Expired int64
	// Entries is how many different requests there were, that is, parameters: each needs an entry of its own.
	Entries int64
	TTL     time.Duration
	// MeanFill is how long Postgres takes, on average; P99 how long the slowest hundredth of all requests took.
	MeanFill, P99 time.Duration
	// Analysis is what is known from its statement; see [Analyze].
	Analysis Analysis
}

// Analysis is what a query's statement says about how well it can be cached.
type Analysis struct {
	Shapes []Shape
	// Timed is true if the result depends on the time: then only the TTL makes it new.
	Timed bool
	// Params are the declared parameters that make requests different, widest first.
	Params []Param
}

// Shape is a table that a query depends on.
type Shape struct {
	Table string // schema.table
	Name  string // table(columns), for people
	// Columns are those that are pinned; none: the shape is coarse, and any change of the table clears the result.
	Columns []string
	// Reads are the columns whose values can matter.
	Reads []string
	// Flaw says what is wrong with the shape; "" if nothing is.
	Flaw Flaw
	// Reason says why, as a sentence without its full stop.
	Reason string
	// Remedy is what makes it fine; it may be empty.
	Remedy Remedy
	// Certain is true if the remedy was tried: the analysis says that the shape is fine with it.
	Certain bool
}

// Flaw is why a shape makes changes clear more than they have to.
type Flaw string

// The flaws.
const (
	Coarse           Flaw = "coarse"             // nothing is pinned: any change of the table clears the result
	Constant         Flaw = "constant"           // what is pinned is the same for every request: a change clears the results of all of them
	UnknownOldValues Flaw = "unknown-old-values" // an update of a partition does not tell what it replaces, and clears the whole shape
)

// Param is a parameter of a query.
type Param struct {
	Name string
	Type string
	// Values is how many different ones it admits; 0: no bound.
	Values int64
	// Line is how the file declares it, as far as it can be told.
	Line string
}

// Pool is the api's pool of connections to Postgres.
type Pool struct {
	InUse int // at the busiest moment of the window
	Max   int
	// Waits counts the requests that found no connection free in the window, Waited is how long they waited in all.
	Waits  int64
	Waited time.Duration
}

// Lag is how far the log, and what is made of it, is behind.
type Lag struct {
	// WatermarkAge is how old the watermark is, MaxStaleness how old it may be before reads go to Postgres.
	WatermarkAge, MaxStaleness time.Duration
	// CDC is how far cdc is behind the end of the WAL, in time and in bytes. Negative: not known, as for all below.
	CDC      time.Duration
	CDCBytes int64
	// Invalidator is how far the invalidator is behind the end of the log, in time and in messages.
	Invalidator time.Duration
	Messages    int64
}

// Postgres is what the server says of itself; see [GatherPostgres].
type Postgres struct {
	Version int // server_version_num: 150004
	// MaxConnections is the server's limit, Connections how many there are, whoever made them.
	MaxConnections, Connections int
	// StatsAge is how long the statistics have been counting for certain: since they were reset, or the server was started.
	StatsAge time.Duration
	// Standbys counts the servers that stream from this one. Their use of an index is not in its statistics.
	Standbys int
	// SlotLimit is max_slot_wal_keep_size in bytes; negative: none.
	SlotLimit int64
	// Longest is the oldest transaction in progress.
	Longest Transaction
	Tables  []Table
	Indexes []Index
	Slots   []Slot
	// Plans are those of each query's statement, by its name.
	Plans map[string][]Plan
	// Statements are the statements that took most time in all, with each that is a query's: from pg_stat_statements. Nil: it
	// is not installed.
	Statements []Statement
}

// Transaction is one in progress.
type Transaction struct {
	PID         int32
	Age         time.Duration // 0: there is none
	State       string        // as in pg_stat_activity: active, idle in transaction
	Application string
}

// Table is a row of pg_stat_user_tables.
type Table struct {
	Name             string // schema.table
	Rows             int64  // n_live_tup, or the planner's estimate where nobody has counted
	SeqScans         int64
	SeqRows          int64 // read by them
	IndexScans       int64
	ChangedSince     int64 // rows changed since it was analyzed
	NeverAnalyzed    bool
	Size             int64
	DistinctOfColumn map[string]float64 // how many values a column has; only of the columns that a query pins
}

// Index is a row of pg_stat_user_indexes, with its definition.
type Index struct {
	Name  string // schema.index
	Table string // schema.table
	// Columns are its key columns in order; an expression is "".
	Columns []string
	Method  string // btree, hash, gin ...
	Size    int64
	Scans   int64
	// Partial is true if it has a predicate.
	Partial bool
	// Needed is why it must stay even if no statement uses it: it is unique, or of a constraint, the replica identity or a
	// partitioned table; "" otherwise.
	Needed string
	// Valid is false if building it has failed: it costs writes, and serves nobody.
	Valid bool
}

// Slot is a replication slot.
type Slot struct {
	Name     string
	Ours     bool // it is cdc's
	Active   bool
	Status   string // wal_status: reserved, extended, unreserved, lost
	Retained int64  // bytes of WAL that are kept for it
	// Safe is safe_wal_size: how much more may be written before the slot may be lost; negative: no limit is set.
	Safe int64
}

// Plan is what Postgres makes of a query's statement.
type Plan struct {
	// Sample are the parameters that it is for, as a request has them; "" for the generic plan, which serves any.
	Sample   string
	Cost     float64 // in the planner's units
	SeqScans []SeqScan
	// Costliest is the node that takes most of the cost, Share its share.
	Costliest string
	Share     float64
	// Explain is a statement that runs it and says where the time goes; "" where there is no sample.
	Explain string
}

// SeqScan reads all of a table and throws away what does not pass the filter.
type SeqScan struct {
	Table  string // schema.table
	Filter string // "" if there is none
	Rows   float64
}

// Statement is a row of pg_stat_statements.
type Statement struct {
	Query string // the query that it is of; "" for one of somebody else
	Text  string
	Calls int64
	Mean  time.Duration
	Total time.Duration
	Rows  int64
	// Read counts the blocks that were not in Postgres's own cache.
	Read int64
}

// Redis is what the server says of itself; see [GatherRedis].
type Redis struct {
	Used, Max int64 // bytes; Max 0: no limit
	Host      int64 // memory of the machine; 0: not known
	Policy    string
	Evicted   int64 // keys since it was started
	Uptime    time.Duration
	// Keys are all there are, Expiring those with a time to live, MeanTTL how long they have left on average.
	Keys, Expiring int64
	MeanTTL        time.Duration
}

// requests are those of all queries.
func (e *Evidence) requests() (n int64) {
	for i := range e.Queries {
		n += e.Queries[i].Requests
	}
	return n
}

// weight is a query's share of all requests.
func (e *Evidence) weight(q *Query) float64 { return per(q.Requests, e.requests()) }

// weightOf is the share of all requests that depend on a table.
func (e *Evidence) weightOf(table string) (share float64) {
	for i := range e.Queries {
		q := &e.Queries[i]
		if slices.ContainsFunc(q.Analysis.Shapes, func(s Shape) bool { return s.Table == table }) {
			share += e.weight(q)
		}
	}
	return min(share, 1)
}

// cleared is what changes have taken away, by table. shared is true if that includes what other queries had filled.
func (e *Evidence) cleared(q *Query) (by map[string]int64, shared bool) {
	if q.Cleared != nil {
		return q.Cleared, false
	}
	by = map[string]int64{}
	for _, s := range q.Analysis.Shapes {
		if n, known := e.Cleared[s.Table]; known {
			by[s.Table] = n
		}
	}
	return by, true
}

// own counts what changes have taken away that was surely the query's: by its own count, or else of the tables that nothing but one
// shape of it depends on. It may be more.
func (e *Evidence) own(q *Query) (n int64) {
	for _, of := range q.Cleared {
		n += of
	}
	if q.Cleared != nil {
		return n
	}
	shapes := map[string]int{}
	for i := range e.Queries {
		for _, s := range e.Queries[i].Analysis.Shapes {
			shapes[s.Table]++
		}
	}
	for _, s := range q.Analysis.Shapes {
		if shapes[s.Table] == 1 {
			n += e.Cleared[s.Table]
		}
	}
	return n
}

// table finds the statistics of a table.
func (p *Postgres) table(name string) *Table {
	for i := range p.Tables {
		if p.Tables[i].Name == name {
			return &p.Tables[i]
		}
	}
	return nil
}

// bypassed are the requests for which the cache could not be used.
func (q *Query) bypassed() (n int64) {
	for _, of := range q.Bypasses {
		n += of
	}
	return n
}
