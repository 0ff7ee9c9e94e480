package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"freshet/events"
	"freshet/internal/network"
	"freshet/internal/postgres"
)

// A session is one uninterrupted run from the walsender to the stream. Whatever goes wrong ends it; the next one finds out
// from the slot, the stream's end and the continuity record where to go on. That is the only way of recovering.
type session struct {
	*CDC
	id      string
	pg      *pgx.ConnConfig // of the ordinary connections
	sql     *pgx.Conn       // barrier and continuity
	catalog *pgx.Conn       // primary keys, for the decoder's goroutine
	repl    *pgconn.PgConn
	js      jetstream.JetStream
	wal     postgres.WALGeometry
	refused chan error // why JetStream did not take a message
}

// start is what a session goes on from.
type start struct {
	srv       server
	slot      slotState
	end       streamEnd
	reset     loss // why the log begins anew; none if it goes on
	confirmed events.Position
}

func (c *CDC) session(ctx context.Context) error {
	s := &session{CDC: c, id: nuid.Next(), refused: make(chan error, 1)}
	defer s.close()
	st, pub, err := s.begin(ctx)
	if err != nil {
		return err
	}
	c.log.Info("streaming", "session", s.id, "slot", c.cfg.Slot, "position", pub.position, "sequence", pub.sequence)
	c.streaming(s.id)
	c.cfg.Metrics.Streaming(true)
	defer c.cfg.Metrics.Streaming(false)
	return s.stream(ctx, st, pub)
}

// begin joins the log, or begins it, as long as there is a connection to NATS.
func (s *session) begin(ctx context.Context) (st start, pub *publisher, err error) {
	ctx, stop := network.WhileConnected(ctx, s.cfg.NATS)
	defer stop()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), network.ErrNATSLost) {
			err = fmt.Errorf("%w: %w", network.ErrNATSLost, err)
		}
	}()
	if ctx.Err() != nil {
		return st, nil, context.Cause(ctx)
	}
	if st, err = s.open(ctx); err != nil {
		return st, nil, err
	}
	pub = &publisher{
		js: s.js, refused: s.refused, source: s.cfg.Source, session: s.id, sequence: st.end.sequence, at: st.end.at,
		timeline: uint32(st.srv.timeline), position: st.end.resume.position,
		barrier: &barrier{conn: s.sql, wal: s.wal, waited: s.waited, metrics: s.cfg.Metrics},
		confirm: newConfirmer(st.confirmed, s.cfg.NATSSyncInterval), published: &s.status.published,
		metrics: s.cfg.Metrics,
	}
	if st.end.resume.skip > 0 {
		pub.open = pub.position
	}
	pub.confirm.now = s.cfg.Now
	return st, pub, s.announce(ctx, st, pub)
}

// open connects, waits for the slot, decides where the log goes on and starts the replication from there.
func (s *session) open(ctx context.Context) (start, error) {
	var st start
	if err := s.connect(ctx); err != nil {
		return st, err
	}
	stream, err := s.ensureStream(ctx)
	if err != nil {
		return st, err
	}
	if st.slot, err = s.awaitSlot(ctx); err != nil {
		return st, err
	}
	// The publication first: pgoutput looks it up as of the change.
	if err := postgres.EnsurePublication(ctx, s.sql, s.cfg.Publication); err != nil {
		return st, err
	}
	if st.srv, err = identify(ctx, s.repl); err != nil {
		return st, err
	}
	if st.end, err = readStreamEnd(ctx, stream); err != nil {
		return st, err
	}
	record, err := readContinuity(ctx, s.sql, s.cfg.Source)
	if err != nil {
		return st, err
	}
	st.confirmed = st.slot.confirmed
	if st.reset = gap(st.srv, st.slot, st.end, record); st.reset != (loss{}) {
		if err := s.beginAnew(ctx, &st); err != nil {
			return st, err
		}
	}
	return st, s.startReplication(ctx, st)
}

func (s *session) ensureStream(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	return events.EnsureStream(ctx, s.js, s.cfg.Stream)
}

// beginAnew prepares a log that starts anew: until the reset is in the stream there is no continuity record.
func (s *session) beginAnew(ctx context.Context, st *start) error {
	if err := forgetContinuity(ctx, s.sql, s.cfg.Source); err != nil {
		return err
	}
	if !st.slot.exists || st.slot.lost || st.slot.unreadable {
		var err error
		if st.confirmed, err = createSlot(ctx, s.sql, s.cfg.Slot, st.slot, s.log); err != nil {
			return err
		}
		s.unreadable = false
	}
	st.end.resume, st.end.at = resumePoint{position: st.confirmed}, time.Time{}
	return nil
}

func (s *session) startReplication(ctx context.Context, st start) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	var err error
	if s.walsender, err = s.identifyWalsender(ctx); err != nil {
		return err
	}
	err = pglogrepl.StartReplication(ctx, s.repl, pgx.Identifier{s.cfg.Slot}.Sanitize(), pglogrepl.LSN(st.end.resume.position),
		pglogrepl.StartReplicationOptions{Mode: pglogrepl.LogicalReplication, PluginArgs: []string{
			// Version 1: the server sends a transaction once it has committed, spilling what is large to its own disk.
			"proto_version '1'",
			"publication_names '" + quoteName(s.cfg.Publication) + "'",
			// Logical messages too: DDL, and what is cleared by hand.
			"messages 'true'",
		}})
	if err != nil {
		return setupHint(fmt.Errorf("start replication from slot %s at %s: %w", s.cfg.Slot, st.end.resume.position, err))
	}
	return nil
}

