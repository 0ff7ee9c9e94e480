// Package cdc streams the committed changes of one Postgres database onto JetStream: the log that the invalidator and every
// other consumer read.
//
// It owns the replication slot, the order of the stream and rule 1 (visible before published). Its pipeline has three
// stages: receiver (replication connection) → decoder (pgoutput → events) → publisher (barrier, JetStream); each buffer
// between them is bounded in bytes.
//
// It must never publish past a hole, never skip an event that it cannot decode, and never tell Postgres to forget what
// JetStream may still lose.
package cdc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
	"freshet/internal/network"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
	"freshet/internal/tracing"
)

// Config says what to stream, and where to.
type Config struct {
	DatabaseURL string
	// NATS is connected, and stays the caller's.
	NATS *nats.Conn
	// Source names the log; Slot and Publication are made when they are missing.
	Source, Slot, Publication string
	// NATSSyncInterval is the sync_interval of the NATS server: how long after an acknowledgement a message may still be
	// lost with the machine. 0 if the server fsyncs each write.
	NATSSyncInterval time.Duration
	Stream           events.StreamSettings
	Log              *slog.Logger
	// Now is the clock of this machine; nil: time.Now. Only durations are measured by it: what the log says of times are those of the
	// Postgres server, so that it does not matter whether it is right.
	Now func() time.Time
	// Metrics, if set, counts.
	Metrics *telemetry.CDC
	// Tracing, if set, makes a trace of each transaction that is published, and puts it into the messages.
	Tracing *tracing.Tracing
	// OnStreaming, if set, is called when a session has joined the log and streams.
	OnStreaming func()
	// OnBarrierWait, if set, is told how long a batch had to wait for its visibility.
	OnBarrierWait func(time.Duration)
}

// CDC is the process. Make it with New, run it once.
type CDC struct {
	cfg            Config
	log            *slog.Logger
	statusInterval time.Duration
	redefined      *redefined
	walsender      walsender // the last one that was told to stream
	unreadable     bool      // the slot, as its walsender has said; see missingPublicationError

	mu     sync.Mutex
	once   bool // a session has streamed
	status status
}

// New checks the configuration.
func New(cfg Config) (*CDC, error) {
	switch {
	case cfg.NATS == nil:
		return nil, errors.New("cdc: no NATS connection")
	case cfg.Source == "" || cfg.Slot == "" || cfg.Publication == "":
		return nil, errors.New("cdc: source, slot and publication must have names")
	}
	if events.EscapeToken(cfg.Source) != cfg.Source {
		return nil, fmt.Errorf("cdc: the source %q must be of ASCII letters, digits, '_' and '-': it is part of NATS subjects", cfg.Source)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Stream.Source = cfg.Source
	return &CDC{cfg: cfg, log: cfg.Log.With("component", "cdc", "source", cfg.Source), redefined: newRedefined()}, nil
}

// quietLife is how long a session must have lived for its end to be the first failure, and not the next one.
const quietLife = 4 * time.Second

// Run streams until ctx ends, and then returns nil. Until it has streamed once, an error is returned at once: somebody
// configured something wrong. Afterwards an error is an outage, logged and tried again for ever, unless it is a
// DecodeError or a SetupError, which no trying mends.
func (c *CDC) Run(ctx context.Context) error {
	var retry network.Backoff
	for {
		began := c.cfg.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				c.log.Warn("stopped before everything was published; the next start goes on from the stream's end", "error", err)
			}
			return nil
		}
		if err == nil {
			err = errors.New("the walsender ended")
		}
		if c.fatal(err) {
			return fmt.Errorf("cdc: %w", err)
		}
		if c.cfg.Now().Sub(began) > quietLife {
			retry = network.Backoff{}
		}
		pause := retry.Next()
		c.status.enter(Retrying, "", err)
		c.log.Warn("session ended; trying again", "error", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *CDC) fatal(err error) bool {
	var setup *SetupError
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.once {
		// A slot held by somebody else, or a missing right, can come and go with a failover.
		return false
	}
	if errors.As(err, &setup) || errors.Is(err, postgres.ErrNotMigrated) {
		return true
	}
	return !lostRace(err)
}

// lostRace tells whether another cdc that started at the same time was faster: with the slot (it is in use, or
// exists already) or with the stream. The loser tries again, and stands by.
func lostRace(err error) bool {
	var api *jetstream.APIError
	return postgres.IsCode(err, "55006") || // object_in_use
		postgres.IsCode(err, "42710") || // duplicate_object
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func (c *CDC) streaming(session string) {
	c.status.enter(Streaming, session, nil)
	c.mu.Lock()
	c.once = true
	c.mu.Unlock()
	if c.cfg.OnStreaming != nil {
		c.cfg.OnStreaming()
	}
}

func (c *CDC) waited(d time.Duration) {
	if d > time.Second {
		c.log.Warn("changes were committed long before they became visible (a synchronous standby that hangs?)", "waited", d)
	}
	c.cfg.Metrics.BarrierWaited(d)
	if c.cfg.OnBarrierWait != nil {
		c.cfg.OnBarrierWait(d)
	}
}
