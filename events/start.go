package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Cursor is a place in a log: just after a message. The session tells one log from another that has taken its place: sequences alone
// are given out again when a stream is made anew or its storage is set back. Its text is SEQUENCE@SESSION.
type Cursor struct {
	Sequence uint64
	Session  string
}

// String is the text of the cursor.
func (c Cursor) String() string { return strconv.FormatUint(c.Sequence, 10) + "@" + c.Session }

// MarshalText makes a Cursor a JSON string.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Cursor) UnmarshalText(text []byte) error {
	got, err := ParseCursor(string(text))
	if err != nil {
		return err
	}
	*c = got
	return nil
}

// ParseCursor reads the text of a cursor.
func ParseCursor(s string) (Cursor, error) {
	number, session, ok := strings.Cut(s, "@")
	sequence, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return Cursor{}, fmt.Errorf("%q is not a cursor: expected SEQUENCE@SESSION, as it was printed", s)
	}
	return Cursor{Sequence: sequence, Session: session}, nil
}

// Start is where to begin to read a log. The zero value is the oldest message.
type Start struct {
	kind     startKind
	cursor   Cursor
	position Position
	time     time.Time
}

type startKind int

const (
	fromOldest startKind = iota
	fromNewest
	afterCursor
	fromSequence
	fromPosition
	fromTime
)

// FromOldest begins with the oldest message that the log still has.
func FromOldest() Start { return Start{} }

// FromNewest begins with what comes from now on.
func FromNewest() Start { return Start{kind: fromNewest} }

// After goes on after a message.
func After(c Cursor) Start { return Start{kind: afterCursor, cursor: c} }

// FromSequence begins with a message of the stream.
func FromSequence(n uint64) Start { return Start{kind: fromSequence, cursor: Cursor{Sequence: n}} }

// FromPosition begins with the first transaction whose commit record is at or above a position of the WAL, since the log began anew the
// last time: positions before that are of another server, or of another life of it.
func FromPosition(p Position) Start { return Start{kind: fromPosition, position: p} }

// Since begins with what was committed at a time or later, by the clock of the Postgres server.
func Since(t time.Time) Start { return Start{kind: fromTime, time: t} }

// ExpiredError says that the log does not reach back as far as was asked for.
type ExpiredError struct {
	// Asked is what was asked for.
	Asked string
	// Oldest is the oldest message that there is, or the one that the log began anew with, Position and Time those of it.
	Oldest   uint64
	Position Position
	Time     time.Time
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the log does not reach back to %s: the oldest is sequence %d, position %s, of %s",
		e.Asked, e.Oldest, e.Position, e.Time.UTC().Format(time.RFC3339))
}

// clockMargin is how much earlier than it was committed a message may seem to be stored: the clocks are of two machines.
const clockMargin = time.Minute

// locate finds the place, and since when what was committed counts.
func (s Start) locate(ctx context.Context, l *locator) (at Cursor, since time.Time, err error) {
	switch s.kind {
	case fromOldest:
		return l.before(l.state.FirstSeq), since, nil
	case fromNewest:
		return Cursor{Sequence: l.state.LastSeq}, since, nil
	case afterCursor:
		return s.cursor, since, l.check(ctx, s.cursor)
	case fromSequence:
		n := s.cursor.Sequence
		if n < l.state.FirstSeq {
			return at, since, l.expired(ctx, l.state.FirstSeq, fmt.Sprintf("sequence %d", n))
		}
		if n > l.state.LastSeq+1 {
			return at, since, &GapError{fmt.Sprintf("the stream ends at sequence %d, before %d", l.state.LastSeq, n)}
		}
		return l.before(n), since, nil
	case fromPosition:
		at, err = l.position(ctx, s.position)
		return at, since, err
	case fromTime:
		at, err = l.time(ctx, s.time)
		return at, s.time, err
	}
	return at, since, errors.New("no such start")
}

// locator finds places in a stream.
type locator struct {
	js     jetstream.JetStream
	source string
	stream jetstream.Stream
	state  jetstream.StreamState
}

func (l *locator) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	if l.stream, err = l.js.Stream(ctx, StreamName(l.source)); err != nil {
		return fmt.Errorf("find the stream: %w", err)
	}
	l.state = l.stream.CachedInfo().State // just fetched
	return nil
}

// before is the place before a sequence. The first sequence of an empty stream is one above the last, or 0.
func (l *locator) before(sequence uint64) Cursor { return Cursor{Sequence: max(1, sequence) - 1} }

// last is the sequence of the last message of subjects; that of the stream if there are none.
func (l *locator) last(ctx context.Context, subjects []string) (sequence uint64, err error) {
	if len(subjects) == 0 {
		return l.state.LastSeq, nil
	}
	for _, s := range subjects {
		m, err := l.lastOf(ctx, s)
		if err != nil {
			return 0, err
		}
		if m != nil {
			sequence = max(sequence, m.Sequence)
		}
	}
	return sequence, nil
}

// lastOf is the last message of a subject, nil if there is none.
func (l *locator) lastOf(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := l.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	if err != nil {
		return nil, fmt.Errorf("find the last message of %s: %w", subject, err)
	}
	return m, nil
}

// get is the message at a sequence, nil if it is gone.
func (l *locator) get(ctx context.Context, sequence uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := l.stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // it has expired, and that is no error
	}
	if err != nil {
		return nil, fmt.Errorf("read the message at stream sequence %d: %w", sequence, err)
	}
	return m, nil
}

