package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"freshet/events"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/servers"
	"freshet/query"
	"freshet/query/analysis"
	"freshet/query/plan"
	"freshet/warm"
)

// warming is the command `freshet warm`.
type warming struct {
	db   config.Database
	nats config.NATS
	api  config.Warmed
	log  config.Log

	asked          warm.Asked
	rate           string
	concurrency    int
	patience       time.Duration
	dryRun, resume bool
	state, format  string

	perSecond float64
	began     time.Time
	report    warmReport
}

func warmCommand() *cobra.Command {
	w := &warming{api: config.Warmed{Example: true}}
	cmd := &cobra.Command{
		Use:   "warm",
		Short: "Fill the cache with what was changed lately, before users ask for it",
		Long: `Reads the changes in the log, works out which requests their rows matter to, and asks a running api for those whose answers are
not cached: what was changed most, and most recently, first. Rows that are gone are warmed as the empty answers that they are now. The answers are
stored by the api, as those of any read: a warm-up beside writes is safe at any time.

Without a beginning it is the last two hours of the log, or as much as there is. It asks for less at once while the api answers 503 or slowly,
and waits out outages. Ctrl-C, or a crash, ends it early; --resume goes on with it. The queries must be those that the api serves (--queries;
without it the example's).

Exit status 1 if a pair could not be warmed, or it was ended early; 2 if the log does not reach back as far as was asked for, or there is no such
table, no such query, or nothing to go on with.`,
		Example: `  freshet warm
  freshet warm --since 30m --table blogs --query blog_by_id --top 1000 --dry-run
  freshet warm --since oldest --rate 200/s --concurrency 2
  freshet warm --resume`,
	}
	f := cmd.Flags()
	f.StringVar(&w.asked.Since, "since", "", "count what was committed so long ago (2h) or later, since a time (2026-02-03T04:05:06Z), or oldest: all that the log has")
	f.StringVar(&w.asked.FromPosition, "from-position", "", "begin with the first transaction at or above a position of the WAL (LSN)")
	f.Uint64Var(&w.asked.FromSequence, "from-sequence", 0, "begin with a message of the stream")
	f.StringArrayVar(&w.asked.Tables, "table", nil, "only changes of this table, TABLE or SCHEMA.TABLE; may be repeated")
	f.StringArrayVar(&w.asked.Queries, "query", nil, "only this query; may be repeated")
	f.IntVar(&w.asked.Top, "top", warm.DefaultTop, "how many pairs of a query and its parameters to warm at most")
	f.StringVar(&w.rate, "rate", fmt.Sprintf("%d/s", warm.DefaultRate), "how many answers to have computed in a second at most")
	f.IntVar(&w.concurrency, "concurrency", warm.DefaultConcurrency, "how many to ask for at once at most")
	f.DurationVar(&w.patience, "patience", warm.DefaultPatience, "how long nothing may work before it is given up")
	f.BoolVar(&w.dryRun, "dry-run", false, "print what would be asked for, and ask for nothing")
	f.BoolVar(&w.resume, "resume", false, "go on with the warm-up that was ended early")
	f.StringVar(&w.state, "state", "", "file that keeps how far it is (in the user's cache folder unless said)")
	f.StringVar(&w.format, "format", "text", "form of the result: text, json")
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		// Who names a folder of queries means those, and not the example's beside them.
		w.api.Example = w.api.Example && (set.Given("FRESHET_EXAMPLE") || !set.Given("FRESHET_QUERIES"))
		if w.resume {
			for _, flag := range []string{"since", "from-position", "from-sequence", "table", "query", "top", "dry-run"} {
				if f.Changed(flag) {
					return fmt.Errorf("--resume goes on with what was asked for before: it takes no --%s", flag)
				}
			}
		}
		return w.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}, &w.db, &w.nats, &w.api, &w.log)
}

