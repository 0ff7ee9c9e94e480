package cdc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"unicode/utf8"

	"freshet/events"
	"freshet/internal/tracing"
)

// item is what the decoder hands to the publisher: a finished message, a position that has been reached, or both.
type item struct {
	body *events.Body
	xid  uint32
	// end, if not 0: whatever ended at or below it has been handed over.
	end events.Position
	// trace is that of body, if it has one.
	trace *messageTrace
}

// size is the memory that an item holds.
func (it item) size() int {
	if it.body == nil {
		return 0
	}
	return len(it.body.Data)
}

// DecodeError is an event that cannot be decoded. cdc stops on it: skipping it would leave caches stale for ever.
type DecodeError struct {
	// Position is where the event stands in the WAL.
	Position events.Position
	Err      error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("cannot decode the event at %s: %v (nothing was skipped: cdc stops here until this is resolved)", e.Position, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// decoder turns pgoutput messages into events. It holds one unfinished message, whatever the size of the transaction.
type decoder struct {
	builder events.Builder
	// resume says what the log has already.
	resume resumePoint
	// describe asks the catalog for what the walsender does not tell about a table.
	describe func(ctx context.Context, relation uint32) (description, error)
	emit     func(ctx context.Context, it item) error
	// redefined is told the names of a table whose definition has changed; it does not block.
	redefined func(tables ...events.Table)
	log       *slog.Logger
	tally     tally
	tracing   *tracing.Tracing

	relations map[uint32]*relation
	inTx      bool
	xid       uint32
	skip      int64 // changes of this transaction that are in the log already
	trace     *transactionTrace
}

// resumePoint is the end of the log: everything that committed before position is in it, and the first skip changes of the
// transaction whose commit record is at position.
type resumePoint struct {
	position events.Position
	skip     int64
}

type relation struct {
	relationMessage
	description
	table events.Table
}

// description is what the catalog says about a table now, which may be later than the change.
type description struct {
	// keys are the columns of the primary key; for people and consumers, see events.Change.Key.
	keys []string
	// partitioned is also true of a table that is gone. It never changes in a table's life.
	partitioned bool
	// root is the table of which this one is a partition, if it is one. Postgres describes partitions too, though their
	// changes go by the root's name.
	root events.Table
}

// published is the name by which the table's changes are published.
func (r *relation) published() events.Table {
	if r.root.Name != "" {
		return r.root
	}
	return r.table
}

// decode handles one message that the walsender sent for the WAL position at.
func (d *decoder) decode(ctx context.Context, at events.Position, data []byte) error {
	m, err := parseMessage(data)
	if err != nil {
		return &DecodeError{Position: at, Err: err}
	}
	switch m := m.(type) {
	case beginMessage:
		d.begin(m)
	case commitMessage:
		return d.commit(ctx, m)
	case relationMessage:
		return d.relation(ctx, m)
	case rowMessage:
		return d.row(ctx, at, m)
	case truncateMessage:
		return d.truncate(ctx, at, m)
	case logicalMessage:
		return d.message(ctx, at, m)
	}
	return nil
}

func (d *decoder) begin(m beginMessage) {
	d.inTx, d.xid, d.skip = true, m.xid, 0
	switch {
	case m.final < d.resume.position:
		d.skip = 1<<63 - 1
	case m.final == d.resume.position:
		d.skip = d.resume.skip
	}
	d.builder.Begin(m.final, m.xid, m.commit, d.skip)
	d.traceTransaction(m)
}

func (d *decoder) commit(ctx context.Context, m commitMessage) error {
	d.inTx = false
	d.tally.flush()
	body := d.builder.Flush(true)
	return d.emit(ctx, item{body: body, xid: d.xid, end: m.end, trace: d.trace.message(ctx, body, true)})
}

func (d *decoder) relation(ctx context.Context, m relationMessage) error {
	described, err := d.describe(ctx, m.id)
	if err != nil {
		return fmt.Errorf("look up %s.%s in the catalog: %w", m.schema, m.name, err)
	}
	identity := map[byte]string{'d': "default", 'n': "nothing", 'f': "full", 'i': "index"}[m.identity]
	rel := &relation{
		relationMessage: m, description: described,
		table: events.Table{Schema: m.schema, Name: m.name, Identity: identity},
	}
	// A table is described again whenever something about it may have changed, an index or its statistics, say.
	if before := d.relations[m.id]; before != nil && !before.same(m) {
		d.redefined(before.published(), rel.published()) // two names, if it was renamed
	}
	d.relations[m.id] = rel
	return nil
}

// message passes on what one of our logical messages says. It counts as one change.
func (d *decoder) message(ctx context.Context, at events.Position, m logicalMessage) error {
	op, ours := m.operation()
	switch {
	case m.names():
		d.trace.causedBy(m.content) // it is no change, and not counted as one
		return nil
	case !ours:
		return nil
	case !d.inTx:
		return &DecodeError{Position: at, Err: errors.New("a transactional message outside a transaction")}
	case d.skipped():
		return nil
	}
	table, change, err := readContent(op, m.content)
	if err != nil {
		d.log.Warn("a logical message cannot be read and is taken to be about everything", "prefix", m.prefix, "position", at, "error", err)
	}
	return d.add(ctx, table, change)
}

func (d *decoder) row(ctx context.Context, at events.Position, m rowMessage) error {
	rel, err := d.known(at, m.relation)
	if err != nil {
		return err
	}
	if d.skipped() {
		return nil
	}
	change, err := rel.change(m)
	if err != nil {
		return &DecodeError{Position: at, Err: err}
	}
	return d.add(ctx, rel.table, change)
}

func (d *decoder) truncate(ctx context.Context, at events.Position, m truncateMessage) error {
	for _, id := range m.relations {
		rel, err := d.known(at, id)
		if err != nil {
			return err
		}
		if d.skipped() {
			continue
		}
		if err := d.add(ctx, rel.table, &events.Change{Op: events.Truncate}); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) known(at events.Position, id uint32) (*relation, error) {
	rel := d.relations[id]
	switch {
	case rel == nil:
		return nil, &DecodeError{Position: at, Err: fmt.Errorf("a change of relation %d, which was not described before", id)}
	case !d.inTx:
		return nil, &DecodeError{Position: at, Err: errors.New("a change outside a transaction")}
	}
	return rel, nil
}

// skipped counts one change and tells whether the log has it already.
func (d *decoder) skipped() bool {
	if d.skip > 0 {
		d.skip--
		return true
	}
	return false
}

func (d *decoder) add(ctx context.Context, table events.Table, c *events.Change) error {
	d.tally.add(table, c.Op)
	if body := d.builder.Add(table, c); body != nil {
		d.tally.flush()
		return d.emit(ctx, item{body: body, xid: d.xid, trace: d.trace.message(ctx, body, false)})
	}
	return nil
}

// change makes an event of a row message. The old row has at least the replica identity: where the server sends no old tuple
// because an update left the identity as it was, its values are those of the new row.
//
// Not so for a partitioned table. It is described with its own replica identity, but the server logs old rows by that of the
// partition, which may be another one (ALTER TABLE ... REPLICA IDENTITY does not reach the partitions). So there an
// absent old tuple says nothing, and the old row stays unknown; and even an old tuple that claims to be the whole row
// (logicalrep_write_update in src/backend/replication/logical/proto.c asks the partitioned table) may have NULL for unknown.
func (r *relation) change(m rowMessage) (*events.Change, error) {
	c := &events.Change{Op: m.op}
	for _, tuple := range [][]tupleColumn{m.old, m.new} {
		if tuple != nil && len(tuple) != len(r.columns) {
			return nil, fmt.Errorf("a row of %s.%s has %d columns, expected %d", r.schema, r.name, len(tuple), len(r.columns))
		}
	}
	for i, col := range r.columns {
		switch {
		case r.oldHas(m, i):
			c.Old = appendField(c, c.Old, col.name, m.old[i])
		case m.oldKind == 0 && m.op == events.Update && col.key && r.identity != 'f' && !r.partitioned:
			c.Old = appendField(c, c.Old, col.name, m.new[i])
		}
		if m.new == nil {
			continue
		}
		value := m.new[i]
		if value.kind == 'u' && r.oldHas(m, i) {
			value = m.old[i] // an old tuple has its TOAST values
		}
		c.New = appendField(c, c.New, col.name, value)
	}
	// A column that one of the rows cannot tell is taken out of both: Unknown speaks of the change, not of a side.
	for _, name := range slices.Clone(c.Unknown) {
		c.MarkUnknown(name)
	}
	c.Key = r.key(c)
	return c, nil
}

// oldHas tells whether the old tuple has a column. Those that a tuple of the replica identity lacks are sent as NULL, and
// those that it has cannot be NULL: an index that is a replica identity has NOT NULL columns.
func (r *relation) oldHas(m rowMessage, column int) bool {
	return m.oldKind == 'O' && !r.partitioned || m.oldKind != 0 && m.old[column].kind == 't'
}

// appendField appends the value, or lists the column as unknown.
func appendField(c *events.Change, to events.Row, name string, v tupleColumn) events.Row {
	switch {
	case v.kind == 'n':
		return append(to, events.Field{Name: name, Null: true})
	case v.kind == 't' && utf8.Valid(v.value):
		return append(to, events.Field{Name: name, Value: string(v.value)})
	}
	if !slices.Contains(c.Unknown, name) {
		c.Unknown = append(c.Unknown, name)
	}
	return to
}

// key picks the primary key, or the replica identity, from the old row, or from the new one of an insert.
func (r *relation) key(c *events.Change) events.Row {
	from := c.Old
	if len(from) == 0 {
		from = c.New
	}
	var key events.Row
	for _, f := range from {
		if slices.Contains(r.keys, f.Name) {
			key = append(key, f)
		}
	}
	if len(r.keys) > 0 || r.identity == 'f' {
		return key
	}
	for _, col := range r.columns {
		if f, ok := from.Get(col.name); ok && col.key {
			key = append(key, f)
		}
	}
	return key
}
