package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"freshet/audit"
	"freshet/cache"
	"freshet/internal/config"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
)

// verification is what freshet verify is told.
type verification struct {
	db    config.Database
	redis config.Redis
	nats  config.NATS
	api   config.Audited
	log   config.Log

	duration, patience time.Duration
	rate               string
	seed               uint64
	url, format        string
	givenNATS          bool
}

func verifyCommand() *cobra.Command {
	v := &verification{api: config.Audited{Example: true}}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare what is cached with the database, while everything runs",
		Long: `Draws cached entries at random, reads them as a reader would, runs their SQL on the primary, and judges a difference once the
watermark has passed the position at which the SQL was run: an entry that is then still valid is stale. What cannot be judged is
counted as that, and what differs only in the order of arrays apart; a query whose result is left open in another way (LIMIT without a total
order) can be reported though nothing is wrong. It changes nothing. The queries must be those that the api serves (--queries; without it the
example's).

The summary says how many entries were checked and how sure that makes; how many were cleared for nothing; how old entries and watermark
are. Ctrl-C ends early, with the summary. With --url a running api is asked for the same entries, and its answers are compared too. With
--nats-url the log is searched for the changes that a stale entry lacks.

Exit status 1 if an entry is stale.`,
		Example: "  freshet verify --duration 1m --rate 50/s\n  freshet verify --queries ./queries --format json",
	}
	flags := cmd.Flags()
	flags.DurationVar(&v.duration, "duration", time.Minute, "how long to sample; 0: until it is interrupted")
	flags.StringVar(&v.rate, "rate", "50/s", "how many entries to look at in a second")
	flags.Uint64Var(&v.seed, "seed", 0, "seed of the choice of buckets; 0: another one each time")
	flags.DurationVar(&v.patience, "patience", audit.DefaultPatience, "how long to wait for the watermark before a difference is left undecided")
	flags.StringVar(&v.url, "url", "", "URL of an api to ask too, such as http://127.0.0.1:8080")
	flags.StringVar(&v.format, "format", "text", "form of the summary: text, json")
	return withSettings(cmd, func(cmd *cobra.Command, set *config.Set) error {
		// Who names a folder of queries means those, and not the example's beside them.
		v.api.Example = v.api.Example && (set.Given("FRESHET_EXAMPLE") || !set.Given("FRESHET_QUERIES"))
		v.givenNATS = set.Given("NATS_URL")
		return v.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}, &v.db, &v.redis, &v.nats, &v.api, &v.log)
}

// verifyConnections bounds the pool of a verification.
const verifyConnections = 4

func (v *verification) run(ctx context.Context, out, errOut io.Writer) error {
	rate, err := config.ParseRate(v.rate)
	if err != nil || rate == 0 || rate > audit.MaxRate {
		return fmt.Errorf("--rate %q must be a number of entries a second, such as 50/s, above 0 and at most %d", v.rate, audit.MaxRate)
	}
	if v.format != "text" && v.format != "json" {
		return fmt.Errorf("--format %q must be text or json", v.format)
	}
	if v.duration < 0 || v.patience <= 0 {
		return errors.New("--duration must not be negative, and --patience must be above zero")
	}
	if v.seed == 0 {
		v.seed = rand.Uint64()
	}
	queries, err := loadQueries(config.API{QueriesDir: v.api.QueriesDir, Example: v.api.Example})
	if err != nil {
		return err
	}
	logger := v.log.Logger(errOut)
	var mu sync.Mutex
	found := []*foundStale{}
	cfg := audit.Config{
		Queries: queries, Source: v.api.Source, MaxStaleness: v.api.MaxStaleness, Rate: rate, Patience: v.patience,
		CommandTimeout: v.db.CommandTimeout, Seed: v.seed, URL: v.url, Log: logger,
		OnStale: func(s audit.Stale) {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, &foundStale{Stale: s})
		},
	}
	a, closeAll, err := newAuditor(ctx, v.db, v.redis, "freshet verify", cfg)
	if err != nil {
		return err
	}
	defer closeAll()
	stop := watchVerification(errOut, a, v.duration)
	a.Run(ctx, v.duration)
	stop()
	if v.givenNATS && len(found) > 0 {
		// Also after Ctrl-C: what has been found is worth its history. A second one ends the process.
		if err := v.history(context.WithoutCancel(ctx), logger, found); err != nil {
			logger.Warn("the log could not be searched for what the stale entries lack", "error", err)
		}
	}
	report := verifyReport{Summary: a.Summary(), Seed: v.seed, Rate: rate, Found: found}
	if v.format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(report)
	} else {
		err = report.print(out)
	}
	if err == nil && report.Stale > 0 {
		err = fmt.Errorf("%d of %d entries that were checked are stale", report.Stale, report.Checked)
	}
	return err
}

