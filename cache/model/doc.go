// Package model checks the freshness protocol (ARCHITECTURE.md, "What must always be true") by exploring every state that a small
// cache can come to: all orders in which writers, cdc, invalidators, fills, lookups and faults can take their steps. It is test code
// only, and imports nothing of what it is a model of: it must never be bent to what the code happens to do. Where a rule is enforced
// is written beside the rule, in rules_test.go.
//
//	go test ./cache/model -v                                            17 configurations, about a million states, some seconds
//	go test ./cache/model -v -count=1 -timeout 60m -run Protocol -large  the same with more of everything: some minutes, some GB
//
// TestProtocol finds no broken promise with all rules in force, and that each step of the model was taken somewhere: a model in
// which nothing happens keeps every promise. TestEachRuleIsNeeded takes the rules away, one at a time, and requires the model to find a
// violation; `-v` prints its trace, the shortest that there is.
//
// # The state (state_test.go)
//
// Postgres is the order of the commit records in the WAL, what of it is flushed, and which transactions are visible to new snapshots.
// A query result is the set of the transactions that its snapshot saw. The log is a list of messages. A Redis is its watermark
// hash (chain, stamp, generations, sequence, position, time) and two buckets, A and B, each a token of a shape of its own; the one
// entry is in A and depends on A, or on both. Beside these: what each invalidator has read or written last, the api's analysis of the
// query, the fills and the lookup that are under way, and how many faults are left.
//
// Positions are counted (1 is the first commit record), times are sets: the time of a watermark is the set of what was visible then.
// A writer is told that it has committed at the moment when it is visible. That is the earliest that is possible, so that what is
// promised to those who were told is the most that can be promised.
//
// # The steps
//
//	who          file                 what it models
//	writers      database_test.go     commit record, flush, visibility, in any order that Postgres allows; a row's lock; asynchronous
//	                                  commit; registration and activation of shapes (cache/registry.go), a table that joins or leaves
//	                                  the publication beside transactions that are writing
//	cdc          database_test.go     the barrier, publishing, the probe of clock and position (cdc/barrier.go, cdc/publisher.go);
//	                                  a lost slot and the reset (cdc/slot.go)
//	invalidators invalidator_test.go  load, list of shapes, apply, begin, moving up after a lost comparison (invalidator/)
//	fills        cache_test.go        Reader.miss, a command of Redis a step: a pipeline is not atomic
//	lookup       cache_test.go        Reader.Get for every kind of request at once, a command a step
//	analysis     cache_test.go        an analysis is bound to the catalog's generation, read before the catalog
//	faults       faults_test.go       eviction of any key or of all, failover to a replica that lags by anything (which is also the
//	                                  restore of an old dump), a purged stream; invalidators are killed
//
// # The promises (steps_test.go: invariant, judge, settled)
//
// An answer from the cache
//   - reflects every transaction at or below the position of the watermark that the lookup read. This is what Freshet-Position asks for,
//     and with it whoever sends back the position of a write reads that write;
//   - reflects everything that was visible at the watermark's time. This is what max-age and max_staleness ask for: the age that is
//     compared with them is true;
//   - reflects, for a no-cache request, everything whose writer had been told before the request began.
//
// The first two are also checked in each state for an answer that would be given in one step. As the position is the last one when
// everything was applied, an entry that is valid at rest is what the database holds. And where only readers and faults have anything
// left to do, everything that was written has been applied, and the shapes that are active are those that are ready.
//
// # What is left out, and why that is no loss
//
//   - A transaction and the watermark behind it are one message, and a batch is one message. Watermarks that come later, and messages
//     that are applied together, let readers see fewer states, not others.
//   - Bypassing the cache: the result of a statement that began after the request is fresh.
//   - Expiry, and the limits of a bucket, delete keys; eviction covers that. So does the sweeper.
//   - Sessions of cdc, and a stream that lost its tail: what the invalidator makes of them is a gap, as of a purge.
//   - The columns that a shape reads: a wider set of columns has a generation of its own, as a further shape has.
//   - A second timeline of Postgres: it is a reset.
//
// # What makes it small
//
// Random values are only ever compared, so that they are numbered anew in each state; equal processes are put in order; entries and
// fills that can never be served again, as what they are bound to is gone everywhere, are forgotten (canonical, drop). Where the list of
// shapes never changes, reading it is no step.
package model
