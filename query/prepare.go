package query

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Prepare has a real server check the statement, and leaves nothing behind on the connection. What is wrong with it comes
// back as an [*Error] with Postgres's message and the line of the file that it means; any other error is one of the connection.
func (q *Query) Prepare(ctx context.Context, conn *pgx.Conn) error {
	// The unnamed statement: the next one replaces it.
	_, err := conn.PgConn().Prepare(ctx, "", q.Text, nil)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &Error{File: q.File, Line: q.lineOf(int(refused.Position)), Msg: message(refused), Err: err}
	}
	if err != nil {
		return fmt.Errorf("prepare the query %s: %w", q.Name, err)
	}
	return nil
}

// message is what Postgres says, in one line.
func message(e *pgconn.PgError) string {
	var msg strings.Builder
	fmt.Fprintf(&msg, "%s (SQLSTATE %s)", e.Message, e.Code)
	for _, more := range []struct{ label, text string }{{"detail", e.Detail}, {"hint", e.Hint}} {
		if more.text != "" {
			msg.WriteString("; " + more.label + ": " + more.text)
		}
	}
	return strings.ReplaceAll(msg.String(), "\n", " ")
}

// lineOf maps a position in Text, in characters counted from 1 as Postgres counts them, to a line of the file. A position
// in what we put around the statement, or none (0), is the statement as a whole: its first line.
func (q *Query) lineOf(position int) int {
	offset, n := -1, 0
	for i := range q.Text {
		if n++; n == position {
			offset = i
			break
		}
	}
	if offset < q.before || offset >= q.before+len(q.SQL) {
		return q.line
	}
	return q.line + strings.Count(q.Text[q.before:offset], "\n")
}
