package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"freshet/example"
	"freshet/internal/config"
	"freshet/query"
	"freshet/query/analysis"
)

func checkCommand() *cobra.Command {
	var db config.Database
	cmd := &cobra.Command{
		Use:   "check [FILE or FOLDER ... | -]",
		Short: "Say what each query file depends on, and what would make it finer",
		Long: `Reads query files (of the folders and files given, or the example's) and says of each which buckets its result depends on, which
columns it reads, what makes it coarse, and how Postgres runs it. With "-" it reads one query file from standard input; SQL
without a header is taken for a read without parameters.

Exit status 1 if a query is refused, so that a CI job can run it.`,
	}
	asJSON := cmd.Flags().Bool("json", false, "print a JSON array, for programs")
	cmd = withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		return check(cmd, db.URL, cmd.Flags().Args(), *asJSON)
	}, &db)
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// errRefused makes the exit status 1 after the reports were printed.
var errRefused = errors.New("at least one query is refused")

func check(cmd *cobra.Command, url string, args []string, asJSON bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	queries, err := checkedQueries(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	reports, err := reportAll(ctx, url, queries)
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(reports)
	} else {
		err = printReports(out, reports)
	}
	for _, r := range reports {
		if r.Refused != "" {
			return errors.Join(err, errRefused)
		}
	}
	return err
}

// checkedQueries reads what the arguments name.
func checkedQueries(stdin io.Reader, args []string) ([]*query.Query, error) {
	if len(args) == 0 {
		return query.Load(example.Queries())
	}
	var all []*query.Query
	var problems []error
	for _, arg := range args {
		queries, err := queriesAt(stdin, arg)
		all, problems = append(all, queries...), append(problems, err)
	}
	return all, errors.Join(problems...)
}

func queriesAt(stdin io.Reader, arg string) ([]*query.Query, error) {
	if arg != "-" {
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, fmt.Errorf("find the queries: %w", err)
		case info.IsDir():
			return query.Load(os.DirFS(arg))
		}
	}
	var text []byte
	var err error
	if arg == "-" {
		text, err = io.ReadAll(io.LimitReader(stdin, maxStdin))
	} else {
		text, err = fs.ReadFile(os.DirFS(filepath.Dir(arg)), filepath.Base(arg))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", arg, err)
	}
	if arg == "-" && !strings.Contains(string(text), "-- name:") {
		text = append([]byte("-- name: stdin\n-- route: GET /stdin\n-- result: many\n"), text...)
	}
	q, err := query.Parse(arg, text)
	if err != nil {
		return nil, err
	}
	return []*query.Query{q}, nil
}

// maxStdin bounds a query file on standard input.
const maxStdin = 1 << 20

func reportAll(ctx context.Context, url string, queries []*query.Query) (reports []query.Report, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	catalog, err := analysis.ReadCatalog(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, q := range queries {
		r, err := q.Check(ctx, conn, catalog)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", q.Name, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func printReports(out io.Writer, reports []query.Report) error {
	var b strings.Builder
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s  %s %s  (%s)\n", r.Name, r.Method, r.Path, r.File)
		if r.Refused != "" {
			fmt.Fprintf(&b, "  REFUSED     %s\n", r.Refused)
			continue
		}
		for _, d := range r.Depends {
			fmt.Fprintf(&b, "  depends on  %-32s %s\n", d.Shape, d.Bucket)
			fmt.Fprintf(&b, "  reads       %s\n", strings.Join(d.Reads, ", "))
			if d.Coarse {
				fmt.Fprintf(&b, "  coarse      no column of %s that can be pinned is compared by = with a parameter or a constant where it is read\n", d.Table)
			}
		}
		for _, w := range r.Warnings {
			fmt.Fprintf(&b, "  warning     %s\n", w)
		}
		if p := r.Plan; p != nil {
			fmt.Fprintf(&b, "  plan        cost %.2f", p.Cost)
			if len(p.Indexes) > 0 {
				fmt.Fprintf(&b, ", index %s", strings.Join(p.Indexes, ", "))
			}
			if len(p.SeqScans) > 0 {
				fmt.Fprintf(&b, ", reads all of %s", strings.Join(p.SeqScans, ", "))
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
