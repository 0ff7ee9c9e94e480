package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tailBuffer bounds the messages that wait to be taken, next to what the pull request allows for.
	tailBuffer = 256
	// pullBytes bounds what the server may send ahead.
	pullBytes = 4 << 20
	// requestTimeout bounds one request to JetStream.
	requestTimeout = 3 * time.Second
	// heartbeat is how often the server says that it has nothing to send; without two in a row the tail ends.
	heartbeat = time.Second
	// idleCheck is how long nothing may come before the stream's end is looked at. cdc publishes about once a second at least.
	idleCheck = 1200 * time.Millisecond
	// consumerLife is how long the server keeps the consumer of a tail whose end it was not told of.
	consumerLife = 30 * time.Second
)

// GapError says that the log does not go on where a reader has left it: the stream was deleted, purged or set back, or what comes next
// has expired. A reader that keeps a copy has to make it anew.
type GapError struct{ Reason string }

func (e *GapError) Error() string { return "the log has a gap: " + e.Reason }

// Tail is one uninterrupted reading of a log. Whoever needs more than one, across outages, uses Consume.
type Tail struct {
	JetStream jetstream.JetStream
	Source    string
	// After is the sequence of the stream after which to begin.
	After uint64
	// Tables are those whose changes to read; none: all. Watermarks and resets come in any case.
	Tables []Table
	// Batch is how many messages are handed on at once at most; 0: 256.
	Batch int

	received  uint64
	delivered uint64
}

// Run hands on what comes, in order and with nothing left out, until something fails: then the error is that of each, a GapError, or an
// outage, after which another Tail may go on. A message that waits for each to return holds up those after it.
func (t *Tail) Run(ctx context.Context, each func(context.Context, []jetstream.Msg) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.received = t.After
	if _, err := CheckEnd(ctx, t.JetStream, t.Source, t.After); err != nil {
		return err
	}
	consumer, err := t.createConsumer(ctx)
	if err != nil {
		return err
	}
	messages := make(chan jetstream.Msg, tailBuffer)
	failed := make(chan error, 1)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxBytes(pullBytes), jetstream.PullHeartbeat(heartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		select { // never blocks: the consumer holds its lock here
		case failed <- err:
		default:
		}
	}))
	if err != nil {
		return fmt.Errorf("consume the stream: %w", err)
	}
	defer func() {
		cancel()
		consuming.Stop()
		<-consuming.Closed()
	}()
	return t.handOn(ctx, consumer, messages, failed, each)
}

// createConsumer makes the tail's consumer. It is not one of the client's ordered ones: these recover by themselves, in tens of
// seconds; a tail that ends and begins again needs none.
func (t *Tail) createConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	t.delivered = 0
	consumer, err := t.JetStream.CreateConsumer(ctx, StreamName(t.Source), jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       t.After + 1,
		FilterSubjects:    subjectsOf(t.Source, t.Tables),
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerLife,
	})
	if err != nil {
		return nil, fmt.Errorf("consume the stream: %w", err)
	}
	return consumer, nil
}

// handOn hands on what comes until something fails. What the consumer reports ends the tail: to begin another one is cheap, and it
// looks at the stream again.
func (t *Tail) handOn(
	ctx context.Context, consumer jetstream.Consumer, messages <-chan jetstream.Msg, failed <-chan error, each func(context.Context, []jetstream.Msg) error,
) error {
	idle := time.NewTicker(idleCheck)
	defer idle.Stop()
	heard, behind := true, false
	for {
		select {
		case m := <-messages:
			batch := t.take(m, messages)
			if err := t.checkDelivery(batch); err != nil {
				return err
			}
			if err := each(ctx, batch); err != nil {
				return err
			}
			heard, behind = true, false
		case err := <-failed:
			return fmt.Errorf("consume the stream: %w", err)
		case <-idle.C:
			if heard {
				heard = false
				continue
			}
			more, err := t.more(ctx, consumer)
			if err != nil {
				return err
			}
			if more && behind { // twice: a message may just be on its way
				return errors.New("consume the stream: it has messages that do not come")
			}
			behind = more
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// subjectsOf are the subjects of tables, and of what is about all of them; none if there are no tables.
func subjectsOf(source string, tables []Table) []string {
	if len(tables) == 0 {
		return nil
	}
	subjects := []string{WatermarkSubject(source), ResetSubject(source)}
	for _, t := range tables {
		if s := ChangeSubject(source, t.Schema, t.Name); !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// more tells whether the stream has messages that did not come. Of other subjects it may have any number.
func (t *Tail) more(ctx context.Context, consumer jetstream.Consumer) (bool, error) {
	more, err := CheckEnd(ctx, t.JetStream, t.Source, t.received)
	if err != nil || !more || len(t.Tables) == 0 {
		return more, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("consume the stream: %w", err)
	}
	return info.NumPending > 0 || info.Delivered.Consumer > t.delivered, nil
}

// CheckEnd compares the stream with the sequence that the log was read up to; more tells whether there is more. A stream that ends
// before it is another one (deleted and created again) or has lost its tail, and a consumer would wait there until it has grown as
// long (selectStartingSeqNo in nats-server's server/consumer.go): not soon, if ever.
func CheckEnd(ctx context.Context, js jetstream.JetStream, source string, sequence uint64) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, StreamName(source))
	if err != nil {
		return false, fmt.Errorf("find the stream: %w", err)
	}
	state := stream.CachedInfo().State // just fetched
	switch {
	case state.LastSeq < sequence:
		return false, &GapError{fmt.Sprintf("the stream ends at sequence %d, before %d", state.LastSeq, sequence)}
	case state.FirstSeq > sequence+1:
		return false, &GapError{fmt.Sprintf("the stream begins at sequence %d, after %d (purged or expired)", state.FirstSeq, sequence+1)}
	}
	return state.LastSeq > sequence, nil
}

// take adds what has arrived meanwhile.
func (t *Tail) take(first jetstream.Msg, messages <-chan jetstream.Msg) []jetstream.Msg {
	most := t.Batch
	if most <= 0 {
		most = tailBuffer
	}
	batch := []jetstream.Msg{first}
	for len(batch) < most {
		select {
		case m := <-messages:
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}

// checkDelivery checks that the consumer has sent nothing that did not come. What was on its way when a connection broke is lost, and
// the consumer goes on after it: that is no gap of the log.
func (t *Tail) checkDelivery(batch []jetstream.Msg) error {
	for _, m := range batch {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read a message's metadata: %w", err)
		}
		if meta.Sequence.Consumer != t.delivered+1 {
			return fmt.Errorf("consume the stream: message %d was lost on its way, %d came", t.delivered+1, meta.Sequence.Consumer)
		}
		t.delivered++
		t.received = meta.Sequence.Stream
	}
	return nil
}
