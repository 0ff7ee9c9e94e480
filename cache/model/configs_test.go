package model

// The transactions that the configurations have in common.
var (
	writesA = transaction{name: "writes-A", touches: bucketA}
	writesB = transaction{name: "writes-B", touches: bucketB}
	// again writes the row of A a second time: it waits for the lock.
	firstA  = transaction{name: "writes-A", touches: bucketA, row: 1}
	again   = transaction{name: "writes-A-again", touches: bucketA, row: 1}
	other   = transaction{name: "writes-other"}
	joins   = transaction{name: "registers", kind: register}
	readies = transaction{name: "activates", kind: activate}
)

var (
	onlyA   = [2]set{bucketA, bucketA}
	bothAll = [2]set{both, both}
)

// configs has each feature with those that it could interfere with; all of them at once are too many states.
func configs() []config {
	return append(freshness(), append(registration(), continuity()...)...)
}

// freshness: rules 1 to 3, and what a reader can ask for.
func freshness() []config {
	return []config{
		{
			name:         "two buckets, two fillers",
			transactions: []transaction{writesA, writesB},
			depends:      bothAll, invalidators: 1, fillers: 2, left: budget{fills: 3, evictions: 1},
			larger: func(c *config) {
				c.transactions, c.left.fills = []transaction{firstA, writesB, again}, 4
			},
		}, {
			name:         "lookup step by step",
			transactions: []transaction{writesA, writesB},
			depends:      bothAll, invalidators: 1, fillers: 1, reader: true, left: budget{fills: 2, evictions: 1},
			larger: func(c *config) { c.fillers, c.left.fills, c.left.evictions = 2, 3, 2 },
		}, {
			name:         "a fill is shared",
			transactions: []transaction{writesA, writesB},
			depends:      bothAll, invalidators: 1, fillers: 1, reader: true, sharing: true, left: budget{fills: 2},
			larger: func(c *config) { c.fillers, c.left.evictions = 2, 1 },
		}, {
			name: "visible before flushed",
			transactions: []transaction{
				{name: "writes-A", touches: bucketA, async: true}, {name: "writes-A-too", touches: bucketA, async: true},
			},
			depends: onlyA, invalidators: 1, fillers: 1, reader: true, left: budget{fills: 2},
			larger: func(c *config) { c.fillers, c.left.fills, c.left.evictions = 2, 3, 1 },
		}, {
			name:         "the watermark's time",
			transactions: []transaction{{name: "writes-A", touches: bucketA, async: true}, {name: "writes-A-too", touches: bucketA}},
			depends:      onlyA, invalidators: 1, fillers: 1, clock: true, left: budget{fills: 2, probes: 2},
			larger: func(c *config) { c.reader, c.fillers, c.left.fills = true, 2, 3 },
		}, {
			name:         "a definition changes the dependencies",
			transactions: []transaction{{name: "defines", kind: define}, writesB},
			depends:      [2]set{bucketA, both}, invalidators: 1, fillers: 1, left: budget{fills: 2, evictions: 1},
			larger: func(c *config) { c.reader, c.fillers, c.left.fills = true, 2, 3 },
		}, {
			name:         "a definition changes the result",
			transactions: []transaction{{name: "defines", kind: define}, writesA},
			depends:      onlyA, invalidators: 2, fillers: 1, left: budget{fills: 2},
			larger: func(c *config) { c.left.failovers, c.left.evictions = 1, 1 },
		},
	}
}

// registration: rule 5.
func registration() []config {
	return []config{
		{
			name:         "registration beside a long transaction",
			transactions: []transaction{{name: "writes-A-long", touches: bucketA, long: true}, joins, readies},
			depends:      onlyA, unregistered: true, invalidators: 1, fillers: 1, reader: true, left: budget{fills: 2},
			larger: func(c *config) {
				c.transactions = append(c.transactions, writesA)
				c.left.restarts = 1
			},
		}, {
			name:         "registration, two invalidators, failover",
			transactions: []transaction{joins, readies, writesA},
			depends:      onlyA, unregistered: true, invalidators: 2, fillers: 1, left: budget{fills: 1, failovers: 1},
			larger: func(c *config) { c.left.fills, c.left.evictions = 2, 1 },
		}, {
			name:         "a further shape of a table that is in the log",
			transactions: []transaction{readies, writesA},
			depends:      onlyA, unregistered: true, published: true, invalidators: 2, fillers: 1, left: budget{fills: 1, evictions: 1, restarts: 1},
			larger: func(c *config) { c.left.fills, c.left.failovers = 2, 1 },
		}, {
			name:         "retired and registered again",
			transactions: retirement(),
			depends:      onlyA, invalidators: 1, fillers: 1, left: budget{fills: 2, restarts: 1},
			larger: func(c *config) { c.left.evictions, c.invalidators = 1, 2 },
		}, {
			name:         "retired and registered again, two invalidators",
			transactions: retirement(),
			depends:      onlyA, invalidators: 2, fillers: 1, left: budget{fills: 2},
			larger: func(c *config) { c.left.restarts, c.left.failovers = 1, 1 },
		},
	}
}

// retirement: the last shape of a table goes, and the table leaves the publication; then somebody needs it after all.
func retirement() []transaction {
	return []transaction{
		{name: "retires", kind: retire},
		{name: "registers", kind: register, after: 1 << 0},
		{name: "activates", kind: activate, after: 1 << 1},
		writesA,
	}
}

// continuity: rule 4, and the log that breaks off.
func continuity() []config {
	return []config{
		{
			name:         "failover to a replica that lags",
			transactions: []transaction{writesA, other},
			depends:      onlyA, invalidators: 2, fillers: 2, left: budget{fills: 3, failovers: 1},
			larger: func(c *config) { c.left.evictions, c.left.failovers = 1, 2 },
		}, {
			name:         "two invalidators",
			transactions: []transaction{writesA, writesB},
			depends:      bothAll, invalidators: 2, fillers: 1, left: budget{fills: 2, evictions: 1, restarts: 1},
			larger: func(c *config) { c.reader, c.left.evictions = true, 2 },
		}, {
			name:         "the slot is lost",
			transactions: []transaction{writesA, writesB},
			depends:      bothAll, invalidators: 2, fillers: 1, left: budget{fills: 3, resets: 1},
			larger: func(c *config) { c.reader, c.left.evictions = true, 1 },
		}, {
			name:         "the stream is purged",
			transactions: []transaction{writesA, other},
			depends:      onlyA, invalidators: 2, fillers: 1, left: budget{fills: 2, purges: 1, evictions: 1},
			larger: func(c *config) { c.left.fills, c.left.failovers = 3, 1 },
		}, {
			name:         "the slot is lost while a shape is registered",
			transactions: []transaction{joins, readies, writesA},
			depends:      onlyA, unregistered: true, invalidators: 1, fillers: 1, left: budget{fills: 2, resets: 1},
			larger: func(c *config) { c.invalidators, c.left.purges = 2, 1 },
		},
	}
}
