package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"freshet/events"
	"freshet/internal/config"
	"freshet/replay"
)

// notThere is the exit status of a replay of what the log does not have, or no longer.
const notThere = 2

// replaying is the command `freshet replay`.
type replaying struct {
	nats   config.NATS
	source config.Source
	log    config.Log

	since, until, position, after string
	sequence                      uint64
	tables                        []string
	where, format, to, snapshot   string
	follow                        bool
	url                           string
}

func replayCommand() *cobra.Command {
	r := &replaying{}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Print what was changed, from the log, or publish it again",
		Long: `Prints the changes in the log in the order in which they were committed, a line for each, to its present end; with --follow also what
comes then. Without a beginning it is the last hour, with --follow what comes from now on. It reads ahead no further than what it prints is taken, and waits out outages.

With --snapshot TABLE: the rows of the table as they are now, and then every change of it, none missing and none twice (--follow).

Every line of --format json has a cursor; --after with the last one goes on there. Exit status 2 if the log does not reach back as far
as was asked for, or is another one than the cursor's.`,
		Example: `  freshet replay --since 10m --format table
  freshet replay --table blogs --where 'new.status = published and old.status != published' --follow
  freshet replay --since oldest --table attempts --to export.attempts
  freshet replay --snapshot blogs --follow`,
	}
	f := cmd.Flags()
	f.StringVar(&r.since, "since", "", "begin with what was committed so long ago (2h), at a time (2026-02-03T04:05:06Z), or with the oldest")
	f.StringVar(&r.position, "from-position", "", "begin with the first transaction at or above a position of the WAL (LSN)")
	f.Uint64Var(&r.sequence, "from-sequence", 0, "begin with a message of the stream")
	f.StringVar(&r.after, "after", "", "go on after a cursor that was printed")
	f.StringVar(&r.until, "until", "", "end with what was committed so long ago, or at a time, that excluded")
	f.StringArrayVar(&r.tables, "table", nil, "only changes of this table, TABLE or SCHEMA.TABLE; may be repeated")
	f.StringVar(&r.where, "where", "", "only changes of which a condition holds, such as 'new.status = published and op = update'")
	f.StringVar(&r.format, "format", replay.JSON, "form of what is printed: "+strings.Join(replay.Formats(), ", "))
	f.StringVar(&r.to, "to", "", "publish each change, as JSON, to this NATS subject, which a stream must take, instead of printing it")
	f.StringVar(&r.snapshot, "snapshot", "", "begin with the rows of this table as they are now; needs --database-url")
	f.BoolVar(&r.follow, "follow", false, "go on with what comes, until Ctrl-C")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		return r.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}, &r.nats, &r.source, &r.log, (*replayDatabase)(&r.url))
}

// replayDatabase is the database of a snapshot: nothing else needs one.
type replayDatabase string

// Register adds the setting to s.
func (d *replayDatabase) Register(s *config.Set) {
	s.URL((*string)(d), "database-url", "DATABASE_URL", "", "the source database, for --snapshot", []string{"postgres", "postgresql"})
}

func (r *replaying) run(ctx context.Context, out, errOut io.Writer) error {
	o, err := r.options()
	if err != nil {
		return err
	}
	conn, err := connectNATS(r.nats, "freshet replay", r.log.Logger(errOut))
	if err != nil {
		return err
	}
	defer conn.Close()
	if o.JetStream, err = jetstream.New(conn); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	o.Retrying = func(err error, in time.Duration) {
		r.log.Logger(errOut).Warn("the log cannot be read; trying again", "error", err, "in", in)
	}
	if err := r.checkTables(ctx, o, errOut); err != nil {
		return err
	}
	var to replay.Sink
	printer := replay.NewPrinter(out, r.format, r.follow)
	if to = printer; r.to != "" {
		to = &replay.Publisher{JetStream: o.JetStream, Subject: r.to}
	}
	err = r.replay(ctx, o, to, r.reporter(out, errOut))
	if flushed := printer.Flush(); err == nil {
		err = flushed
	}
	return r.outcome(err)
}

