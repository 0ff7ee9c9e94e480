// Package invalidator applies the log to a cache: it clears the buckets that each change touches, and advances the watermark.
//
// It owns rule 3 (clearing is deleting) and, with cache.Redis, rule 4 (the watermark is a compare-and-set chain). Several may
// run on one cache: whoever loses the comparison moves up to what the other has stored.
//
// It must never advance a watermark past a message that it has not applied, and never skip one that it cannot read.
package invalidator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/heavy"
	"freshet/internal/network"
	"freshet/internal/telemetry"
	"freshet/internal/tracing"
)

// Config says which log is applied to which cache.
type Config struct {
	Source    string
	JetStream jetstream.JetStream
	Store     *cache.Redis
	// Ready lists the shapes that are ready; see cache.Registry.
	Ready func(ctx context.Context) ([]cache.Shape, error)
	Log   *slog.Logger
	// Metrics, if set, counts.
	Metrics *telemetry.Invalidator
	// Tracing, if set, goes on with the traces of messages; that of Store is the caller's to switch on.
	Tracing *tracing.Tracing
	// Verified, if set, has the counters of an auditor in the same process, for the status.
	Verified func() *cache.VerifyStatus
	// OnApplied, if set, is called with each state that was stored.
	OnApplied func(cache.State)
	// OnBegin, if set, is called when everything was cleared, with the reason.
	OnBegin func(reason string)
}

// Invalidator is the process. Make it with New, run it once.
type Invalidator struct {
	cfg    Config
	log    *slog.Logger
	once   bool // it has applied something
	sweep  chan string
	status status
	live   *live
	tags   *heavy.Sketch // of those that changes touch
}

// New returns an Invalidator.
func New(cfg Config) *Invalidator {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// The sweeper is a convenience; what does not fit into its queue stays until it expires.
	return &Invalidator{cfg: cfg, log: cfg.Log.With("component", "invalidator", "source", cfg.Source), sweep: make(chan string, 16), live: newLive(cfg.Store, cfg.Metrics.Now), tags: newTags()}
}

// requestTimeout bounds one request to JetStream.
const requestTimeout = 3 * time.Second

// quietLife is how long a session must have lived for its end to be the first failure, and not the next one.
const quietLife = 4 * time.Second

// errMoved says that the stored state is not the one that was written last: another invalidator was faster, or the server lost
// writes. Its own state is read again, and the log replayed from there.
var errMoved = errors.New("the stored watermark is another one")

// foreignError says that the cache is that of another source. To clear it would spoil that one.
type foreignError struct{ theirs, ours string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("this Redis database holds the cache of the source %q, not of %q: give each source its own (REDIS_URL=redis://host/1), "+
		"or delete the key freshet:watermark to take it over", e.theirs, e.ours)
}

// errNoStream is no failure: the processes may be started in any order.
var errNoStream = errors.New("the log's stream does not exist yet: `freshet cdc` makes it when it starts")

// decodeError is a message that cannot be read.
type decodeError struct {
	sequence uint64
	err      error
}

func (e *decodeError) Error() string {
	return fmt.Sprintf("cannot read the message at stream sequence %d: %v (nothing was skipped: the invalidator stops here)", e.sequence, e.err)
}

func (e *decodeError) Unwrap() error { return e.err }

