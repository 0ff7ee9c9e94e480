package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"freshet/events"
	"freshet/internal/telemetry"
)

const (
	// itemBuffer bounds what is decoded and not yet published: at most MaxMessageBytes each.
	itemBuffer = 64
	// batchItems and batchBytes bound a batch, which is what one look of the barrier covers.
	batchItems = 1024
	batchBytes = 4 << 20
	// ackWindow bounds the bytes that were sent and not yet acknowledged.
	ackWindow = 8 << 20
	// ackMessages bounds their number.
	ackMessages = 4096
	// idleInterval is how often the time of the watermark is renewed when nothing happens.
	idleInterval = time.Second
	// unrelatedInterval is the pause between watermarks that only report WAL which is none of ours.
	unrelatedInterval = 50 * time.Millisecond
	// probesKept bounds the probes that wait for the log to reach their position.
	probesKept = 64
)

// publisher appends to the stream, pipelined: each message expects the sequence of the one before it to be the stream's
// last, so that the stream is gap-free and in order, or not continued at all.
type publisher struct {
	js      jetstream.JetStream
	refused <-chan error // why JetStream did not take a message, whichever it was
	barrier *barrier
	confirm *confirmer
	source  string
	session string

	timeline uint32          // of the server's WAL
	sequence uint64          // the stream's last sequence once all that was sent is acknowledged
	position events.Position // everything at or below it was sent
	at       time.Time       // see events.Watermark
	written  time.Time       // local time of the last watermark
	probes   []probe         // ascending
	reported events.Position // the position of the last watermark
	// published, if not nil, is told reported.
	published *atomic.Uint64
	stuck     events.Position // the position at the last idle tick that found Postgres ahead
	// open, if not 0, is the commit position of a transaction that is in the stream in part. There is no watermark within a
	// transaction: the stream's last message must tell how much of it is there.
	open events.Position

	acks    chan sent
	window  *semaphore.Weighted
	metrics *telemetry.CDC
	asked   time.Time // when at was asked for, by our own clock
}

// sent is a message that waits for its acknowledgement.
type sent struct {
	future   jetstream.PubAckFuture
	sequence uint64
	size     int64
	position events.Position // of a watermark, else 0
	trace    *messageTrace
}

// run publishes until items is closed and everything is acknowledged.
func (p *publisher) run(ctx context.Context, items <-chan item) error {
	p.acks = make(chan sent, ackMessages)
	p.window = semaphore.NewWeighted(ackWindow)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.acks)
		return p.publishAll(ctx, items)
	})
	g.Go(func() error { return p.collect(ctx) })
	return g.Wait()
}

