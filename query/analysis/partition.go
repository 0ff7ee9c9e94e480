package analysis

import (
	"cmp"
	"fmt"
	"slices"
)

// tree is what is below a partitioned table. pgoutput publishes all of it under the name of the root (publish_via_partition_root), but
// logs each row by the replica identity of the partition that it is in, which that of the root does not reach.
type tree struct {
	leaves []*Relation // the partitions that hold rows, by name
	key    bool        // the root has a primary key, which partitions to come will have too
	flaw   string      // why what reads the root cannot be cached, for what some partition is
}

// growTrees fills in what partitioned tables have to know of their partitions. At first their columns are logged as their primary key
// says.
func (c *Catalog) growTrees() {
	for _, r := range c.relations {
		if root := c.Root(r); root != r {
			if reason := r.refuse(); reason != "" {
				// Of several the first by name, so that the same catalog has the same message.
				root.tree.flaw = least(root.tree.flaw, fmt.Sprintf("has the partition %s, which %s", r, reason))
			}
			if r.Kind != 'p' {
				root.tree.leaves = append(root.tree.leaves, r)
			}
		}
	}
	for _, r := range c.relations {
		if r.Kind != 'p' || r.Partition {
			continue
		}
		slices.SortFunc(r.tree.leaves, func(a, b *Relation) int { return cmp.Compare(a.String(), b.String()) })
		r.tree.key = r.logged() != ""
		for i := range r.Columns {
			if name := r.Columns[i].Name; len(r.tree.leaves) > 0 {
				// By name: the numbers of a partition's columns may be others.
				r.Columns[i].Logged = !slices.ContainsFunc(r.tree.leaves, func(leaf *Relation) bool {
					column := leaf.Column(name)
					return column == nil || !column.Logged
				})
			}
		}
	}
}

// least is the lesser of two strings, of which the first may be empty.
func least(a, b string) string {
	if a == "" {
		return b
	}
	return min(a, b)
}

// Root is the table under whose name the changes of a relation are in the log: for a partition the root of its tree, which has
// columns of the same names and types; for anything else the relation itself.
func (c *Catalog) Root(r *Relation) *Relation {
	for r.Partition {
		above := c.relations[r.parent]
		if above == nil { // it is being detached
			return r
		}
		r = above
	}
	return r
}

// Refusal says why nothing that reads the relation can be cached, as the end of a sentence that begins with its name; "" if it can. A
// view is judged by what it reads, and so never refused here.
func (c *Catalog) Refusal(r *Relation) string {
	if reason := r.refuse(); reason != "" {
		return reason
	}
	root := c.Root(r)
	if root.Partition {
		return "is a partition of a table that is not there"
	}
	reason := cmp.Or(root.refuse(), root.tree.flaw)
	if root != r && reason != "" {
		return fmt.Sprintf("is a partition of %s, which %s", root, reason)
	}
	return reason
}

// Identified returns an error if some change of the table could not be made any more once it is published, because Postgres refuses
// updates and deletes of a table without a replica identity. It says what helps. A partitioned table has to have a primary key: a
// partition that is added later would otherwise have no identity, whatever that of the others is.
func (r *Relation) Identified() error {
	const because = "so that publishing it would make its updates fail"
	if r.Kind == 'p' {
		if !r.tree.key {
			return fmt.Errorf("the partitioned table %s has no primary key, which its partitions need for a replica identity, %s: "+
				"run ALTER TABLE %s ADD PRIMARY KEY (...)", r, because, r.sql())
		}
		for _, leaf := range r.tree.leaves {
			if !leaf.identified() {
				return fmt.Errorf("%s, a partition of %s, has no replica identity, %s: run ALTER TABLE %s REPLICA IDENTITY FULL",
					leaf, r, because, leaf.sql())
			}
		}
		return nil
	}
	if !r.identified() {
		return fmt.Errorf("the table %s has no replica identity, %s: run ALTER TABLE %s REPLICA IDENTITY FULL", r, because, r.sql())
	}
	return nil
}

func (r *Relation) identified() bool { return r.Identity == 'f' || r.logged() != "" }

// vague is a partition in which an update does not tell the values that it replaces, if there is one. Only a partition with REPLICA
// IDENTITY FULL always does: with any other the log has no old row of an update that leaves the identity as it was, and it cannot be
// filled in from the new row, as the log does not say which partition, and so which identity, it is about (cdc's decoder).
func (r *Relation) vague() *Relation {
	for _, leaf := range r.tree.leaves {
		if leaf.Identity != 'f' {
			return leaf
		}
	}
	return nil
}

// everyPartition is the remedy for a partition that is not FULL.
func everyPartition(leaf *Relation) string {
	return "run ALTER TABLE " + leaf.sql() + " REPLICA IDENTITY FULL, and the same for each partition, new ones too"
}

// Caution warns of a partitioned table whose updates clear more than they have to, and says what would help; "" if there is nothing
// to warn of.
func (r *Relation) Caution() string {
	const effect = "does not tell its old values, so that it clears every result that depends on the table"
	switch leaf := r.vague(); {
	case r.Kind != 'p':
		return ""
	case leaf != nil:
		return fmt.Sprintf("%s is partitioned, and an update of a row in %s %s: %s", r, leaf, effect, everyPartition(leaf))
	case len(r.tree.leaves) == 0:
		return fmt.Sprintf("%s is partitioned, and an update of a row in a partition without REPLICA IDENTITY FULL %s: "+
			"run ALTER TABLE ... REPLICA IDENTITY FULL for each partition, new ones too", r, effect)
	}
	return ""
}