// Run applies the log until ctx ends, and then returns nil. It waits for the log's stream to be made. Until it has begun once, any
// other error is returned at once; afterwards it is an outage, logged and tried again for ever, unless a message cannot be decoded.
func (v *Invalidator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.sweepAll(ctx) })
	g.Go(func() error { return v.live.run(ctx) })
	g.Go(func() error { return v.tellStatus(ctx) })
	g.Go(func() error { return v.run(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (v *Invalidator) run(ctx context.Context) error {
	var retry network.Backoff
	for {
		began := time.Now()
		err := v.session(ctx)
		if ctx.Err() != nil {
			return context.Canceled // ends the sweeper too
		}
		if errors.Is(err, errMoved) { // also at the first start: another invalidator may have begun the chain at the same time
			v.log.Warn("the stored watermark is not the one written last: reading it again and replaying the log from there")
			continue
		}
		var decode *decodeError
		if errors.As(err, &decode) || !v.once && !errors.Is(err, errNoStream) {
			return fmt.Errorf("invalidator: %w", err)
		}
		v.status.failed(err)
		if time.Since(began) > quietLife {
			retry = network.Backoff{}
		}
		pause := retry.Next()
		v.log.Warn("session ended; trying again", "error", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Canceled
		}
	}
}

// session applies the log from the stored state on, until something goes wrong, or the connection to NATS is lost: what was asked
// over it would be waited for in vain.
func (v *Invalidator) session(ctx context.Context) error {
	ctx, stop := network.WhileConnected(ctx, v.cfg.JetStream.Conn())
	defer stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := v.applyLog(ctx)
	if errors.Is(context.Cause(ctx), network.ErrNATSLost) && !errors.Is(err, network.ErrNATSLost) {
		return fmt.Errorf("%w: %w", network.ErrNATSLost, err)
	}
	return err
}

func (v *Invalidator) applyLog(ctx context.Context) error {
	state, found, err := v.cfg.Store.Load(ctx)
	if err != nil {
		return err
	}
	a := &applier{
		Invalidator: v, state: state,
		registry: events.ChangeSubject(v.cfg.Source, cache.RegistrySchema, cache.RegistryTable),
	}
	if found && state.Source != "" && state.Source != v.cfg.Source {
		return &foreignError{state.Source, v.cfg.Source}
	}
	if !v.once { // what is configured wrongly shows now, also while there is nothing to apply
		if _, err := v.cfg.Ready(ctx); err != nil {
			return err
		}
	}
	if found {
		// Shapes that were registered after this state was stored come early; that is harmless. See load.
		err = a.load(ctx)
	} else {
		a.state = cache.State{}
		err = a.begin(ctx, clearNoWatermark, "there is no watermark")
	}
	for err == nil {
		v.once = true
		err = a.consume(ctx)
		// The log does not go on where the stored state ends.
		if gap, ok := errors.AsType[*events.GapError](err); ok {
			err = a.begin(ctx, clearGap, gap.Reason)
		}
	}
	return err
}

// begin clears everything and goes on from the end of the stream. Readers that fill from Postgres after this see whatever the log
// said before.
func (a *applier) begin(ctx context.Context, label, reason string) error {
	// The place in the log first: whatever stands before it is visible to the SELECT of load (rule 1; cache/model: placeFirst).
	session, sequence, err := a.beginning(ctx)
	if err != nil {
		return err
	}
	if err := a.newChain(ctx, cache.State{Session: session, Sequence: sequence}); err != nil {
		return err
	}
	a.log.Info("everything cleared, a new chain begins", "reason", reason, "sequence", sequence)
	a.began(label, reason)
	return nil
}

// newChain clears everything in one step: entries are bound to the chain. The shapes are read again, as their events may be among
// what was lost.
func (a *applier) newChain(ctx context.Context, next cache.State) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	next.Source, next.Chain, next.Stamp = a.cfg.Source, cache.NewToken(), cache.NewToken()
	next.Generations = map[string]string{}
	for name, shape := range a.matcher.shapes {
		next.Generations[name] = shape.NewGeneration()
	}
	ok, err := a.cfg.Store.Begin(ctx, a.state, next)
	if err != nil {
		return err
	}
	if !ok {
		a.cfg.Metrics.ChainBroke()
		return errMoved
	}
	a.state = next
	return nil
}

func (a *applier) began(label, reason string) {
	a.cfg.Metrics.ClearedAll(label)
	a.live.cleared(a.state, reason)
	if a.cfg.OnBegin != nil {
		a.cfg.OnBegin(reason)
	}
	a.requestSweep("")
}

// beginning is the sequence after which the log is applied when everything was cleared: just before the last watermark, so that
// the new chain knows its position at once. session is that watermark's: if another stream takes this one's place meanwhile, the
// message at that place tells.
func (a *applier) beginning(ctx context.Context) (session string, sequence uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := a.cfg.JetStream.Stream(ctx, events.StreamName(a.cfg.Source))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", 0, errNoStream
	}
	if err != nil {
		return "", 0, fmt.Errorf("find the stream: %w", err)
	}
	// The end before the watermark: one that comes in between is then still applied. The other way round it would be passed over.
	info, err := stream.Info(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("read the state of the stream: %w", err)
	}
	last, err := stream.GetLastMsgForSubject(ctx, events.WatermarkSubject(a.cfg.Source))
	switch {
	case err == nil:
		return last.Header.Get(events.HeaderSession), last.Sequence - 1, nil
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return "", info.State.LastSeq, nil
	}
	return "", 0, fmt.Errorf("find the last watermark in the stream: %w", err)
}

// requestSweep asks for the memory of buckets that a new chain or generation has made useless.
func (v *Invalidator) requestSweep(tagPrefix string) {
	select {
	case v.sweep <- tagPrefix:
	default:
	}
}

func (v *Invalidator) sweepAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case prefix := <-v.sweep:
			n, err := v.cfg.Store.Sweep(ctx, prefix)
			if err != nil && ctx.Err() == nil {
				v.log.Warn("buckets that nobody can use were not swept; they expire by themselves", "error", err)
			} else if n > 0 {
				v.log.Info("swept buckets", "prefix", prefix, "deleted", n)
			}
		}
	}
}
