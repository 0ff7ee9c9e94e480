package invalidator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
)

const (
	// buffer bounds the messages that wait to be applied, next to what the pull request allows for.
	buffer = 256
	// pullBytes bounds what the server may send ahead.
	pullBytes = 4 << 20
	// requestTimeout bounds one request to JetStream.
	requestTimeout = 3 * time.Second
	// heartbeat is how often the server says that it has nothing to send; without two in a row the session ends.
	heartbeat = time.Second
	// idleCheck is how long nothing may come before the stream's end is looked at. cdc publishes about once a second at least.
	idleCheck = 1200 * time.Millisecond
	// consumerLife is how long the server keeps the consumer of a session whose end it was not told of.
	consumerLife = 30 * time.Second
)

// consume applies the log from the state's sequence on.
func (a *applier) consume(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.received = a.state.Sequence
	if _, err := a.checkEnd(ctx, a.received); err != nil {
		return err
	}
	consumer, err := a.createConsumer(ctx)
	if err != nil {
		return err
	}
	messages := make(chan jetstream.Msg, buffer)
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
	return a.applyAll(ctx, messages, failed)
}

// createConsumer makes the session's consumer. It is not one of the client's ordered ones: these recover by themselves, in tens of
// seconds; a session that ends and begins again needs none.
func (a *applier) createConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a.delivered = 0
	consumer, err := a.cfg.JetStream.CreateConsumer(ctx, events.StreamName(a.cfg.Source), jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       a.state.Sequence + 1,
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

// applyAll applies what comes until something fails. What the consumer reports ends the session: to begin another one is
// cheap, and it looks at the stream again.
func (a *applier) applyAll(ctx context.Context, messages <-chan jetstream.Msg, failed <-chan error) error {
	idle := time.NewTicker(idleCheck)
	defer idle.Stop()
	heard, behind := true, false
	for {
		select {
		case m := <-messages:
			batch := a.take(m, messages)
			if err := a.checkDelivery(batch); err != nil {
				return err
			}
			if err := a.apply(ctx, batch); err != nil {
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
			more, err := a.checkEnd(ctx, a.received)
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

// checkEnd compares the stream with the sequence that the log was received or applied up to; more tells whether there is more. A
// stream that ends before it is another one (deleted and created again) or has lost its tail, and a consumer would wait there
// until it has grown as long (selectStartingSeqNo in nats-server's server/consumer.go): not soon, if ever.
func (a *applier) checkEnd(ctx context.Context, sequence uint64) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := a.cfg.JetStream.Stream(ctx, events.StreamName(a.cfg.Source))
	if err != nil {
		return false, fmt.Errorf("find the stream: %w", err)
	}
	state := stream.CachedInfo().State // just fetched
	switch {
	case state.LastSeq < sequence:
		return false, &gapError{fmt.Sprintf("the stream ends at sequence %d, before %d", state.LastSeq, sequence)}
	case state.FirstSeq > sequence+1:
		return false, &gapError{fmt.Sprintf("the stream begins at sequence %d, after %d (purged or expired)", state.FirstSeq, sequence+1)}
	}
	return state.LastSeq > sequence, nil
}

// take adds what has arrived meanwhile.
func (a *applier) take(first jetstream.Msg, messages <-chan jetstream.Msg) []jetstream.Msg {
	batch := []jetstream.Msg{first}
	for len(batch) < batchMessages {
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
func (a *applier) checkDelivery(batch []jetstream.Msg) error {
	for _, m := range batch {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read a message's metadata: %w", err)
		}
		if meta.Sequence.Consumer != a.delivered+1 {
			return fmt.Errorf("consume the stream: message %d was lost on its way, %d came", a.delivered+1, meta.Sequence.Consumer)
		}
		a.delivered++
	}
	return nil
}
