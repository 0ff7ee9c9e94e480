// Package migrations holds the SQL that makes Freshet's own tables and those of the example application, applies it, and
// fills the example with data.
//
// There are two sets. [Freshet] is all that somebody's own database gets: the schema freshet, and nothing outside it.
// [Example] is the example application, in public. Which migrations have been applied is recorded in the schema freshet
// for both. The package never touches a table that it has not made.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

//go:embed freshet/*.sql example/*.sql
var files embed.FS

// Set is a set of migrations, applied and undone by itself.
type Set string

// The sets.
const (
	Freshet Set = "freshet" // Freshet's own tables
	Example Set = "example" // the example application
)

// versionTable is where goose records what it has applied.
func (s Set) versionTable() string { return "freshet.goose_" + string(s) }

// Result is one migration that was applied or undone.
type Result struct {
	Version  int64
	Name     string // its file
	Duration time.Duration
}

// State is one migration of a set, and whether the database has it.
type State struct {
	Version   int64
	Name      string // its file
	Applied   bool
	AppliedAt time.Time // zero unless Applied; in the time zone that the server had, which the record does not say
}

// ErrNothingToUndo is returned by [Migrator.Down] when no migration of the set is applied.
var ErrNothingToUndo = errors.New("no migration is applied")

// Migrator applies one set to one database. Several processes may do so at once: they take turns.
type Migrator struct {
	db       *sql.DB
	set      Set
	provider *goose.Provider
}

// New returns a migrator. It does not touch the database yet, nor does it ever close it.
func New(db *sql.DB, set Set) (*Migrator, error) {
	if set != Freshet && set != Example {
		return nil, fmt.Errorf("unknown set of migrations %q", set)
	}
	sub, err := fs.Sub(files, string(set))
	if err != nil {
		return nil, fmt.Errorf("open the %s migrations: %w", set, err)
	}
	store, err := database.NewStore(database.DialectPostgres, set.versionTable())
	if err != nil {
		return nil, fmt.Errorf("open the %s migrations: %w", set, err)
	}
	// The lock is polled: every second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("open the %s migrations: %w", set, err)
	}
	provider, err := goose.NewProvider("", db, sub, goose.WithStore(store), goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("open the %s migrations: %w", set, err)
	}
	return &Migrator{db: db, set: set, provider: provider}, nil
}

// Up applies every migration that the database does not have yet and returns those that it applied, which is none when
// there was nothing to do. Each is one transaction; the results before a failure are returned with it.
func (m *Migrator) Up(ctx context.Context) ([]Result, error) {
	if err := m.ensureSchema(ctx); err != nil {
		return nil, fmt.Errorf("migrate %s up: %w", m.set, err)
	}
	applied, err := m.provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		applied = partial.Applied
	}
	results := make([]Result, len(applied))
	for i, r := range applied {
		results[i] = result(r)
	}
	if err != nil {
		return results, fmt.Errorf("migrate %s up: %w", m.set, err)
	}
	return results, nil
}

// Down undoes the migration that was applied last, or returns an error that is [ErrNothingToUndo].
func (m *Migrator) Down(ctx context.Context) (Result, error) {
	recorded, err := m.recorded(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("migrate %s down: %w", m.set, err)
	}
	if !recorded {
		return Result{}, fmt.Errorf("migrate %s down: %w", m.set, ErrNothingToUndo)
	}
	undone, err := m.provider.Down(ctx)
	switch {
	case errors.Is(err, goose.ErrNoNextVersion):
		return Result{}, fmt.Errorf("migrate %s down: %w", m.set, ErrNothingToUndo)
	case err != nil:
		return Result{}, fmt.Errorf("migrate %s down: %w", m.set, err)
	}
	return result(undone), nil
}

// Status returns the migrations of the set in their order. It changes nothing.
func (m *Migrator) Status(ctx context.Context) ([]State, error) {
	recorded, err := m.recorded(ctx)
	if err != nil {
		return nil, fmt.Errorf("status of the %s migrations: %w", m.set, err)
	}
	var states []State
	if !recorded { // goose would create its table to find it empty
		for _, s := range m.provider.ListSources() {
			states = append(states, State{Version: s.Version, Name: path.Base(s.Path)})
		}
		return states, nil
	}
	all, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("status of the %s migrations: %w", m.set, err)
	}
	for _, s := range all {
		states = append(states, State{
			Version: s.Source.Version, Name: path.Base(s.Source.Path),
			Applied: s.State == goose.StateApplied, AppliedAt: s.AppliedAt,
		})
	}
	return states, nil
}

func result(r *goose.MigrationResult) Result {
	return Result{Version: r.Source.Version, Name: path.Base(r.Source.Path), Duration: r.Duration}
}

// recorded reports whether the set's version table exists.
func (m *Migrator) recorded(ctx context.Context) (bool, error) {
	var found bool
	err := m.db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", m.set.versionTable()).Scan(&found)
	return found, err
}

// schemaLock is the advisory lock under which the schema is made: two CREATE SCHEMA IF NOT EXISTS at once can both find
// it missing, and one then fails on the catalog's unique index.
const schemaLock = 0x66726573686574 // "freshet"

// ensureSchema makes the schema freshet. Where it exists nothing is run, because CREATE SCHEMA IF NOT EXISTS asks for the
// privilege to create one before it looks.
func (m *Migrator) ensureSchema(ctx context.Context) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing; before it, an error is being returned already
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	var found bool
	if err := tx.QueryRowContext(ctx, "SELECT to_regnamespace('freshet') IS NOT NULL").Scan(&found); err != nil {
		return fmt.Errorf("look for the schema freshet: %w", err)
	}
	if found {
		return tx.Commit()
	}
	for _, stmt := range []string{
		"CREATE SCHEMA freshet",
		"COMMENT ON SCHEMA freshet IS 'Everything that Freshet keeps in this database.'",
	} {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("create the schema freshet: %w", err)
		}
	}
	return tx.Commit()
}
