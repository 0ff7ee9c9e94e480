// Command bench measures Freshet on this machine, on real servers of its own: `make bench`.
//
// Each figure stands beside what was measured in the same run, on the same servers, in turns, and in the simplest way that
// somebody would otherwise choose: a bare pipeline of the same hops, a hand-written handler, pg_recvlogical. The ratio is
// what can be compared between machines; a number of requests or milliseconds alone cannot.
//
// Everything runs in processes of its own, as it would in production: Postgres (fsync on, as by default), Redis, nats-server
// (the tool of go.mod), freshet cdc, freshet invalidator, freshet api, and the two things to compare with, which are this very
// program under hidden subcommands. The program itself writes, loads and looks at the clock, and must do nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	only         string
	json         bool
	duration     time.Duration // of the latency figure, on each side
	rate         int           // writes a second
	rows         int           // of the large transaction
	transactions int           // of the backlog of small ones
	stdout       io.Writer
	stderr       io.Writer
}

// sections are the parts of a run, in their order.
var sections = []struct {
	name    string
	measure func(ctx context.Context, r *rig, o options, rep *report) error
}{
	{"latency", measureLatency},
	{"reads", measureReads},
	{"metrics", measureMetrics},
	{"throughput", measureThroughput},
}

// run is the program: its result is the exit status, 0 unless something could not be measured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measure Freshet on this machine, beside the simplest thing that does the same",
		Long: `Starts private servers and Freshet, measures, prints a table, and removes everything.

  latency      from a commit's acknowledgement to the cleared key, beside a bare pipeline of the same hops
  reads        requests a second, beside a hand-written Echo handler on Redis, and beside the SQL
  metrics      a hit with and without metrics
  throughput   rows and transactions a second, beside pg_recvlogical

The exit status is 0 unless something could not be measured: a goal that is missed is reported, not punished, as machines differ.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return measure(cmd.Context(), o) },
	}
	f := root.Flags()
	f.StringVar(&o.only, "only", "", "measure one part: latency, reads, metrics or throughput")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "time of the latency figure on each side; half of it for each side of a read figure")
	f.IntVar(&o.rate, "rate", 200, "writes a second of the latency figure")
	f.IntVar(&o.rows, "rows", 200_000, "rows of the one large transaction")
	f.IntVar(&o.transactions, "transactions", 20_000, "single-row transactions of the backlog")
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(prototypeCommand(), baselineCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// check refuses options that cannot be measured.
func (o options) check() error {
	known := []string{""}
	for _, s := range sections {
		known = append(known, s.name)
	}
	switch {
	case !slices.Contains(known, o.only):
		return fmt.Errorf("--only is one of %s", strings.Join(known[1:], ", "))
	case o.duration < 100*time.Millisecond:
		return errors.New("--duration is at least 100ms")
	case o.rate < 1 || o.rate > 5000:
		return errors.New("--rate is between 1 and 5000")
	case o.rows < 1 || o.transactions < 1:
		return errors.New("--rows and --transactions are at least 1")
	}
	return nil
}

// measure starts everything, measures what is asked for and prints it, also what was measured before a failure.
func measure(ctx context.Context, o options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	began := time.Now()
	progress := newProgress(o.stderr)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := startRig(ctx, cancel, progress, o)
	defer func() { err = errors.Join(err, r.stop()) }()
	if err != nil {
		return because(ctx, err)
	}
	rep := &report{Machine: r.machine(ctx)}
	for _, s := range sections {
		if o.only != "" && o.only != s.name {
			continue
		}
		if err = s.measure(ctx, r, o, rep); err != nil {
			err = fmt.Errorf("measure %s: %w", s.name, because(ctx, err))
			break
		}
	}
	progress.donef("measured in %.0f s", time.Since(began).Seconds())
	if len(rep.Figures) == 0 {
		return err
	}
	if o.json {
		return errors.Join(err, rep.writeJSON(o.stdout))
	}
	return errors.Join(err, rep.writeTable(o.stdout))
}

// because is the reason for which the context ended, if it did: a program that died explains more than the call that noticed.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}
