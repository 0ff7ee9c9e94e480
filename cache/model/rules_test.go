package model

// rule is one thing that the code does for a reason. The model can be run without one, and must then find a violation.
type rule uint8

const (
	none rule = iota
	// Rule 1 of the protocol.
	visibleBeforePublished // cdc/barrier.go wait
	// Rule 2.
	tokensBeforeSnapshot // cache/reader.go miss: open, then fill
	everyTokenCompared   // cache/reader.go same
	sameTokensShared     // cache/reader.go miss: only who has read the same tokens shares a fill
	watermarkFirst       // cache/redis.go queueLookup
	// Rule 3.
	tokenDiesWithBucket // cache/apply.lua UNLINK
	// Rule 4.
	stateCompared // cache/apply.lua
	stampCompared // cache/apply.lua: what is compared is the write, not the place in the log
	oneStep       // cache/apply.lua: one script compares, clears and advances
	// Rule 5.
	writersAwaited  // cache/registry.go Activate
	activeOnly      // cache/reader.go unusable
	comesOrGoes     // invalidator/applier.go reload: a shape that comes or goes gets a new generation
	interruptRenews // invalidator/match.go interrupt: what was not ready for a while gets a new generation
	listAgain       // invalidator/applier.go apply: whoever moves up to a state with other shapes reads the list again
	// Definitions.
	generationFirst         // the generation of the catalog is read before the catalog
	analysisCompared        // an analysis of another generation does not use the cache
	definitionRenewsShapes  // the message of a definition gives the shapes new generations
	definitionRenewsCatalog // and the catalog one
	// What a reader asks for.
	positionAfterRequest // no-cache: the position is taken after the request began
	positionAwaited      // no-cache: the watermark has passed it
	insertPosition       // the position asked for is the insert position, not the flush position
	clockFirst           // cdc/barrier.go probeSQL: the clock is read before the insert position
	clockBehind          // cdc/publisher.go watermark: a time counts once the log has reached its position
	// Continuity.
	resetAfterVisible // cdc/slot.go createSlot: what the new log lacks is visible before the reset is published
	resetClears       // invalidator/applier.go restart
	gapDetected       // invalidator/applier.go checkEnd, follow
	placeFirst        // invalidator/invalidator.go begin: the place in the log is read before the list of shapes

	rules // how many there are
)
