package cdc_test

import (
	"strconv"

	"github.com/stretchr/testify/require"

	"freshet/events"
)

// logState is what has been read of a log, while it is checked against what every consumer may rely on.
type logState struct {
	decode   func([]byte) (*events.Changes, error) // nil means events.DecodeChanges
	resets   []string                              // their reasons
	sessions []string
	resumed  int // sessions that went on within a transaction
	largest  int // the largest body of a change message

	watermark events.Position
	open      bool            // a transaction has begun and not ended
	position  events.Position // of the last transaction
	sequence  int64           // changes of it so far
}

// verify reads the log up to a watermark, and checks it: no hole, every transaction once, whole and in order, watermarks
// that never go back and never promise what comes later. each, if not nil, is called with every change message.
func (r *reader) verify(s *logState, until events.Position, each func(*events.Changes)) {
	r.t.Helper()
	for s.watermark < until || s.open {
		m := r.next()
		kind, err := events.SubjectKind(m.Subject())
		require.NoError(r.t, err)
		r.session(s, kind, m.Headers().Get(events.HeaderSession), m.Headers().Get(events.HeaderPrevious))
		switch kind {
		case events.KindReset:
			reset, err := events.DecodeReset(m.Data())
			require.NoError(r.t, err)
			*s = logState{decode: s.decode, resets: append(s.resets, reset.Reason), sessions: s.sessions, watermark: reset.Position}
		case events.KindWatermark:
			w, err := events.DecodeWatermark(m.Data())
			require.NoError(r.t, err)
			r.checkWatermark(s, w, m.Headers().Get(events.HeaderPublished))
		case events.KindChange:
			s.largest = max(s.largest, len(m.Data()))
			decode := s.decode
			if decode == nil {
				decode = events.DecodeChanges
			}
			c, err := decode(m.Data())
			require.NoError(r.t, err)
			r.checkChanges(s, c)
			if each != nil {
				each(c)
			}
		}
	}
}

// session checks that each session says which one it follows.
func (r *reader) session(s *logState, kind events.Kind, session, previous string) {
	r.t.Helper()
	require.NotEmpty(r.t, session)
	if n := len(s.sessions); n > 0 && s.sessions[n-1] == session {
		return
	} else if n > 0 && kind != events.KindReset {
		require.Equal(r.t, s.sessions[n-1], previous, "a session that follows another than the one before it")
	}
	s.sessions = append(s.sessions, session)
}

func (r *reader) checkWatermark(s *logState, w *events.Watermark, published string) {
	r.t.Helper()
	require.GreaterOrEqual(r.t, w.Position, s.watermark, "the watermark went back")
	if s.open || published != "" {
		require.Equal(r.t, strconv.FormatInt(s.sequence, 10), published, "a watermark within a transaction")
		require.Equal(r.t, s.position, w.Position)
	}
	if s.open {
		s.resumed++
	}
	s.watermark = w.Position
}

func (r *reader) checkChanges(s *logState, c *events.Changes) {
	r.t.Helper()
	require.GreaterOrEqual(r.t, c.Position, s.watermark, "a change that a watermark promised before")
	if s.open {
		require.Equal(r.t, s.position, c.Position, "a transaction within another one")
	} else {
		require.Greater(r.t, c.Position, s.position, "a transaction that came before")
		s.sequence = 0
	}
	require.Equal(r.t, s.sequence, c.Sequence, "a change is missing, or was there before, in the transaction at %s", c.Position)
	s.position, s.sequence, s.open = c.Position, c.Sequence+int64(len(c.Changes)), !c.Last
}
