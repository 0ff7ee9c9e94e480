package invalidator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/cache"
	"freshet/events"
)

const (
	// batchMessages and batchTags bound what one script applies.
	batchMessages = 256
	batchTags     = 5000
	// loadTimeout bounds the reading of the list of shapes.
	loadTimeout = 5 * time.Second
)

// applier is one session: a stored state, and the shapes to match.
type applier struct {
	*Invalidator
	state    cache.State
	matcher  *matcher
	received uint64 // the stream sequence of the last message that came
	registry string // the subject of changes of the list of shapes
}

// load reads the shapes and activates those that the stored state lacks with the next batch.
//
// The table may be ahead of the log here. A shape that comes early is harmless: it is ready, so whatever the log will never have
// of its table is visible already, and entries filled from now on see it; everything else will still be matched. One that is
// missing was retired, and is retired here with the next batch.
func (a *applier) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	shapes, err := a.cfg.Ready(ctx)
	if err != nil {
		return err
	}
	a.matcher = newMatcher(shapes)
	return nil
}

// reload reads the shapes in the middle of a step. A shape that comes, goes or reads other columns here was not matched against all of
// the step's messages (cache/model: comesOrGoes), though the stored state may have it as active (another invalidator has activated it, or it was deleted and
// registered again): it gets a new generation.
func (a *applier) reload(ctx context.Context, s *step) error {
	before := a.matcher
	if err := a.load(ctx); err != nil {
		return err
	}
	for name, shape := range a.matcher.shapes {
		if was, there := before.shapes[name]; !there || !slices.Equal(was.Reads, shape.Reads) || (was.Reads == nil) != (shape.Reads == nil) {
			s.clear.shapes[name] = shape
		}
	}
	for name, shape := range before.shapes {
		if _, there := a.matcher.shapes[name]; !there {
			s.clear.shapes[name] = shape
		}
	}
	return nil
}

// consume applies the log from the state's sequence on.
func (a *applier) consume(ctx context.Context) error {
	a.received = a.state.Sequence
	t := events.Tail{JetStream: a.cfg.JetStream, Source: a.cfg.Source, After: a.received, Batch: batchMessages}
	return t.Run(ctx, a.apply)
}

// apply applies a batch. If another invalidator was faster, or the server lost writes, it goes on from the state that is stored,
// as long as the batch has all that is missing there.
func (a *applier) apply(ctx context.Context, batch []jetstream.Msg) error {
	// Ahead of what was received is only who has moved up to another's state, now or with an earlier batch.
	before, moved := a.received, a.state.Sequence > a.received
	for {
		err := a.applyOnce(ctx, batch)
		if err == nil {
			a.status.applied(a.state)
			if moved {
				a.keptUp(batch[len(batch)-1])
			}
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		state, found, err := a.cfg.Store.Load(ctx)
		if err != nil {
			return err
		}
		if !found || state.Sequence < before {
			return errMoved
		}
		moved = true
		other := state.Chain != a.state.Chain || !a.matcher.covers(state)
		a.state, a.received = state, before
		if other { // the other invalidator has seen a list of shapes that this one has not
			if err := a.load(ctx); err != nil {
				return err
			}
		}
		if state.Sequence > before+uint64(len(batch)) { // ahead of us: it must be a place in this log
			if _, err := events.CheckEnd(ctx, a.cfg.JetStream, a.cfg.Source, state.Sequence); err != nil {
				return err
			}
		}
	}
}

// keptUp notes that what another invalidator was faster with is applied too: one that always comes second is no further behind.
func (a *applier) keptUp(last jetstream.Msg) {
	a.cfg.Metrics.Watermark(a.state.At)
	if meta, err := last.Metadata(); err == nil {
		a.cfg.Metrics.Lag(meta.NumPending, a.state.At)
	}
}

// applyOnce applies a batch in as many steps as its size asks for.
func (a *applier) applyOnce(ctx context.Context, batch []jetstream.Msg) error {
	step := a.newStep()
	for _, m := range batch {
		if err := a.add(ctx, step, m); err != nil {
			return err
		}
		if len(step.clear.tags) >= batchTags || step.restart != "" {
			if err := a.store(ctx, step); err != nil {
				return err
			}
			step = a.newStep()
		}
	}
	if step.messages == 0 {
		return nil
	}
	return a.store(ctx, step)
}

// step is what the script does at once.
type step struct {
	messages int
	next     cache.State
	clear    *clearing
	restart  string // the reason for a new chain
	tally    tally
	watched  watched
	traced   traced
}

func (a *applier) newStep() *step {
	return &step{next: a.state, clear: newClearing()}
}

// add reads one message into the step.
func (a *applier) add(ctx context.Context, s *step, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("read a message's metadata: %w", err)
	}
	sequence := meta.Sequence.Stream
	kind, err := events.SubjectKind(m.Subject())
	if err != nil {
		return &decodeError{sequence, err}
	}
	applied, err := a.follow(s, sequence, kind, m.Headers())
	if err != nil {
		return err
	}
	if applied {
		if m.Subject() == a.registry || kind == events.KindReset {
			return a.reload(ctx, s)
		}
		return nil
	}
	switch kind {
	case events.KindChange:
		s.tally.pending = meta.NumPending
		err = a.change(ctx, s, m, sequence)
	case events.KindWatermark:
		var w *events.Watermark
		if w, err = events.DecodeWatermark(m.Data()); err == nil {
			s.tally.at, s.tally.pending = w.At, meta.NumPending
			s.next.Mark = cache.Mark{Timeline: w.Timeline, Position: w.Position}
			if !w.At.IsZero() { // the newest, not the latest: the server's clock may have been set back
				s.next.At = w.At
			}
		} else {
			err = &decodeError{sequence, err}
		}
	case events.KindReset:
		var r *events.Reset
		if r, err = events.DecodeReset(m.Data()); err == nil {
			s.restart = "reset: " + r.Reason
			s.next.Mark, s.next.At = cache.Mark{Timeline: r.Timeline, Position: r.Position}, r.At
		} else {
			err = &decodeError{sequence, err}
		}
	}
	s.messages++
	return err
}

