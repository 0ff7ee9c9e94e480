package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/config"
	"freshet/load"
)

// loading is what freshet load is told.
type loading struct {
	db     config.Database
	target loadTarget
	cfg    load.Config
	format string
}

// loadTarget is the api that is loaded.
type loadTarget struct{ url, token string }

func (l *loadTarget) Register(s *config.Set) {
	s.String(&l.url, "url", "FRESHET_URL", "http://127.0.0.1:8080", "URL of the api")
	s.String(&l.token, "admin-token", "FRESHET_ADMIN_TOKEN", "", "bearer token of writes", config.Secret(), config.Required())
}

func loadCommand() *cobra.Command {
	l := &loading{db: config.Database{Optional: true}}
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put many users on the example application, and judge its targets",
		Long: `Has many users read and write the example application of a running api at the same time, as fast as they are answered (--pause has them
wait), and compares what they saw with the example's targets. What is popular follows Zipf's law. A fiftieth of the reads is asked past the cache (no-store),
for the target of the database; they do not count for the hit rate. Afterwards the same users ask for everything past the cache, and each
query is asked both ways when nobody else asks: that is what the cache is compared with.

It writes: attempts at quizzes, and titles of blogs. Source the dev.env of freshet dev first: it has the token and the URLs. With
--database-url Postgres is asked how many connections the api uses; --db-max-connections must be what the api has.

Exit status 1 if a target is not met or was not measured, 2 if nothing could be judged: the api cannot be reached, does not serve the
example, or refuses the token.`,
		Example: "  freshet load --duration 30s --users 100\n  freshet load --format json --seed 1",
	}
	flags := cmd.Flags()
	flags.IntVar(&l.cfg.Users, "users", 100, "how many ask at the same time, each over a connection of its own")
	flags.DurationVar(&l.cfg.Pause, "pause", 0, "how long each of them pauses between two requests, at the mean; 0: they ask as fast as they are answered")
	flags.DurationVar(&l.cfg.Duration, "duration", 30*time.Second, "how long to measure")
	flags.DurationVar(&l.cfg.WarmUp, "warm-up", 5*time.Second, "how long they ask before that")
	flags.DurationVar(&l.cfg.Compare, "compare", 10*time.Second, "how long to put the same load past the cache afterwards, to compare with; 0: not at all")
	flags.IntVar(&l.cfg.Writes, "writes", 5, "how many of 100 requests are writes")
	flags.IntVar(&l.cfg.Edits, "edits", 5, "how many of 100 writes change a blog, which clears lists; the others record an attempt at a quiz")
	flags.Uint64Var(&l.cfg.Seed, "seed", 0, "seed of all that is drawn; 0: another one each time")
	flags.StringVar(&l.format, "format", "text", "form of the result: text, json")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		return l.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}, &l.target, &l.db)
}

// statusError is an error with an exit status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// exitStatus is that of a command that failed.
func exitStatus(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 1
}

// nothingJudged is the exit status of a load that found nothing to judge.
const nothingJudged = 2

func (l *loading) run(ctx context.Context, out, errOut io.Writer) error {
	if l.format != "text" && l.format != "json" {
		return fmt.Errorf("--format %q must be text or json", l.format)
	}
	l.cfg.URL, l.cfg.Token = l.target.url, l.target.token
	if l.cfg.Seed == 0 {
		l.cfg.Seed = rand.Uint64()
	}
	if err := l.cfg.Validate(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	postgres := ""
	if l.db.URL != "" {
		activity, err := load.NewActivity(ctx, l.db.URL, l.db.MaxConnections)
		if err != nil {
			return &statusError{err, nothingJudged}
		}
		defer activity.Close(context.WithoutCancel(ctx)) // nothing of it is left to be told
		l.cfg.Connections, postgres = activity, ", Postgres "+activity.Version()
	}
	run, err := load.New(ctx, l.cfg)
	if err != nil {
		return &statusError{err, nothingJudged}
	}
	stop := showProgress(errOut, func() string { return loadLine(run.Progress()) })
	r := run.Run(ctx)
	stop()
	if l.format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(r)
	} else {
		// What is measured is of this machine as well as of the api: mostly they are the same.
		fmt.Fprintf(out, "%s/%s, %d CPUs, %s%s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), postgres)
		err = r.Print(out)
	}
	switch {
	case err != nil:
		return err
	case r.Interrupted:
		return errors.New("interrupted before all was measured")
	case !r.Pass:
		return fmt.Errorf("%d of %d targets are not met", load.Failed(r.Targets), len(r.Targets))
	}
	return nil
}

// loadLine says how far a load is.
func loadLine(p load.Progress) string {
	var b strings.Builder
	if p.Of > 0 {
		done := min(barWidth, int(barWidth*p.Elapsed/p.Of))
		fmt.Fprintf(&b, "[%s%s] %s of %s  ", strings.Repeat("#", done), strings.Repeat("-", barWidth-done), min(p.Elapsed, p.Of).Round(time.Second), p.Of)
	}
	b.WriteString(p.Phase)
	if p.Of > 0 {
		fmt.Fprintf(&b, "  %s requests (%s/s)  hit rate %.1f %%  errors %s", number(p.Requests), number(int64(p.PerSecond)), 100*p.HitRate, number(p.Errors))
	}
	return b.String()
}

// showProgress shows on a terminal one line that is written over, elsewhere a line every few seconds. The returned function ends it.
func showProgress(out io.Writer, line func() string) (stop func()) {
	terminal, interval := false, 5*time.Second
	if isTerminal(out) {
		terminal, interval = true, 200*time.Millisecond
	}
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				if terminal {
					fmt.Fprint(out, clearLine)
				}
				return
			case <-tick.C:
				if terminal {
					fmt.Fprint(out, clearLine, line())
				} else {
					fmt.Fprintln(out, line())
				}
			}
		}
	})
	return func() {
		close(done)
		showing.Wait()
	}
}
