package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// primary answers where its WAL ends, when the test lets it.
type primary struct {
	mu      sync.Mutex
	end     Mark
	asked   int // questions so far
	running int
	most    int // of them at the same time
	answer  chan struct{}
}

func newPrimary(end Mark) *primary { return &primary{end: end, answer: make(chan struct{})} }

// commit moves the end of the WAL.
func (p *primary) commit(end Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = end
}

// ask reads the end when it is called, and says it when the test lets it.
func (p *primary) ask(ctx context.Context) (Mark, error) {
	p.mu.Lock()
	p.asked++
	p.running++
	p.most = max(p.most, p.running)
	end := p.end
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
	}()
	select {
	case <-p.answer:
		return end, nil
	case <-ctx.Done():
		return Mark{}, ctx.Err()
	}
}

func (p *primary) questions() (asked, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, p.most
}

// However many want to know, one question is under way at a time, and all that arrive meanwhile share the next.
func TestEndsAreSharedByThoseWhoArriveBeforeTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(Mark{1, 100})
		e := ends{ask: p.ask}
		first := e.join(t.Context())
		synctest.Wait() // the question has been put
		p.commit(Mark{1, 200})
		var rest []*endRound
		for range 50 {
			rest = append(rest, e.join(t.Context()))
		}
		synctest.Wait()
		asked, _ := p.questions()
		require.Equal(t, 1, asked, "the second question waits for the first")

		p.answer <- struct{}{}
		got, err := first.wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, Mark{1, 100}, got)
		p.answer <- struct{}{}
		for _, round := range rest {
			got, err := round.wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, Mark{1, 200}, got, "who arrived after a question does not get its answer")
		}
		e.all.Wait()
		asked, most := p.questions()
		require.Equal(t, 2, asked)
		require.Equal(t, 1, most)

		// It begins again for whoever comes later.
		p.commit(Mark{1, 300})
		again := e.join(t.Context())
		p.answer <- struct{}{}
		got, err = again.wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, Mark{1, 300}, got)
		e.all.Wait()
	})
}

// Who began a question may go away: the others still get the answer.
func TestEndOutlivesWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(Mark{1, 100})
		e := ends{ask: p.ask}
		ctx, cancel := context.WithCancel(t.Context())
		round := e.join(ctx)
		synctest.Wait()
		cancel()
		_, err := round.wait(ctx)
		require.ErrorIs(t, err, context.Canceled)
		p.answer <- struct{}{}
		got, err := round.wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, Mark{1, 100}, got)
		e.all.Wait()
	})
}

// A primary that hangs does not hold up anybody for ever, and the next question is put.
func TestEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(Mark{1, 100})
		e := ends{ask: p.ask}
		began := time.Now()
		hung := e.join(t.Context())
		synctest.Wait()
		next := e.join(t.Context())
		_, err := hung.wait(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, endTimeout, time.Since(began))
		p.answer <- struct{}{}
		_, err = next.wait(t.Context())
		require.NoError(t, err)
		e.all.Wait()
	})
}

func TestEndFails(t *testing.T) {
	failure := errors.New("no connection")
	for name, tt := range map[string]struct {
		ask  func(context.Context) (Mark, error)
		want error
	}{
		"the question fails":     {func(context.Context) (Mark, error) { return Mark{}, failure }, failure},
		"there is nobody to ask": {nil, errNoEnd},
	} {
		t.Run(name, func(t *testing.T) {
			e := ends{ask: tt.ask}
			_, err := e.join(t.Context()).wait(t.Context())
			require.ErrorIs(t, err, tt.want)
			e.all.Wait()
		})
	}
}
