package events

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// delivered is a message as far as its place among those of a consumer.
type delivered struct {
	jetstream.Msg
	consumer, stream uint64
}

func (d delivered) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Consumer: d.consumer, Stream: d.stream}}, nil
}

func TestLostMessageIsNoGap(t *testing.T) {
	var tail Tail
	require.NoError(t, tail.checkDelivery([]jetstream.Msg{delivered{consumer: 1, stream: 7}}))
	err := tail.checkDelivery([]jetstream.Msg{delivered{consumer: 3, stream: 9}})
	require.ErrorContains(t, err, "message 2 was lost on its way, 3 came")
	var gap *GapError
	require.NotErrorAs(t, err, &gap)
	require.Equal(t, uint64(7), tail.received)
}
