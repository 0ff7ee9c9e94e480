package cdc

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"freshet/events"
)

// Under a constant lag there are always more probes than are kept. The watermark's time must move on all the same.
func TestProbesSurviveAConstantLag(t *testing.T) {
	const lag = 1_000
	begin := time.Now()
	p := &publisher{}
	covered := time.Duration(0)
	for i := range 10 * lag {
		p.remember(probe{position: events.Position(i), at: begin.Add(time.Duration(i) * time.Millisecond)})
		require.LessOrEqual(t, len(p.probes), probesKept)
		for len(p.probes) > 0 && int(p.probes[0].position) <= i-lag {
			covered = p.probes[0].at.Sub(begin)
			p.probes = p.probes[1:]
		}
		if i >= 2*lag {
			behind := time.Duration(i)*time.Millisecond - covered
			require.Less(t, behind, 2*lag*time.Millisecond, "at %d", i)
		}
	}
}

func TestSurveyFindsTheUnfinishedTransaction(t *testing.T) {
	part := func(p events.Position) item { return item{body: &events.Body{Position: p}, xid: uint32(p)} }
	last := func(p events.Position) item {
		it := part(p)
		it.end = p + 5
		return it
	}
	for _, tt := range []struct {
		name  string
		open  events.Position
		batch []item
		xids  []uint32
		want  events.Position
	}{
		{"nothing", 0, nil, nil, 0},
		{"whole transactions", 0, []item{part(10), last(10), last(20)}, []uint32{10, 20}, 0},
		{"one that goes on", 0, []item{last(10), part(20), part(20)}, []uint32{10, 20}, 20},
		{"one that has begun before", 10, []item{part(10)}, []uint32{10}, 10},
		{"one that has begun before, and its end", 10, []item{last(10)}, []uint32{10}, 0},
		{"a keepalive within", 0, []item{part(20), {end: 18}}, []uint32{20}, 20},
		{"a keepalive at the commit record", 20, []item{{end: 20}}, nil, 20},
		{"a keepalive behind one that the log had already", 20, []item{{end: 30}}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			xids, open := (&publisher{open: tt.open}).survey(tt.batch)
			require.Equal(t, tt.xids, xids)
			require.Equal(t, tt.want, open)
		})
	}
}

func TestBatchIsBoundedInBytes(t *testing.T) {
	items := make(chan item, batchItems)
	body := &events.Body{Data: make([]byte, events.MaxMessageBytes)}
	for range cap(items) {
		items <- item{body: body}
	}
	batch, more := take(item{body: body}, items)
	require.True(t, more)
	require.Len(t, batch, batchBytes/events.MaxMessageBytes)
}

// unanswered is a message that a stream has swallowed, as it can in the moment of its deletion.
type unanswered struct{}

func (unanswered) Ok() <-chan *jetstream.PubAck { return nil }
func (unanswered) Err() <-chan error            { return nil }
func (unanswered) Msg() *nats.Msg               { return nil }

func TestMessageThatIsNeverAnswered(t *testing.T) {
	wait := func(refused chan error) (took time.Duration, err error) {
		p := &publisher{acks: make(chan sent, 1), window: semaphore.NewWeighted(1), refused: refused}
		p.acks <- sent{future: unanswered{}, sequence: 7}
		began := time.Now()
		err = p.collect(t.Context())
		return time.Since(began), err
	}
	t.Run("a later one is refused", func(t *testing.T) {
		t.Parallel()
		gone := errors.New("no such stream")
		refused := make(chan error, 1)
		refused <- gone
		took, err := wait(refused)
		require.ErrorIs(t, err, gone)
		require.Less(t, took, publishTimeout)
	})
	t.Run("nor is anything else", func(t *testing.T) {
		t.Parallel()
		took, err := wait(nil)
		require.ErrorContains(t, err, "stream sequence 7: no acknowledgement")
		require.Less(t, took, publishTimeout+time.Second)
	})
}