// newAuditor connects an auditor with connections of its own. The returned function closes them.
func newAuditor(ctx context.Context, db config.Database, redis config.Redis, name string, cfg audit.Config) (a *audit.Auditor, closeAll func(), err error) {
	db.MinConnections, db.MaxConnections = 0, min(db.MaxConnections, verifyConnections)
	pool, err := postgres.NewPool(ctx, db, name)
	if err != nil {
		return nil, nil, err
	}
	client, err := connectRedis(ctx, redis, "freshet-verify", true)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	closeAll = func() {
		_ = client.Close() // nothing is buffered in it
		pool.Close()
	}
	cfg.Pool, cfg.Store = pool, cache.NewRedis(client, cache.DefaultPrefix)
	if a, err = audit.New(ctx, cfg); err != nil {
		closeAll()
		return nil, nil, err
	}
	return a, closeAll, nil
}

// verifying has the auditor of a process that verifies in the background, once there is one.
type verifying struct{ auditor atomic.Pointer[audit.Auditor] }

func (v *verifying) total() audit.Tally {
	if a := v.auditor.Load(); a != nil {
		return a.Total()
	}
	return audit.Tally{}
}

// metrics are the counters for Prometheus.
func (v *verifying) metrics() telemetry.Verified {
	t := v.total()
	return telemetry.Verified{Checked: t.Checked, Stale: t.Stale, Cleared: t.Cleared, Overcleared: t.Identical}
}

// status are the counters for the other processes.
func (v *verifying) status() *cache.VerifyStatus {
	t := v.total()
	return &cache.VerifyStatus{Checked: t.Checked, Stale: t.Stale, Cleared: t.Cleared, Overcleared: t.Identical}
}

// summaryInterval is how often a verification in the background says what it has found.
const summaryInterval = time.Minute

// verifyInBackground verifies until ctx ends. A stale entry is logged by the auditor.
func verifyInBackground(ctx context.Context, db config.Database, redis config.Redis, source config.Source, v config.Verify, log *slog.Logger,
	verifying *verifying,
) error {
	queries, err := loadQueries(config.API{QueriesDir: v.QueriesDir, Example: v.Example})
	if err != nil {
		return err
	}
	a, closeAll, err := newAuditor(ctx, db, redis, "freshet verify "+source.Name, audit.Config{
		Queries: queries, Source: source.Name, MaxStaleness: v.MaxStaleness, Rate: v.Rate, CommandTimeout: db.CommandTimeout,
		Seed: rand.Uint64(), Log: log,
	})
	if err != nil {
		return err
	}
	defer closeAll()
	verifying.auditor.Store(a)
	log.Info("verifying in the background", "rate", v.Rate, "queries", len(queries))
	tick := time.NewTicker(summaryInterval)
	var logging sync.WaitGroup
	done := make(chan struct{})
	logging.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				logSummary(log, a.Summary())
			}
		}
	})
	a.Run(ctx, 0)
	tick.Stop()
	close(done)
	logging.Wait()
	logSummary(log, a.Summary())
	return nil
}

// logSummary says what was found since the process began.
func logSummary(log *slog.Logger, s audit.Summary) {
	log.Info("verified", "since", s.Began.UTC().Format(time.RFC3339), "sampled", s.Sampled, "checked", s.Checked, "stale", s.Stale,
		"behind", s.Behind, "undecided", s.Undecided, "stale_at_most", s.Consistency.StaleAtMost, "cleared", s.Cleared,
		"identical", s.Identical, "failed", s.Failed)
}

// watchVerification shows on a terminal one line that is written over, elsewhere a line every few seconds. The returned function ends it.
func watchVerification(out io.Writer, a *audit.Auditor, duration time.Duration) (stop func()) {
	return showProgress(out, func() string { return progressLine(a.Summary(), duration) })
}

// clearLine is what a terminal takes for "to the beginning of the line, and erase it" (ECMA-48, EL).
const clearLine = "\r\x1b[K"
