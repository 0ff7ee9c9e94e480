package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/cache"
	"freshet/events"
)

// NATS asks the server for an answer.
func NATS(conn *nats.Conn) Check {
	return Check{Name: CheckNATS, Look: func(ctx context.Context) (any, error) {
		if err := conn.FlushWithContext(ctx); err != nil {
			return nil, err
		}
		return map[string]any{"server": conn.ConnectedServerVersion(), "reconnects": conn.Stats().Reconnects}, nil
	}}
}

// Stream is what the check of the log's stream shows.
type Stream struct {
	Name          string `json:"name"`
	Messages      uint64 `json:"messages"`
	Bytes         uint64 `json:"bytes"`
	FirstSequence uint64 `json:"first_sequence"`
	LastSequence  uint64 `json:"last_sequence"`
	// OldestAt is when the oldest message came: replay reaches back as far.
	OldestAt time.Time `json:"oldest_at,omitzero"`
	// LastPosition and LastAt are those of the last watermark in the stream.
	LastPosition string    `json:"last_position,omitempty"`
	LastAt       time.Time `json:"last_at,omitzero"`

	mark cache.Mark
}

// StreamOf looks at the stream of a source.
func StreamOf(js jetstream.JetStream, source string) Check {
	return Check{Name: CheckStream, Look: func(ctx context.Context) (any, error) {
		s, err := readStream(ctx, js, source)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

func readStream(ctx context.Context, js jetstream.JetStream, source string) (Stream, error) {
	s := Stream{Name: events.StreamName(source)}
	stream, err := js.Stream(ctx, s.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, errors.New("the log's stream does not exist: `freshet cdc` makes it when it starts")
	}
	if err != nil {
		return s, fmt.Errorf("find the stream: %w", err)
	}
	state := stream.CachedInfo().State // just fetched
	s.Messages, s.Bytes, s.FirstSequence, s.LastSequence = state.Msgs, state.Bytes, state.FirstSeq, state.LastSeq
	if state.Msgs > 0 {
		s.OldestAt = state.FirstTime.UTC()
	}
	last, err := stream.GetLastMsgForSubject(ctx, events.WatermarkSubject(source))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read the last watermark of the stream: %w", err)
	}
	w, err := events.DecodeWatermark(last.Data)
	if err != nil {
		return s, fmt.Errorf("read the last watermark of the stream: %w", err)
	}
	s.mark, s.LastAt = cache.Mark{Timeline: w.Timeline, Position: w.Position}, w.At.UTC()
	s.LastPosition = s.mark.String()
	return s, nil
}

// Applied is how far a consumer of the log has come.
type Applied struct {
	Sequence uint64
	Mark     cache.Mark
	// At is that of the last watermark applied.
	At time.Time
}

// Consumer is what the check of a consumer shows: how far it is behind the end of the stream.
type Consumer struct {
	AppliedSequence uint64 `json:"applied_sequence"`
	AppliedPosition string `json:"applied_position"`
	LagMessages     uint64 `json:"lag_messages"`
	// LagBytes is of WAL, between the last watermark of the stream and the one applied; LagSeconds the time between the two.
	LagBytes   uint64  `json:"lag_bytes"`
	LagSeconds float64 `json:"lag_seconds"`
}

// ConsumerOf compares what a consumer has applied with the end of the stream. It fails above maxLag.
func ConsumerOf(js jetstream.JetStream, source string, applied func() Applied, maxLag time.Duration) Check {
	return Check{Name: CheckConsumer, Look: func(ctx context.Context) (any, error) {
		stream, err := readStream(ctx, js, source)
		if err != nil {
			return nil, err
		}
		c := lag(stream, applied()) // after the stream's end: what came meanwhile is no lag
		if behind := time.Duration(c.LagSeconds * float64(time.Second)); behind > maxLag {
			return c, fmt.Errorf("the consumer is %s behind the end of the stream", behind.Round(time.Millisecond))
		}
		return c, nil
	}}
}

func lag(s Stream, a Applied) Consumer {
	c := Consumer{AppliedSequence: a.Sequence, AppliedPosition: a.Mark.String()}
	if s.LastSequence > a.Sequence {
		c.LagMessages = s.LastSequence - a.Sequence
	}
	// Positions of two timelines cannot be compared; after a failover that is soon over.
	if s.mark.Timeline == a.Mark.Timeline && s.mark.Position > a.Mark.Position {
		c.LagBytes = uint64(s.mark.Position - a.Mark.Position)
	}
	if !a.At.IsZero() && s.LastAt.After(a.At) {
		c.LagSeconds = s.LastAt.Sub(a.At).Seconds()
	}
	return c
}