func (w *warming) run(ctx context.Context, out, errOut io.Writer) error {
	if err := w.check(); err != nil {
		return err
	}
	queries, err := loadQueries(config.API{QueriesDir: w.api.QueriesDir, Example: w.api.Example})
	if err != nil {
		return err
	}
	w.began = time.Now()
	if w.dryRun {
		found, err := w.find(ctx, queries, errOut, func() error { return nil })
		if err == nil {
			err = w.print(out, found.Pairs)
		}
		return w.outcome(err)
	}
	state, release, err := w.openState()
	if err != nil {
		return err
	}
	defer release()
	err = w.warm(ctx, queries, state, errOut)
	if w.report.Pairs > 0 || err == nil {
		err = errors.Join(err, w.print(out, nil))
	}
	return w.outcome(err)
}

// check checks the flags.
func (w *warming) check() (err error) {
	if w.format != "text" && w.format != "json" {
		return fmt.Errorf("--format %q must be text or json", w.format)
	}
	if w.perSecond, err = config.ParseRate(w.rate); err != nil || w.perSecond <= 0 || w.perSecond > warm.MaxRate {
		return fmt.Errorf("--rate %q must be a number of answers a second, such as 500/s, above 0 and at most %d", w.rate, warm.MaxRate)
	}
	if w.concurrency < 1 || w.concurrency > warm.MaxConcurrency {
		return fmt.Errorf("--concurrency must be 1 to %d, not %d", warm.MaxConcurrency, w.concurrency)
	}
	if w.patience <= 0 {
		return errors.New("--patience must be above zero")
	}
	if err := w.asked.Fix(time.Now()); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// openState finds the file of the state, and takes it: two that write one file would each spoil the other's.
func (w *warming) openState() (state *warm.State, release func(), err error) {
	path := w.state
	if path == "" {
		folder, err := os.UserCacheDir()
		if err != nil {
			return nil, nil, fmt.Errorf("find a place to keep the state of the warm-up: %w (--state names one)", err)
		}
		path = filepath.Join(folder, "freshet", fmt.Sprintf("warm-%s-%08x.json", w.api.Source, crc32.ChecksumIEEE([]byte(w.api.URL))))
	}
	lock, err := servers.LockFolder(path)
	if errors.Is(err, servers.ErrFolderInUse) {
		return nil, nil, fmt.Errorf("another warm-up is under way: %w (--state names another file)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	return &warm.State{Path: path}, lock.Release, nil
}

// warm fills the cache.
func (w *warming) warm(ctx context.Context, queries []*query.Query, state *warm.State, errOut io.Writer) error {
	var found *warm.Found
	job := &warm.Job{}
	read := false
	var err error
	if w.resume {
		if w.asked, read, err = state.Resume(); err != nil {
			return err
		}
		w.report.Resumed = true
	}
	if read {
		kept, err := state.Kept(queries)
		if err != nil {
			return err
		}
		found, job.Next, job.Tally = &kept.Found, kept.Next, kept.Tally
	} else {
		begun := false
		found, err = w.find(ctx, queries, errOut, func() error {
			begun = true
			return state.Begin(w.asked)
		})
		if err != nil && begun && ctx.Err() == nil { // the log does not have it: to go on would say the same
			err = errors.Join(err, state.Forget())
		}
		if err != nil {
			return interrupted(ctx, err)
		}
		if err = state.SavePairs(found); err != nil {
			return err
		}
	}
	w.report.Pairs, w.report.More = int64(len(found.Pairs)), found.More
	job.Pairs, job.Rate, job.Concurrency, job.Patience, job.Save = found.Pairs, w.perSecond, w.concurrency, w.patience, state.Save
	job.Filler = warm.NewHTTP(w.api.URL, w.concurrency, w.db.CommandTimeout+w.db.ConnectionTimeout)
	began := time.Now()
	stop := showProgress(errOut, func() string { return warmLine(job.Progress(), time.Since(began)) })
	err = job.Run(ctx)
	stop()
	w.report.Tally = job.Progress().Tally
	if err == nil {
		return state.Forget()
	}
	w.report.Interrupted = true
	return fmt.Errorf("%w; freshet warm --resume goes on", interrupted(ctx, err))
}

// interrupted says so of an error that is only that of a context which somebody has ended.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// find reads the log. begin is called once it is known that the names are right and that there is a log.
func (w *warming) find(ctx context.Context, queries []*query.Query, errOut io.Writer, begin func() error) (*warm.Found, error) {
	plans, err := w.plans(ctx, queries)
	if err != nil {
		return nil, err
	}
	logger := w.log.Logger(errOut)
	search := &warm.Search{Asked: w.asked, Source: w.api.Source, Plans: plans, Retrying: func(err error, in time.Duration) {
		logger.Warn("the log cannot be read; trying again", "error", err, "in", in)
	}}
	if err := search.Check(); err != nil {
		return nil, err
	}
	for q, one := range plans.Of {
		if one.Refused != nil {
			logger.Warn("the query is not cached", "name", q.Name, "error", one.Refused)
		}
	}
	conn, err := connectNATS(w.nats, "freshet warm", logger)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if search.JetStream, err = jetstream.New(conn); err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	if err := begin(); err != nil {
		return nil, err
	}
	began := time.Now()
	stop := showProgress(errOut, func() string {
		return fmt.Sprintf("reading the log: %s changes", number(search.Read().Changes.Load()))
	})
	found, err := search.Find(ctx, time.Now())
	stop()
	w.report.Read = &warmRead{search.Read().Messages.Load(), search.Read().Changes.Load(), time.Since(began).Seconds()}
	if err == nil {
		w.report.Pairs, w.report.More, w.report.Inadmissible = int64(len(found.Pairs)), found.More, int64(found.Inadmissible)
	}
	return found, err
}

// plans say what each query depends on, as the definitions are now.
func (w *warming) plans(ctx context.Context, queries []*query.Query) (plans *plan.Set, err error) {
	db := w.db
	db.MinConnections, db.MaxConnections = 0, 1
	pool, err := postgres.NewPool(ctx, db, "freshet warm")
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	err = pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
		if err == nil {
			plans = plan.New(plan.Unbound, catalog, queries)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions: %w", err)
	}
	return plans, nil
}

// outcome gives errors their exit status.
func (w *warming) outcome(err error) error {
	gone, isGone := errors.AsType[*events.ExpiredError](err)
	_, isUnknown := errors.AsType[*warm.UnknownError](err)
	_, isGap := errors.AsType[*events.GapError](err)
	switch {
	case isGone:
		return &statusError{fmt.Errorf("%w; --since oldest begins there", gone), notThere}
	case isUnknown, isGap, errors.Is(err, warm.ErrNoState):
		return &statusError{err, notThere}
	case err != nil:
		return err
	}
	failed := w.report.Done() - w.report.Filled - w.report.Skipped
	if failed > 0 {
		return fmt.Errorf("%s of %s pairs could not be warmed", number(failed), number(w.report.Pairs))
	}
	return nil
}

// warmLine says how far a warm-up is.
func warmLine(p warm.Progress, elapsed time.Duration) string {
	var b strings.Builder
	done := p.Done()
	filled := barWidth
	if p.Pairs > 0 {
		filled = int(barWidth * done / p.Pairs)
	}
	fmt.Fprintf(&b, "[%s%s] %s of %s  filled %s  skipped %s  failed %s  (%s/s)", strings.Repeat("#", filled), strings.Repeat("-", barWidth-filled),
		number(done), number(p.Pairs), number(p.Filled), number(p.Skipped), number(done-p.Filled-p.Skipped),
		number(int64(float64(done)/max(elapsed.Seconds(), 0.001))))
	if p.Waiting != "" {
		b.WriteString("  waiting: " + p.Waiting)
	}
	return b.String()
}

// warmReport is what --format json prints.
type warmReport struct {
	// Pairs are those that were found, at most as many as were asked for; More says that there were others.
	Pairs int64 `json:"pairs"`
	More  bool  `json:"more"`
	warm.Tally

	// Inadmissible counts values of rows that no request of a query could have.
	Inadmissible int64     `json:"inadmissible"`
	Read         *warmRead `json:"read"`
	Seconds      float64   `json:"seconds"`
	Resumed      bool      `json:"resumed"`
	Interrupted  bool      `json:"interrupted"`
	// List is what a dry run would ask for.
	List []warmPair `json:"list,omitempty"`
}

// warmRead is what was read of the log; null if an earlier process had read it.
type warmRead struct {
	Messages int64   `json:"messages"`
	Changes  int64   `json:"changes"`
	Seconds  float64 `json:"seconds"`
}

type warmPair struct {
	Query string `json:"query"`
	Path  string `json:"path"`
}
