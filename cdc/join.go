package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/events"
)

// streamEnd is where the log stands: its last message.
type streamEnd struct {
	sequence uint64 // 0: the stream never had a message
	// known is false if the last message cannot be read (the stream was purged, or everything in it has expired).
	known   bool
	session string
	resume  resumePoint
	at      time.Time // of the watermark, if the last message is one
}

// readStreamEnd reads the last message of the stream.
func readStreamEnd(ctx context.Context, stream jetstream.Stream) (streamEnd, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	info, err := stream.Info(ctx)
	if err != nil {
		return streamEnd{}, fmt.Errorf("read the state of the stream: %w", err)
	}
	end := streamEnd{sequence: info.State.LastSeq}
	if info.State.Msgs == 0 {
		return end, nil
	}
	m, err := stream.GetMsg(ctx, info.State.LastSeq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return end, nil
	}
	if err != nil {
		return end, fmt.Errorf("read the last message of the stream: %w", err)
	}
	return end, end.read(m)
}

func (e *streamEnd) read(m *jetstream.RawStreamMsg) error {
	kind, err := events.SubjectKind(m.Subject)
	if err != nil {
		return fmt.Errorf("the stream holds a foreign message at sequence %d: %w", m.Sequence, err)
	}
	e.session = m.Header.Get(events.HeaderSession)
	switch kind {
	case events.KindChange:
		c, err := events.DecodeChanges(m.Data)
		if err != nil {
			return err
		}
		e.resume = resumePoint{position: c.Position, skip: c.Sequence + int64(len(c.Changes))}
	case events.KindWatermark:
		w, err := events.DecodeWatermark(m.Data)
		if err != nil {
			return err
		}
		e.resume, e.at = resumePoint{position: w.Position}, w.At
		if n := m.Header.Get(events.HeaderPublished); n != "" {
			if e.resume.skip, err = strconv.ParseInt(n, 10, 64); err != nil {
				return fmt.Errorf("header %s of the stream's last message: %w", events.HeaderPublished, err)
			}
		}
	case events.KindReset:
		r, err := events.DecodeReset(m.Data)
		if err != nil {
			return err
		}
		e.resume = resumePoint{position: r.Position}
	}
	e.known = true
	return nil
}

// continuity is the row of freshet.continuity: which database, and which cdc sessions, the stream should be of. Kept in the
// database itself, it goes back in time with it when a backup is restored, and that shows.
type continuity struct {
	found             bool
	session, previous string
	system            string
	timeline          int32
	// unbroken is false if the server has recovered from a crash since the log began: what could be seen on it may be lost.
	unbroken bool
}

func readContinuity(ctx context.Context, conn *pgx.Conn, source string) (continuity, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	c := continuity{found: true}
	err := conn.QueryRow(ctx, `SELECT session, previous, system_identifier, timeline,
		EXISTS (SELECT FROM freshet.incarnation i WHERE i.source = c.source) FROM freshet.continuity c WHERE source = $1`,
		source).Scan(&c.session, &c.previous, &c.system, &c.timeline, &c.unbroken)
	if errors.Is(err, pgx.ErrNoRows) {
		return continuity{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read freshet.continuity: %w", err)
	}
	return c, nil
}

// writeContinuity says that session is the one that writes the stream, after previous. It must stand before the session's
// first message: whichever of the two the stream then ends with, it is known.
func writeContinuity(ctx context.Context, conn *pgx.Conn, source string, c continuity) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, `INSERT INTO freshet.continuity (source, session, previous, system_identifier, timeline, updated_at)
		VALUES ($1, $2, $3, $4, $5, now())
		ON CONFLICT (source) DO UPDATE SET session = excluded.session, previous = excluded.previous,
			system_identifier = excluded.system_identifier, timeline = excluded.timeline, updated_at = excluded.updated_at`,
		source, c.session, c.previous, c.system, c.timeline)
	if err != nil {
		return fmt.Errorf("write freshet.continuity: %w", err)
	}
	return nil
}

// forgetContinuity makes the next start publish a reset, whatever happens before this one has.
func forgetContinuity(ctx context.Context, conn *pgx.Conn, source string) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, `DELETE FROM freshet.continuity WHERE source = $1`, source); err != nil {
		return fmt.Errorf("write freshet.continuity: %w", err)
	}
	return nil
}

// incarnate says that the log follows the server from here on. It must stand only once the reset is in the stream: a start that is
// interrupted in between publishes another one.
func incarnate(ctx context.Context, conn *pgx.Conn, source, session string) error {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, `INSERT INTO freshet.incarnation (source, session) VALUES ($1, $2)
		ON CONFLICT (source) DO UPDATE SET session = excluded.session, created_at = now()`, source, session)
	if err != nil {
		return fmt.Errorf("write freshet.incarnation: %w", err)
	}
	return nil
}

// server is what IDENTIFY_SYSTEM says.
type server struct {
	system   string
	timeline int32
	flushed  events.Position
}

// loss is why the log begins anew.
type loss struct {
	label  string // one of a few words, for a metric
	reason string // for people
}

// gap compares what the three keepers of the past say and returns why the log cannot simply be continued, no loss if it can.
func gap(srv server, slot slotState, end streamEnd, c continuity) loss {
	switch {
	case !slot.exists:
		return loss{"slot-new", "the replication slot is new"}
	case slot.lost:
		return loss{"slot-lost", "the replication slot was invalidated: Postgres has removed WAL that it needed (max_slot_wal_keep_size)"}
	case slot.unreadable:
		return loss{"publication-dropped", "the publication was dropped for a while: what was changed meanwhile cannot be decoded"}
	case end.sequence == 0:
		return loss{"stream-new", "the stream is new"}
	case !end.known:
		return loss{"stream-purged", "the stream's last message is gone (purged or expired)"}
	case !c.found:
		return loss{"no-record", "the database has no continuity record"}
	case c.system != srv.system:
		return loss{"other-cluster", "the database belongs to another Postgres cluster than the stream"}
	case c.timeline != srv.timeline:
		return loss{"promoted", fmt.Sprintf("Postgres was promoted or restored: timeline %d, was %d", srv.timeline, c.timeline)}
	case !c.unbroken:
		return loss{"crashed", "Postgres has recovered from a crash, or from a copy of its storage: what could be seen before may be lost"}
	case end.session != c.session && end.session != c.previous:
		return loss{"restored", "the stream and the database are of different times (one of them was restored from a backup)"}
	case end.resume.position < slot.confirmed:
		return loss{"stream-behind", fmt.Sprintf("the stream ends at %s, but the slot was confirmed up to %s", end.resume.position, slot.confirmed)}
	case end.resume.position > srv.flushed:
		return loss{"stream-ahead", fmt.Sprintf("the stream ends at %s, but the server's WAL at %s", end.resume.position, srv.flushed)}
	}
	return loss{}
}
