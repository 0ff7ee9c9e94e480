package faults

// groups are all faults. What belongs to one group is done to one site, one after the other.
var groups = []group{
	{name: "killed", faults: processFaults},
	{name: "SIGTERM", faults: stopFaults},
	{name: "paused", faults: pausedFaults},
	{name: "pairs", faults: pairFaults},
	{name: "clock", faults: clockFaults},
	{name: "Redis", faults: redisFaults},
	{name: "NATS", options: smallDisk, faults: natsFaults},
	{name: "Postgres", options: postgresOptions, faults: postgresFaults},
	{name: "network", options: networkOptions, faults: networkFaults()},
	{name: "Redis fails over", options: redisPath, faults: redisFailovers},
	{name: "Postgres with a synchronous replica", options: withReplica(true), faults: synchronousFaults},
	{name: "Postgres with an asynchronous replica", options: withReplica(false), faults: asynchronousFaults},
}