// follow checks that the message is the next one, of the log that the state is of. Numbers alone would not tell: a stream whose
// storage lost its tail gives them out again. applied is true if the state has the message already (another invalidator).
func (a *applier) follow(s *step, sequence uint64, kind events.Kind, header nats.Header) (applied bool, err error) {
	if sequence != a.received+1 {
		return false, &events.GapError{Reason: fmt.Sprintf("expected stream sequence %d, got %d", a.received+1, sequence)}
	}
	a.received = sequence
	session, known := header.Get(events.HeaderSession), s.next.Session
	if sequence < s.next.Sequence {
		return true, nil
	}
	follows := known == "" || session == known || kind == events.KindReset
	if sequence > s.next.Sequence {
		follows = follows || header.Get(events.HeaderPrevious) == known
	}
	if !follows {
		return false, &events.GapError{Reason: fmt.Sprintf("the message at stream sequence %d is of session %s, which does not follow %s", sequence, session, known)}
	}
	if sequence == s.next.Sequence {
		return true, nil
	}
	s.next.Session, s.next.Sequence = session, sequence
	return false, nil
}

func (a *applier) change(ctx context.Context, s *step, m jetstream.Msg, sequence uint64) error {
	c, err := events.DecodeChanges(m.Data())
	if err != nil {
		return &decodeError{sequence, err}
	}
	if m.Subject() == a.registry {
		s.tally.count(c, false)
		// Rule 5: shapes ride the log. The table is at least as new as the message.
		a.matcher.interrupt(c, s.clear)
		s.traced.begin(ctx, a.cfg.Tracing, m, c, sequence, 0)
		return a.reload(ctx, s)
	}
	before := s.clear.found
	a.matcher.match(c, s.clear)
	s.tally.count(c, s.clear.found != before)
	s.traced.begin(ctx, a.cfg.Tracing, m, c, sequence, s.clear.found-before)
	a.live.note(&s.watched, a.matcher, c)
	return nil
}

// store does the step. Rule 4: only if the stored state is the one that this applier wrote or read last.
func (a *applier) store(ctx context.Context, s *step) error {
	if s.restart != "" {
		return a.restart(ctx, s)
	}
	b := cache.Batch{Next: s.next}
	b.Next.Source, b.Next.Stamp = a.cfg.Source, cache.NewToken()
	// Rule 3: clearing is deleting.
	for _, t := range s.clear.tags {
		b.Clear = append(b.Clear, t)
	}
	b.Next.Generations = map[string]string{}
	for name, shape := range a.matcher.shapes {
		if _, whole := s.clear.shapes[name]; whole || !shape.Matched(a.state.Generations[name]) {
			b.Next.Generations[name] = shape.NewGeneration()
		}
	}
	for name := range a.state.Generations {
		if _, there := a.matcher.shapes[name]; !there {
			b.Retire = append(b.Retire, name)
		}
	}
	began := time.Now()
	cleared, ok, err := a.cfg.Store.ApplyByTable(s.traced.context(ctx), a.state, b)
	if err != nil {
		return err
	}
	if !ok {
		a.cfg.Metrics.ChainBroke()
		return errMoved
	}
	s.traced.end(cleared)
	a.measure(s, cleared, time.Since(began))
	a.touched(b.Clear)
	a.stored(b)
	a.live.applied(&s.watched, a.state, cleared)
	for table := range s.clear.sweep {
		a.requestSweep(cache.NewShape(table[0], table[1]).Tag().Name)
	}
	a.log.Debug("applied", "sequence", a.state.Sequence, "position", a.state.Position, "messages", s.messages,
		"tags", len(b.Clear), "cleared", cleared, "shapes", len(s.clear.shapes))
	return nil
}

func (a *applier) stored(b cache.Batch) {
	generations := a.state.Generations
	if generations == nil {
		generations = map[string]string{}
	}
	maps.Copy(generations, b.Next.Generations)
	for _, name := range b.Retire {
		delete(generations, name)
	}
	a.state = b.Next
	a.state.Generations = generations
	a.cfg.Metrics.Watermark(a.state.At)
	if a.cfg.OnApplied != nil {
		a.cfg.OnApplied(a.state)
	}
}

// restart applies a reset: a new chain at the reset's place in the log.
func (a *applier) restart(ctx context.Context, s *step) error {
	if err := a.newChain(ctx, s.next); err != nil {
		return err
	}
	if s.next.Sequence > 1 {
		a.log.Error("RESET: everything cleared, a new chain begins", "reason", s.restart, "sequence", s.next.Sequence)
	} else {
		a.log.Info("the log begins", "sequence", s.next.Sequence)
	}
	s.traced.end(nil)
	s.tally.report(a.cfg.Metrics)
	a.began(clearReset, s.restart)
	return nil
}
