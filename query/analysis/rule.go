package analysis

// rule is something that the analysis must never forget. Each is enforced in one place, where keeps asks for it; only tests drop one,
// to see that the soundness check notices. A new rule belongs here.
type rule int

const (
	none rule = iota

	// What pins.

	preservedSide // ON pins nothing on the preserved side of an outer join
	ownJoin       // the equalities of one ON hold for the sources that it restricts, not for others
	either        // OR pins nothing
	negation      // NOT pins nothing but a boolean column
	equalsOnly    // only = pins
	everyValue    // IN pins to all of its values
	ownLevel      // a condition restricts its own level, not the one around it
	canonical     // a constant pins only if it is written as Postgres prints it
	sameType      // a parameter pins only if its type prints equal values alike

	// Where a condition may be pushed into a subquery.

	underLimit      // not below LIMIT and OFFSET
	underWindow     // not below a window
	underDistinctOn // not below DISTINCT ON
	sharedWith      // not into a WITH query that is read twice

	// What is read.

	readSelected  // the output columns
	readWhere     // WHERE
	readOn        // ON
	readUsing     // USING and NATURAL
	readGroup     // GROUP BY
	readHaving    // HAVING
	readOrder     // ORDER BY, DISTINCT ON
	readWindow    // the WINDOW clause
	readOutwards  // columns of outer levels
	readRows      // all columns, by *
	readGenerated // what a generated column is made of

	partitionRoot // the changes of a partition have the name of the root of its tree
)

// keeps tells whether a rule holds.
func (a *analyzer) keeps(r rule) bool { return r == none || r != a.dropped }