// outcome gives errors their exit status. Whoever stops a replay that follows the log has seen what he wanted.
func (r *replaying) outcome(err error) error {
	if gone := (*events.ExpiredError)(nil); errors.As(err, &gone) {
		return &statusError{fmt.Errorf("%w; --since oldest begins there", err), notThere}
	}
	if gap := (*events.GapError)(nil); errors.As(err, &gap) {
		return &statusError{err, notThere}
	}
	if r.follow && errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// replay replays, and counts on errOut where that is a terminal and out is not.
func (r *replaying) replay(ctx context.Context, o replay.Options, to replay.Sink, counted io.Writer) error {
	var tally replay.Tally
	var done atomic.Pointer[replay.Tally]
	done.Store(&replay.Tally{})
	if counted != nil {
		began := time.Now()
		defer showProgress(counted, func() string {
			t := done.Load()
			return fmt.Sprintf("%s changes read, %s selected (%s/s), at sequence %d", number(t.Changes), number(t.Selected),
				number(int64(float64(t.Changes)/time.Since(began).Seconds())), t.Last.Sequence)
		})()
	}
	to = counting{to, &tally, &done}
	if r.snapshot != "" {
		return replay.Snapshot(ctx, r.url, r.source.Publication, parseTable(r.snapshot), o, to, &tally)
	}
	return replay.Run(ctx, o, to, &tally)
}

// counting is a Sink that lets somebody else see how far it is.
type counting struct {
	replay.Sink
	tally *replay.Tally
	done  *atomic.Pointer[replay.Tally]
}

func (c counting) Write(ctx context.Context, raw *events.Message, selected []replay.Event) error {
	now := *c.tally
	c.done.Store(&now)
	return c.Sink.Write(ctx, raw, selected)
}

// reporter is where progress is shown: on a terminal that nothing else is printed on; nil if there is none.
func (r *replaying) reporter(out, errOut io.Writer) io.Writer {
	if !isTerminal(errOut) || r.to == "" && isTerminal(out) {
		return nil
	}
	return errOut
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (r *replaying) options() (o replay.Options, err error) {
	o = replay.Options{Source: r.source.Name, Follow: r.follow}
	if !slices.Contains(replay.Formats(), r.format) {
		return o, fmt.Errorf("--format %q must be one of %s", r.format, strings.Join(replay.Formats(), ", "))
	}
	if r.snapshot != "" && r.url == "" {
		return o, errors.New("--snapshot needs --database-url (DATABASE_URL)")
	}
	if o.From, err = r.from(time.Now()); err != nil {
		return o, err
	}
	if r.until != "" {
		if o.Until, err = events.ParseWhen(r.until, time.Now()); err != nil {
			return o, fmt.Errorf("--until %w", err)
		}
	}
	if r.where != "" {
		if o.Where, err = replay.ParseWhere(r.where); err != nil {
			return o, fmt.Errorf("--where: %w", err)
		}
	}
	for _, t := range r.tables {
		o.Tables = append(o.Tables, parseTable(t))
	}
	return o, nil
}

// from is the beginning that was asked for.
func (r *replaying) from(now time.Time) (start events.Start, err error) {
	given := 0
	for _, is := range []bool{r.since != "", r.position != "", r.sequence != 0, r.after != "", r.snapshot != ""} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return start, errors.New("choose one of --since, --from-position, --from-sequence, --after and --snapshot")
	case r.since == "oldest":
		return events.FromOldest(), nil
	case r.since != "":
		t, err := events.ParseWhen(r.since, now)
		if err != nil {
			return start, fmt.Errorf("--since %w, or oldest", err)
		}
		return events.Since(t), nil
	case r.position != "":
		p, err := events.ParsePosition(r.position)
		if err != nil {
			return start, fmt.Errorf("--from-position: %w", err)
		}
		return events.FromPosition(p), nil
	case r.sequence != 0:
		return events.FromSequence(r.sequence), nil
	case r.after != "":
		c, err := events.ParseCursor(r.after)
		if err != nil {
			return start, fmt.Errorf("--after: %w", err)
		}
		return events.After(c), nil
	case r.follow:
		return events.FromNewest(), nil
	}
	return events.Since(now.Add(-time.Hour)), nil
}

// parseTable reads TABLE or SCHEMA.TABLE.
func parseTable(s string) events.Table {
	if schema, name, ok := strings.Cut(s, "."); ok {
		return events.Table{Schema: schema, Name: name}
	}
	return events.Table{Schema: "public", Name: s}
}

// checkTables names a table that the log knows nothing of: a misspelt name must not look like a table that nobody changes.
func (r *replaying) checkTables(ctx context.Context, o replay.Options, errOut io.Writer) error {
	if len(o.Tables) == 0 {
		return nil
	}
	logged, err := events.LoggedTables(ctx, o.JetStream, o.Source)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range logged {
		names = append(names, t.Schema+"."+t.Name)
	}
	for _, t := range o.Tables {
		if slices.Contains(names, t.Schema+"."+t.Name) {
			continue
		}
		err := fmt.Errorf("the log has no changes of a table %s.%s; it has changes of %s", t.Schema, t.Name, strings.Join(names, ", "))
		if !r.follow {
			return &statusError{err, notThere}
		}
		r.log.Logger(errOut).Warn("nothing yet", "error", err)
	}
	return nil
}