// announce publishes the session's first message and writes the continuity record: the record first when the log goes on
// (it then knows both sessions), the message first when it begins anew.
func (s *session) announce(ctx context.Context, st start, pub *publisher) error {
	record := continuity{session: s.id, previous: st.end.session, system: st.srv.system, timeline: st.srv.timeline}
	probe, _, err := pub.barrier.lookWithin(ctx, questionTimeout)
	if err != nil {
		return err
	}
	pub.remember(probe)
	if st.reset == (loss{}) {
		if err := writeContinuity(ctx, s.sql, s.cfg.Source, record); err != nil {
			return err
		}
		m, err := events.Watermark{Source: s.cfg.Source, Timeline: pub.timeline, Position: pub.position, At: pub.at}.Message(s.id)
		if err != nil {
			return err
		}
		m.Header[events.HeaderPrevious] = []string{st.end.session}
		if st.end.resume.skip > 0 {
			m.Header[events.HeaderPublished] = []string{strconv.FormatInt(st.end.resume.skip, 10)}
		}
		return pub.first(ctx, m)
	}
	if st.end.sequence == 0 && !st.slot.exists {
		s.log.Info("the log begins", "position", pub.position)
	} else {
		s.log.Error("RESET: the log begins anew, caches clear everything", "reason", st.reset.reason, "position", pub.position)
	}
	m, err := events.Reset{
		Source: s.cfg.Source, Reason: st.reset.reason, Timeline: pub.timeline, Position: pub.position, At: probe.at,
	}.Message(s.id)
	if err != nil {
		return err
	}
	if err := pub.first(ctx, m); err != nil {
		return err
	}
	s.cfg.Metrics.Reset(st.reset.label)
	record.previous = ""
	if err := writeContinuity(ctx, s.sql, s.cfg.Source, record); err != nil {
		return err
	}
	return incarnate(ctx, s.sql, s.cfg.Source, s.id)
}

// stream runs the three stages until one fails or ctx ends; then it stops receiving, publishes what was received, waits for
// the acknowledgements and tells Postgres.
func (s *session) stream(ctx context.Context, st start, pub *publisher) error {
	recv := newReceiver(s.repl, pub.confirm, pub.position, s.statusInterval)
	recv.idle = s.walsenderIsIdle
	items := make(chan item, itemBuffer)
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	drained := context.AfterFunc(ctx, func() {
		time.AfterFunc(drainTimeout, func() { cancel(errDrainTimeout) })
	})
	defer drained()

	g, work := errgroup.WithContext(work)
	g.Go(func() error { return recv.run(work, ctx.Done()) })
	decoded := make(chan struct{})
	g.Go(func() error {
		defer close(items)
		defer close(decoded)
		return s.decodeAll(work, st.end.resume, recv, items)
	})
	g.Go(func() error { return pub.run(work, items) })
	g.Go(func() error { return s.announceRedefined(work, decoded) })
	if err := g.Wait(); err != nil {
		_, s.unreadable = errors.AsType[*missingPublicationError](err)
		return err
	}
	return recv.status()
}

func (s *session) decodeAll(ctx context.Context, resume resumePoint, recv *receiver, items chan<- item) error {
	emit := func(ctx context.Context, it item) error {
		select {
		case items <- it:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	d := &decoder{
		builder: events.Builder{Source: s.cfg.Source}, resume: resume, relations: map[uint32]*relation{},
		describe: s.describe, emit: emit, redefined: s.redefined.add, log: s.log, tally: tally{metrics: s.cfg.Metrics},
		tracing: s.cfg.Tracing,
	}
	for m := range recv.out {
		var err error
		if m.data == nil {
			// What ended at or below a keepalive's position was sent before it. In the middle of a transaction the position
			// is still that of the record before its commit (XLogSendLogical in src/backend/replication/walsender.c).
			err = emit(ctx, item{end: m.position})
		} else {
			err = d.decode(ctx, m.position, m.data)
		}
		recv.done(m)
		if err != nil {
			return err
		}
	}
	return nil
}

// describe looks up what the catalog says about a table. It may be gone by now.
func (s *session) describe(ctx context.Context, relation uint32) (description, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	d := description{partitioned: true}
	err := s.catalog.QueryRow(ctx, `SELECT c.relkind = 'p', array(
			SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
			WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY a.attnum), coalesce(n.nspname, ''), coalesce(r.relname, '')
		FROM pg_class c LEFT JOIN pg_class r ON c.relispartition AND r.oid = pg_partition_root(c.oid)
			LEFT JOIN pg_namespace n ON n.oid = r.relnamespace
		WHERE c.oid = $1`, relation).Scan(&d.partitioned, &d.keys, &d.root.Schema, &d.root.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, nil
	}
	return d, err
}
