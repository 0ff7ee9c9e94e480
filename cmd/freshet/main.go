// Command freshet is a cache for the reads of a Postgres application that is never stale after a write.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"freshet/internal/config"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: its result is the exit status, 0 or 1; 2 if a command says so (exitStatus).
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "freshet",
		Short: "A cache for the reads of a Postgres application that is never stale after a write",
		Long: `Freshet answers HTTP reads of Postgres from a cache that every committed write clears, whoever made it.

  freshet dev          everything on this machine, with an example: the place to begin
  freshet migrate up   prepare a database
  freshet cdc          stream the database's changes into NATS JetStream
  freshet invalidator  clear in Redis what each change touches
  freshet api          serve reads declared as SQL files

Every setting is a flag and an environment variable; the flag wins.`,
		SilenceUsage: true, SilenceErrors: true,
		Version: version,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(devCommand(), apiCommand(), cdcCommand(), invalidatorCommand(), migrateCommand(), checkCommand(), whyCommand(), verifyCommand(), replayCommand(), warmCommand(), loadCommand(), topCommand(), waitCommand(), healthCommand(), versionCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "freshet:", message(err))
		if _, ok := errors.AsType[*config.Error](err); ok {
			fmt.Fprintln(stderr, "Run the command with --help to see every setting.")
		}
		return exitStatus(err)
	}
	return 0
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}

// registrar is a group of settings of package config.
type registrar interface{ Register(*config.Set) }

// withSettings gives a command its settings, checked before run is called.
func withSettings(cmd *cobra.Command, run func(cmd *cobra.Command, given *config.Set) error, groups ...registrar) *cobra.Command {
	set := config.New(cmd.Flags(), os.LookupEnv)
	for _, g := range groups {
		g.Register(set)
	}
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Check(); err != nil {
			return err
		}
		return run(cmd, set)
	}
	return cmd
}