// check checks that a cursor is a place in this log.
func (l *locator) check(ctx context.Context, c Cursor) error {
	switch {
	case c.Sequence > l.state.LastSeq:
		return &GapError{fmt.Sprintf("the stream ends at sequence %d, before %d", l.state.LastSeq, c.Sequence)}
	case c.Sequence+1 < l.state.FirstSeq:
		return l.expired(ctx, l.state.FirstSeq, fmt.Sprintf("sequence %d", c.Sequence+1))
	case c.Sequence == 0 || c.Session == "":
		return nil
	}
	m, err := l.get(ctx, c.Sequence)
	if err != nil || m == nil { // just expired: the message after it tells
		return err
	}
	if session := m.Header.Get(HeaderSession); session != c.Session {
		return &GapError{fmt.Sprintf("the message at stream sequence %d is of session %s, not of %s: it is another log", c.Sequence, session, c.Session)}
	}
	return nil
}

// search finds the first message from first on that is late enough. Times and positions never go back in a log between two resets.
func (l *locator) search(ctx context.Context, first uint64, late func(*jetstream.RawStreamMsg) (bool, error)) (uint64, error) {
	var failed error
	n := sort.Search(int(l.state.LastSeq+1-first), func(i int) bool {
		if failed != nil {
			return true
		}
		m, err := l.get(ctx, first+uint64(i))
		if err != nil {
			failed = err
			return true
		}
		if m == nil { // it has expired meanwhile: too early
			return false
		}
		is, err := late(m)
		if err != nil {
			failed = err
		}
		return is
	})
	return first + uint64(n), failed
}

// position finds the first message at or above a position.
func (l *locator) position(ctx context.Context, p Position) (Cursor, error) {
	first := max(1, l.state.FirstSeq)
	reset, err := l.lastOf(ctx, ResetSubject(l.source))
	if err != nil {
		return Cursor{}, err
	}
	if reset != nil {
		first = max(first, reset.Sequence)
	}
	found, err := l.search(ctx, first, func(m *jetstream.RawStreamMsg) (bool, error) {
		at, err := positionOf(m)
		return at >= p, err
	})
	if err != nil {
		return Cursor{}, err
	}
	// Whether something was there before the oldest message, nobody can tell.
	if found == first && l.state.LastSeq >= first {
		m, err := l.get(ctx, first)
		if err != nil {
			return Cursor{}, err
		}
		if m != nil {
			at, err := positionOf(m)
			if err != nil {
				return Cursor{}, err
			}
			if at > p {
				return Cursor{}, l.expired(ctx, first, "position "+p.String())
			}
		}
	}
	return l.before(found), nil
}

// time finds the first message that may be of what was committed at t or later.
func (l *locator) time(ctx context.Context, t time.Time) (Cursor, error) {
	first := max(1, l.state.FirstSeq)
	from := t.Add(-clockMargin)
	found, err := l.search(ctx, first, func(m *jetstream.RawStreamMsg) (bool, error) { return !m.Time.Before(from), nil })
	if err != nil {
		return Cursor{}, err
	}
	// What was before the first message of a stream that has lost none was never there.
	if found == first && first > 1 && l.state.LastSeq >= first && l.state.FirstTime.After(t) {
		return Cursor{}, l.expired(ctx, first, t.UTC().Format(time.RFC3339))
	}
	return l.before(found), nil
}

// expired makes the error that says how far back the log reaches.
func (l *locator) expired(ctx context.Context, oldest uint64, asked string) error {
	e := &ExpiredError{Asked: asked, Oldest: oldest}
	m, err := l.get(ctx, oldest)
	if err != nil {
		return err
	}
	if m != nil {
		e.Time = m.Time
		if e.Position, err = positionOf(m); err != nil {
			return err
		}
	}
	return e
}

// positionOf is the position that a message is about.
func positionOf(m *jetstream.RawStreamMsg) (Position, error) {
	var body struct {
		Position Position `json:"position"`
	}
	if err := decode(m.Data, &body); err != nil {
		return 0, fmt.Errorf("cannot read the message at stream sequence %d: %w", m.Sequence, err)
	}
	return body.Position, nil
}

// LastWatermark is the place of the log's last watermark: whatever stands before it is visible to every new snapshot.
func LastWatermark(ctx context.Context, js jetstream.JetStream, source string) (Cursor, error) {
	l := locator{js: js, source: source}
	if err := l.open(ctx); err != nil {
		return Cursor{}, err
	}
	m, err := l.lastOf(ctx, WatermarkSubject(source))
	if err != nil {
		return Cursor{}, err
	}
	if m == nil {
		return Cursor{}, fmt.Errorf("the log of the source %q has no watermark yet: does `freshet cdc` run?", source)
	}
	return Cursor{Sequence: m.Sequence, Session: m.Header.Get(HeaderSession)}, nil
}

// LoggedTables are the tables that the log has changes of.
func LoggedTables(ctx context.Context, js jetstream.JetStream, source string) ([]Table, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, StreamName(source))
	if err != nil {
		return nil, fmt.Errorf("find the stream: %w", err)
	}
	prefix := ChangeSubject(source, "", "")
	prefix = strings.TrimSuffix(prefix, ".")
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, fmt.Errorf("list the subjects of the stream: %w", err)
	}
	var tables []Table
	for subject := range info.State.Subjects {
		schema, table, _ := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
		t := Table{}
		if t.Schema, err = UnescapeToken(schema); err != nil {
			return nil, err
		}
		if t.Name, err = UnescapeToken(table); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	slices.SortFunc(tables, func(a, b Table) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), strings.Compare(a.Name, b.Name))
	})
	return tables, nil
}
