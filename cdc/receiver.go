package cdc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"freshet/events"
)

const (
	// rawBudget bounds the bytes that have been received and not yet decoded.
	rawBudget = 8 << 20
	// rawMessages bounds their number.
	rawMessages = 4096
)

// raw is what the walsender sent: a pgoutput message, or, with no data, a keepalive.
type raw struct {
	position events.Position // of the message, or the walsender's sent position
	data     []byte
}

// receiver reads the replication connection. Status updates have a goroutine of their own, so that the walsender hears from
// us in time whatever the rest of cdc is waiting for; a full buffer only stops the reading.
type receiver struct {
	conn     *pgconn.PgConn
	confirm  *confirmer
	interval time.Duration // between status updates nobody asked for

	out      chan raw
	budget   *semaphore.Weighted
	received atomic.Uint64
	asked    chan struct{}   // a keepalive wants an answer
	reached  events.Position // of the last keepalive

	// idle tells whether a walsender that is silent has nothing to do; nil: nobody can tell.
	idle     func(context.Context) (bool, error)
	waiting  atomic.Bool // for the next message
	heard    atomic.Bool // since watch has looked
	question atomic.Bool // the next status update asks for an answer
}

const (
	// silenceAsked is how long nothing may come until the walsender is asked for a sign of life.
	silenceAsked = 2 * time.Second
	// silenceSuspect is how long nothing may come until it is looked what the walsender does.
	silenceSuspect = 4 * time.Second
)

func newReceiver(conn *pgconn.PgConn, confirm *confirmer, start events.Position, interval time.Duration) *receiver {
	r := &receiver{
		conn: conn, confirm: confirm, interval: interval,
		out:    make(chan raw, rawMessages),
		budget: semaphore.NewWeighted(rawBudget),
		asked:  make(chan struct{}, 1),
	}
	r.received.Store(uint64(start))
	return r
}

// run receives until stop is done (then it returns nil) or the connection fails. It closes out. The budget is given back by
// whoever takes a message from out, with done.
func (r *receiver) run(ctx context.Context, stop <-chan struct{}) error {
	defer close(r.out)
	g, ctx := errgroup.WithContext(ctx)
	reading := make(chan struct{})
	g.Go(func() error {
		defer close(reading)
		return r.read(ctx, stop)
	})
	g.Go(func() error { return r.report(ctx, reading, stop) })
	g.Go(func() error { return r.watch(ctx, reading, stop) })
	return g.Wait()
}

// done gives the budget of a message back.
func (r *receiver) done(m raw) { r.budget.Release(weight(m)) }

func weight(m raw) int64 { return int64(min(len(m.data)+64, rawBudget)) }

func (r *receiver) read(ctx context.Context, stop <-chan struct{}) error {
	for {
		// Not ctx: pgconn would start a watcher for each message. report ends the read with a deadline on the socket.
		r.waiting.Store(true)
		m, err := r.conn.ReceiveMessage(context.Background())
		r.waiting.Store(false)
		r.heard.Store(true)
		if err != nil {
			if stopped(stop) {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("receive from the walsender: %w", err)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := r.handle(ctx, m.Data); err != nil {
				return err
			}
		case *pgproto3.ErrorResponse:
			err := pgconn.ErrorResponseToPgError(m)
			if err.Code == "42704" { // undefined_object
				return &missingPublicationError{err}
			}
			return fmt.Errorf("the walsender ended: %w", err)
		case *pgproto3.CopyDone:
			return errors.New("the walsender ended the stream (the server shuts down)")
		}
	}
}

func (r *receiver) handle(ctx context.Context, data []byte) error {
	if len(data) == 0 {
		return errors.New("the walsender sent an empty message")
	}
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return fmt.Errorf("keepalive: %w", err)
		}
		if k.ReplyRequested {
			signal(r.asked)
		}
		position := events.Position(k.ServerWALEnd)
		if position == r.reached && position != 0 {
			return nil // an answer to a question of ours, with nothing new
		}
		r.reached = position
		return r.push(ctx, raw{position: position})
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return fmt.Errorf("WAL data: %w", err)
		}
		if foreign(x.WALData) {
			return nil
		}
		// The buffer belongs to the connection until the next message only.
		return r.push(ctx, raw{position: events.Position(x.WALStart), data: append([]byte(nil), x.WALData...)})
	}
	return fmt.Errorf("the walsender sent a message of unknown kind %q", data[0])
}

func (r *receiver) push(ctx context.Context, m raw) error {
	if err := r.budget.Acquire(ctx, weight(m)); err != nil {
		return context.Cause(ctx)
	}
	select {
	case r.out <- m:
		if p := uint64(m.position); p > r.received.Load() {
			r.received.Store(p)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// report sends status updates until the reading has ended, and ends the reading when it must.
func (r *receiver) report(ctx context.Context, reading, stop <-chan struct{}) error {
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		select {
		case <-reading:
			return nil
		case <-stop:
			return r.interrupt()
		case <-ctx.Done():
			return r.interrupt()
		case <-tick.C:
		case <-r.asked:
		}
		if err := r.status(); err != nil {
			return err
		}
	}
}

// watch ends the receiving when the walsender is silent though it must have heard us. TCP tells when the machine is gone, or the path
// to it, but not when something in between still acknowledges what it does not pass on. Time is counted in ticks: those in which
// this process did not run are none.
func (r *receiver) watch(ctx context.Context, reading, stop <-chan struct{}) error {
	const interval = time.Second
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var silence time.Duration
	for {
		select {
		case <-reading:
			return nil
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if heard := r.heard.Swap(false); heard || !r.waiting.Load() {
			silence = 0
			continue
		}
		silence += interval
		if silence >= silenceAsked {
			r.question.Store(true)
			signal(r.asked)
		}
		if silence < silenceSuspect || r.idle == nil {
			continue
		}
		idle, err := r.idle(ctx)
		if ctx.Err() != nil || r.heard.Load() {
			continue
		}
		if err != nil {
			return fmt.Errorf("the walsender has been silent for %s: %w", silence, err)
		}
		if idle {
			return fmt.Errorf("the walsender has been silent for %s, though it has nothing else to do than to answer: the connection is dead", silence)
		}
	}
}

// interrupt makes a blocked read return; the connection stays usable for a last status update.
func (r *receiver) interrupt() error {
	return r.conn.Conn().SetReadDeadline(time.Now())
}

// status tells the server what was received and what it may forget.
func (r *receiver) status() error {
	confirmed := pglogrepl.LSN(r.confirm.position(r.confirm.now()))
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), r.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: pglogrepl.LSN(r.received.Load()),
		WALFlushPosition: confirmed, // never 0: pglogrepl would then send the write position
		WALApplyPosition: confirmed,
		ReplyRequested:   r.question.Swap(false),
	})
	if err != nil {
		return fmt.Errorf("send a status update to the walsender: %w", err)
	}
	return nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func stopped(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