func (p *publisher) publishAll(ctx context.Context, items <-chan item) error {
	idle := time.NewTicker(idleInterval)
	defer idle.Stop()
	pause := time.NewTimer(0) // runs while a reached position waits to be reported
	defer pause.Stop()
	for {
		select {
		case it, ok := <-items:
			if !ok {
				return p.watermark(ctx)
			}
			batch, more := take(it, items)
			if err := p.publishBatch(ctx, batch, pause); err != nil {
				return err
			}
			if !more {
				return p.watermark(ctx)
			}
		case <-pause.C:
			if err := p.watermark(ctx); err != nil {
				return err
			}
		case <-idle.C:
			if err := p.idle(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take adds to the batch what is there already: batches form by themselves while the one before is under way.
func take(first item, items <-chan item) (batch []item, more bool) {
	batch = append(batch, first)
	for size := first.size(); len(batch) < batchItems && size < batchBytes; {
		select {
		case it, ok := <-items:
			if !ok {
				return batch, false
			}
			batch = append(batch, it)
			size += it.size()
		default:
			return batch, true
		}
	}
	return batch, true
}

func (p *publisher) publishBatch(ctx context.Context, batch []item, pause *time.Timer) error {
	xids, open := p.survey(batch)
	// Rule 1: visible before published.
	probe, asked, err := p.barrier.wait(ctx, xids)
	if err != nil {
		return err
	}
	if asked {
		p.remember(probe)
	}
	for _, it := range batch {
		if err := p.publishItem(ctx, it, open); err != nil {
			return err
		}
	}
	if p.open != 0 {
		return nil
	}
	if len(xids) == 0 {
		if wait := unrelatedInterval - p.confirm.now().Sub(p.written); wait > 0 {
			pause.Reset(wait)
			return nil
		}
	}
	return p.watermark(ctx)
}

// survey lists the transactions of a batch, and finds the commit position of the one that does not end in it, 0 if there is
// none. A transaction has ended once a position above that of its commit record is reached.
func (p *publisher) survey(batch []item) (xids []uint32, open events.Position) {
	open = p.open
	for _, it := range batch {
		if it.body != nil {
			open = it.body.Position
			if len(xids) == 0 || xids[len(xids)-1] != it.xid {
				xids = append(xids, it.xid)
			}
		}
		if it.end > open {
			open = 0
		}
	}
	return xids, open
}

// publishItem sends one item of a batch at whose end the transaction open is unfinished. What was reached before that
// transaction began is reported first: it may be long.
func (p *publisher) publishItem(ctx context.Context, it item, open events.Position) error {
	if it.body != nil {
		if p.open == 0 && it.body.Position == open {
			if p.position > p.reported {
				if err := p.watermark(ctx); err != nil {
					return err
				}
			}
			p.open = open
		}
		if err := p.send(ctx, it.trace.visible(it.body.Message(p.source, p.session)), 0, it.trace); err != nil {
			return err
		}
		if it.end != 0 {
			p.metrics.Transaction()
		}
	}
	if it.end > p.open {
		p.open = 0
	}
	p.position = max(p.position, it.end)
	return nil
}

// remember keeps a probe until the log has reached its position. If there are too many, the one goes that leaves the
// smallest gap in time: under a constant lag those that are about to be reached must stay.
func (p *publisher) remember(pr probe) {
	p.probes = append(p.probes, pr)
	if len(p.probes) <= probesKept {
		return
	}
	drop, smallest := 1, time.Duration(1<<63-1)
	for i := 1; i < len(p.probes)-1; i++ {
		if gap := p.probes[i+1].at.Sub(p.probes[i-1].at); gap < smallest {
			drop, smallest = i, gap
		}
	}
	p.probes = slices.Delete(p.probes, drop, drop+1)
}

// watermark reports the position that was reached, with the latest time that it covers, unless a transaction is unfinished.
func (p *publisher) watermark(ctx context.Context) error {
	if p.open != 0 {
		return nil
	}
	done := 0
	for done < len(p.probes) && p.probes[done].position <= p.position {
		p.asked = p.probes[done].asked
		p.at = p.probes[done].at // the newest, not the latest: the server's clock may have been set back
		done++
	}
	p.probes = append(p.probes[:0], p.probes[done:]...)
	m, err := events.Watermark{Source: p.source, Timeline: p.timeline, Position: p.position, At: p.at}.Message(p.session)
	if err != nil {
		return err
	}
	p.written, p.reported = p.confirm.now(), p.position
	if p.published != nil {
		p.published.Store(uint64(p.reported))
	}
	if err := p.send(ctx, m, p.position, nil); err != nil {
		return err
	}
	p.metrics.Reached(uint64(p.position), p.asked)
	return nil
}

// idle renews the time of the watermark. If Postgres is ahead of all that it has sent, twice in a row without progress, the
// rest is not flushed, and has to be.
func (p *publisher) idle(ctx context.Context) error {
	probe, _, err := p.barrier.look(ctx)
	if err != nil {
		return err
	}
	p.remember(probe)
	if p.open != 0 {
		return nil
	}
	if probe.position > p.position {
		if p.stuck == p.position {
			if err := p.barrier.kick(ctx); err != nil {
				return err
			}
		}
		p.stuck = p.position
		return nil
	}
	return p.watermark(ctx)
}

// send publishes without waiting for the acknowledgement.
func (p *publisher) send(ctx context.Context, m *nats.Msg, watermark events.Position, trace *messageTrace) error {
	size := int64(min(len(m.Data)+1024, ackWindow))
	if err := p.window.Acquire(ctx, size); err != nil {
		return context.Cause(ctx)
	}
	future, err := p.js.PublishMsgAsync(m, jetstream.WithExpectLastSequence(p.sequence),
		jetstream.WithRetryAttempts(0)) // those that were sent after it would come before it
	if err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	p.sequence++
	p.metrics.Message(len(m.Data))
	select {
	case p.acks <- sent{future, p.sequence, size, watermark, trace}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// collect waits for the acknowledgements, in order. The first failure ends the session: the next one reads the stream's end
// and goes on from there, so nothing is ever published past a hole.
//
// A failure of a later message counts at once: what a stream has swallowed in the moment of its deletion is never answered, what is
// sent afterwards is refused.
func (p *publisher) collect(ctx context.Context) error {
	patience := time.NewTimer(publishTimeout)
	defer patience.Stop()
	for s := range p.acks {
		patience.Reset(publishTimeout)
		select {
		case ack := <-s.future.Ok():
			switch {
			case ack.Duplicate:
				return errors.New("JetStream took a message for a duplicate and dropped it")
			case ack.Sequence != s.sequence:
				return fmt.Errorf("JetStream stored a message at sequence %d, expected %d", ack.Sequence, s.sequence)
			}
		case err := <-s.future.Err():
			return fmt.Errorf("publish at stream sequence %d: %w", s.sequence, err)
		case err := <-p.refused:
			return fmt.Errorf("publish after stream sequence %d: %w", s.sequence, err)
		case <-patience.C:
			return fmt.Errorf("publish at stream sequence %d: no acknowledgement for %s", s.sequence, publishTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.window.Release(s.size)
		s.trace.stored(s.sequence)
		if s.position != 0 {
			p.confirm.acknowledged(s.position, p.confirm.now())
		}
	}
	return nil
}

// first publishes the session's first message and waits until it is stored.
func (p *publisher) first(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequence(p.sequence))
	if err != nil {
		return fmt.Errorf("publish the first message of the session: %w", err)
	}
	p.sequence = ack.Sequence
	p.metrics.Message(len(m.Data))
	return nil
}
