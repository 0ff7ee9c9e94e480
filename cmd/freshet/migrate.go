package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // goose speaks database/sql
	"github.com/spf13/cobra"

	"freshet/internal/config"
	"freshet/migrations"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Prepare a database: up, down, status",
		Long: `Prepares a database for Freshet. Your database gets the schema "freshet" and nothing else; --example adds the tables
of the example application, for a database to play with.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		migrateStep("up", "Apply what is missing", migrateUp),
		migrateStep("down", "Undo the migration that was applied last", migrateDown),
		migrateStep("status", "Show what is applied", migrateStatus),
	)
	return cmd
}

type migrateFunc func(ctx context.Context, out io.Writer, m *migrations.Migrator, set migrations.Set) error

func migrateStep(name, short string, do migrateFunc) *cobra.Command {
	var db config.Database
	cmd := &cobra.Command{Use: name, Short: short}
	withExample := cmd.Flags().Bool("example", false, "the example application's tables too")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		sets := []migrations.Set{migrations.Freshet}
		switch {
		case *withExample && name == "down":
			sets = []migrations.Set{migrations.Example} // one step undoes one thing
		case *withExample:
			sets = append(sets, migrations.Example)
		}
		return migrate(cmd.Context(), cmd.OutOrStdout(), db.URL, sets, do)
	}, &db)
}

func migrate(ctx context.Context, out io.Writer, url string, sets []migrations.Set, do migrateFunc) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("read the database URL: %w", err)
	}
	defer db.Close() // every statement has been answered
	for _, set := range sets {
		m, err := migrations.New(db, set)
		if err != nil {
			return err
		}
		if err := do(ctx, out, m, set); err != nil {
			return err
		}
	}
	return nil
}

func migrateUp(ctx context.Context, out io.Writer, m *migrations.Migrator, set migrations.Set) error {
	results, err := m.Up(ctx)
	for _, r := range results {
		fmt.Fprintf(out, "%s: applied %s (%s)\n", set, r.Name, r.Duration.Round(time.Millisecond))
	}
	if err == nil && len(results) == 0 {
		fmt.Fprintf(out, "%s: up to date\n", set)
	}
	return err
}

func migrateDown(ctx context.Context, out io.Writer, m *migrations.Migrator, set migrations.Set) error {
	r, err := m.Down(ctx)
	if err == nil {
		fmt.Fprintf(out, "%s: undid %s (%s)\n", set, r.Name, r.Duration.Round(time.Millisecond))
	}
	return err
}

func migrateStatus(ctx context.Context, out io.Writer, m *migrations.Migrator, set migrations.Set) error {
	states, err := m.Status(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range states {
		applied := "pending"
		if s.Applied {
			applied = s.AppliedAt.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", set, s.Name, applied)
	}
	return table.Flush()
}
