package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamSettings are those settings of a source's stream that an operator chooses.
type StreamSettings struct {
	Source string
	// Retention is how long a message is kept (default 72 h). Replaying reaches back as far.
	Retention time.Duration
	// MaxBytes bounds the stream's size on disk; 0 means no bound.
	MaxBytes int64
	// Replicas is the number of NATS servers that hold the stream (default 1).
	Replicas int
}

// duplicateWindow is short because duplicates are kept out by the expected last sequence, which is exact. A long window
// would be wrong: a database restored from a backup gives its positions out again, and JetStream would acknowledge a new
// message with an old id and drop it.
const duplicateWindow = time.Second

// Config returns the stream's configuration: file storage and limits retention, so that reading it again is a replay.
func (s StreamSettings) Config() jetstream.StreamConfig {
	if s.Retention <= 0 {
		s.Retention = 72 * time.Hour
	}
	if s.Replicas <= 0 {
		s.Replicas = 1
	}
	if s.MaxBytes <= 0 {
		s.MaxBytes = -1
	}
	return jetstream.StreamConfig{
		Name:        StreamName(s.Source),
		Description: "Freshet: row changes of the Postgres source " + s.Source,
		Subjects:    []string{AllSubjects(s.Source)},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      s.Retention,
		MaxBytes:    s.MaxBytes,
		Replicas:    s.Replicas,
		Duplicates:  min(duplicateWindow, s.Retention),
		AllowDirect: true,
	}
}

// EnsureStream creates the stream, or updates its limits to the settings.
func EnsureStream(ctx context.Context, js jetstream.JetStream, s StreamSettings) (jetstream.Stream, error) {
	stream, err := js.CreateOrUpdateStream(ctx, s.Config())
	if err != nil {
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
			return nil, fmt.Errorf("create stream %s: JetStream is not enabled: start nats-server with -js", StreamName(s.Source))
		}
		return nil, fmt.Errorf("create stream %s: %w", StreamName(s.Source), err)
	}
	return stream, nil
}
