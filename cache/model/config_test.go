package model

import "strings"

// kind is what a transaction does.
type kind uint8

const (
	write    kind = iota // changes rows
	register             // the table joins the publication, its shapes are in freshet.shapes, not ready
	activate             // the shapes are ready
	retire               // the shapes are deleted from freshet.shapes
	define               // the definition of something that the query reads changes
)

// transaction is one that a configuration has somebody make. In which order they commit is explored.
type transaction struct {
	name string
	kind kind
	// touches are the buckets of the rows that it changes. None: other rows.
	touches set
	// row, if not 0, is locked: the next transaction with the same row waits until this one is visible.
	row uint8
	// after are transactions that are visible before this one is begun.
	after set
	// long: it writes some time before it commits.
	long bool
	// async: it is visible before it is flushed (synchronous_commit = off).
	async bool
}

// config is what one exploration explores.
type config struct {
	name         string
	transactions []transaction
	// depends are the buckets of the query, by definition: before and after the transaction that defines.
	depends [2]set
	// unregistered: the shapes are not active at first.
	unregistered bool
	// published: the table is in the publication already.
	published    bool
	invalidators int
	fillers      int
	reader       bool // there is a reader that looks up step by step
	sharing      bool // it may share a fill that is under way
	clock        bool // watermarks carry a time
	left         budget
	// larger makes it what `-large` explores.
	larger func(*config)
}

func (c *config) find(k kind) set {
	var s set
	for i, t := range c.transactions {
		if t.kind == k {
			s |= 1 << i
		}
	}
	return s
}

// registry tells whether the list of shapes changes.
func (c *config) registry() bool { return c.find(register)|c.find(activate)|c.find(retire) != 0 }

// isRegistry tells whether a message is of the table of shapes.
func (c *config) isRegistry(m message) bool {
	if m.kind == 0 || m.kind > maxTransactions {
		return false
	}
	switch c.transactions[m.kind-1].kind {
	case register, activate, retire:
		return true
	}
	return false
}

// lacks tells whether a result that reflects content lacks something that matters to the query of what it must reflect.
func (c *config) lacks(content, must set) bool {
	depends := c.depends[0]
	if must&c.find(define) != 0 {
		depends = c.depends[1]
	}
	for i, t := range c.transactions {
		if bit := set(1) << i; must&bit != 0 && content&bit == 0 && (t.touches&depends != 0 || t.kind == define) {
			return true
		}
	}
	return false
}

// definition is what the catalog says to whoever sees these transactions.
func (c *config) definition(visible set) set {
	if visible&c.find(define) != 0 {
		return c.depends[1]
	}
	return c.depends[0]
}

// ready is the list of shapes in the database, as whoever sees these transactions reads it.
func (c *config) ready(visible set) set {
	switch {
	case visible&c.find(activate) != 0:
		return both
	case c.unregistered || visible&c.find(retire) != 0:
		return 0
	}
	return both
}

func (c *config) names(s set) string {
	var names []string
	for i, t := range c.transactions {
		if s&(1<<i) != 0 {
			names = append(names, t.name)
		}
	}
	return "{" + strings.Join(names, " ") + "}"
}

func (c *config) order(wal []uint8) string {
	names := make([]string, len(wal))
	for i, t := range wal {
		names[i] = c.transactions[t].name
	}
	return "[" + strings.Join(names, " ") + "]"
}
