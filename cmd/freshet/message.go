package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// message is an error as the terminal shows it. The driver lists each attempt to connect on a line of its own, the same twice if
// it tried with and without TLS: an outage is one line, and says where the address comes from.
func message(err error) string {
	text := err.Error()
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		short := oneLine(connect.Error()) + " (DATABASE_URL says where Postgres is: does it run there?)"
		text = strings.Replace(text, connect.Error(), short, 1)
	}
	return text
}

// oneLine joins lines and leaves out those that repeat.
func oneLine(text string) string {
	var joined strings.Builder
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || seen[line] {
			continue
		}
		seen[line] = true
		switch so := joined.String(); {
		case so == "":
		case strings.HasSuffix(so, ":"):
			joined.WriteByte(' ')
		default:
			joined.WriteString("; ")
		}
		joined.WriteString(line)
	}
	return joined.String()
}

// withoutUser is a list of URLs without the user, the password or the token in them.
func withoutUser(urls string) string {
	parts := strings.Split(urls, ",")
	for i, part := range parts {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.User != nil {
			u.User = nil
			parts[i] = u.String()
		}
	}
	return strings.Join(parts, ",")
}

// unlessStopped makes a stop that came while the process was still starting an ordinary end.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
