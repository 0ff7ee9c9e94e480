package advice

import "time"

// What counts as much, few, slow or near. A finding names the number that crossed its line.
const (
	// MinRequests is how many requests a query must have had before its rates mean anything.
	MinRequests = 100
	// LowHitRate is the hit rate below which a cache does not earn its keep: one request in five goes to Postgres.
	LowHitRate = 0.80
	// MinWeight is the share of the requests below which a query's low hit rate is worth a remark only.
	MinWeight = 0.01

	// IdleTTL is how many times longer than an entry's life its TTL must be to be called without effect.
	IdleTTL = 10
	// MinClears is how often a query's entries must have been cleared before their mean life is worth a statement.
	MinClears = 20

	// ManyRows is how many rows a table must have before reading all of it is slower than using an index, by any reckoning.
	ManyRows = 10_000
	// Selective is the share of a table's rows below which an index beats reading all of it.
	Selective = 0.10
	// LargeIndex is the size below which an index that nobody uses is not worth dropping.
	LargeIndex = 10 << 20
	// LongEnough is how long statistics must have been counting before "never used" means it: a week has its Mondays, and
	// most reports run in it. What runs once a month, it does not see: the remedy says so.
	LongEnough = 7 * 24 * time.Hour
	// OldStatistics is the share of a table's rows that may change before the planner's statistics count as out of date. Autovacuum
	// analyzes at a tenth (autovacuum_analyze_scale_factor): at twice that it is not keeping up, or is off.
	OldStatistics = 0.20

	// BusyPool is the use of the pool above which a burst of requests begins to wait.
	BusyPool = 0.80
	// CalmPool is the use that a larger pool is proposed for.
	CalmPool = 0.60

	// SlowFill is the mean time of a query in Postgres above which it is called slow.
	SlowFill = 200 * time.Millisecond
	// SlowP99 is the slowest hundredth of a query's requests, waiting included, above which users notice.
	SlowP99 = 500 * time.Millisecond
	// MinCalls is how often a statement must have run before its mean time is worth a statement.
	MinCalls = 20

	// MuchWAL is how much WAL a slot may retain before it is worth a look: 64 segments.
	MuchWAL = 1 << 30
	// FarTooMuchWAL is how much WAL a slot may retain before the disk is in danger, where nothing limits it.
	FarTooMuchWAL = 10 << 30
	// ScarceWAL is the share of max_slot_wal_keep_size that must be left; below it the slot may be lost within minutes.
	ScarceWAL = 0.25

	// AgingWatermark is the share of the allowed staleness that the watermark may use up before it is worth a warning: in good
	// order it is a few milliseconds old.
	AgingWatermark = 0.50
	// MuchLag is how far one hop of the log may be behind.
	MuchLag = time.Second

	// NearMemory is the share of maxmemory above which Redis is about to evict, or to refuse writes.
	NearMemory = 0.80
	// FullMemory is the share of maxmemory at which the next fills make it happen.
	FullMemory = 0.95
	// HostMemory is the share of the machine's memory that a Redis without a limit may use.
	HostMemory = 0.60
	// CanExpire is the share of keys that must have a time to live for a volatile-* policy to find something to evict.
	CanExpire = 0.90
)
