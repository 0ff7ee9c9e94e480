package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/cache"
	"freshet/internal/postgres"
	"freshet/query"
	"freshet/query/analysis"
	"freshet/query/plan"
)

// reasonDisabled is the reason to bypass the cache for a query that cannot be analyzed any more: a definition has changed.
const reasonDisabled = "query-disabled"

// refused joins the reasons why queries are not cached.
func refused(plans *plan.Set) error {
	var all []error
	for _, one := range plans.Of {
		all = append(all, one.Refused)
	}
	slices.SortFunc(all, compareErrors)
	return errors.Join(all...)
}

func compareErrors(x, y error) int {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return strings.Compare(text(x), text(y))
}

// refuse takes the queries out whose shapes could not be registered: the log may lack changes of their tables.
func refuse(plans *plan.Set, failed map[string]error) {
	for _, one := range plans.Of {
		for _, n := range one.Needs {
			if err := failed[n.Shape.String()]; err != nil && one.Refused == nil {
				one.Refused = err
			}
		}
	}
}

// report logs what is another matter than it was before.
func (a *API) report(before, now *plan.Set) {
	for q, one := range now.Of {
		was := &plan.Plan{}
		if before != nil && before.Of[q] != nil {
			was = before.Of[q]
		}
		if !slices.Equal(was.Warnings, one.Warnings) {
			for _, w := range one.Warnings {
				a.log.Warn("query", "name", q.Name, "file", q.File, "warning", w)
			}
		}
		switch {
		case one.Refused != nil && compareErrors(was.Refused, one.Refused) != 0:
			a.log.Error("QUERY DISABLED: it is not cached any more and reads Postgres", "name", q.Name, "error", one.Refused)
		case one.Refused == nil && was.Refused != nil:
			a.log.Info("query enabled again", "name", q.Name)
		}
	}
}

// refresh makes the plans anew, registers their shapes and binds both to the generation that stood before.
func (a *API) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	generation := plan.Generation(ctx, a.cfg.Store)
	var next *plan.Set
	err := a.cfg.Pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if err := a.compareDefinitions(ctx, conn); err != nil {
			return err
		}
		catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
		if err != nil {
			return err
		}
		next = plan.New(generation, catalog, a.cfg.Queries)
		return a.prepareAgain(ctx, conn.Conn(), next)
	})
	if err != nil {
		return fmt.Errorf("read the definitions: %w", err)
	}
	done, err := a.registry.Register(ctx, next.Shapes)
	if err != nil {
		return err
	}
	if done.Added {
		// No event trigger tells of a change of a table that nobody had registered yet.
		err := a.cfg.Pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
			if err == nil && catalog.Fingerprint() != next.Fingerprint {
				err = errRedefined
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	a.adopt(next, done)
	return nil
}

// prepareAgain refuses the queries that Postgres does not prepare any more, as their definitions have changed: a column is gone, say.
// They answer with an error, and an operator is to hear of it. Without a change nothing is asked.
func (a *API) prepareAgain(ctx context.Context, conn *pgx.Conn, next *plan.Set) error {
	if next.Fingerprint != a.prepared {
		a.broken = map[*query.Query]error{}
		for q := range next.Of {
			if err := q.Prepare(ctx, conn); err != nil {
				if unavailable(err) {
					return err
				}
				a.broken[q] = err
			}
		}
		a.prepared = next.Fingerprint
	}
	for q, err := range a.broken {
		if one := next.Of[q]; one != nil && one.Refused == nil {
			one.Refused = err
		}
	}
	return nil
}

var errRedefined = errors.New("a definition has changed while the queries were registered")

// adopt uses new plans, whose shapes are registered.
func (a *API) adopt(next *plan.Set, done cache.Registered) {
	refuse(next, done.Failed)
	a.report(a.plans.Swap(next), next)
	if len(done.Waiting) > 0 {
		select { // the one that is at it will hear of the rest with the next round
		case a.waiting <- done.Waiting:
		default:
		}
	}
}

// compareDefinitions reports a change of definitions to the log where no event trigger does (only a superuser can make one): within
// shapeInterval of the change, that is, not in order with it.
func (a *API) compareDefinitions(ctx context.Context, conn *pgxpool.Conn) error {
	triggered, err := postgres.HasDDLTrigger(ctx, conn)
	if err != nil || triggered {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO freshet.definitions (version, fingerprint) VALUES ($1, '') ON CONFLICT DO NOTHING`, analysis.FingerprintVersion)
		if err != nil {
			return fmt.Errorf("write freshet.definitions: %w", err)
		}
		// Whoever holds the row has read the catalog after the one that held it before.
		var known string
		err = tx.QueryRow(ctx, `SELECT fingerprint FROM freshet.definitions WHERE version = $1 FOR UPDATE`, analysis.FingerprintVersion).Scan(&known)
		if err != nil {
			return fmt.Errorf("read freshet.definitions: %w", err)
		}
		// Definitions are printed with the names that the search_path asks for, and another api may have another one.
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
			return fmt.Errorf("set the search_path: %w", err)
		}
		catalog, err := analysis.ReadCatalog(ctx, tx.Conn())
		if err != nil {
			return err
		}
		if catalog.Fingerprint() == known {
			return nil
		}
		if known != "" {
			a.log.Info("definitions have changed: everything is cleared, the queries are analyzed again")
		}
		if err := postgres.EmitDDL(ctx, tx, "", "", "found by comparing the definitions"); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE freshet.definitions SET fingerprint = $2, updated_at = now() WHERE version = $1`,
			analysis.FingerprintVersion, catalog.Fingerprint())
		if err != nil {
			return fmt.Errorf("write freshet.definitions: %w", err)
		}
		return nil
	})
}

const (
	// shapeInterval is how often the plans and the registrations are looked after: renewed, and made again should they be gone, or
	// their table have left the publication.
	shapeInterval = 5 * time.Second
	shapeRetry    = 2 * time.Second
	// bindInterval is how often plans that are not bound to a cache look for one.
	bindInterval = 200 * time.Millisecond
	// refreshTimeout bounds one round.
	refreshTimeout = 30 * time.Second
)

// keepPlans makes the plans anew when a lookup says that they are out of date, and looks after the registrations.
func (a *API) keepPlans(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	notBefore := time.Now() // after a failure not every request that finds the plans out of date makes it try again
	for due := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-a.outdated:
			due = time.Now()
			if due.Before(notBefore) {
				due = notBefore
			}
		}
		if time.Now().Before(due) && !a.canBind(ctx) {
			timer.Reset(a.pause(due))
			continue
		}
		due = time.Now().Add(shapeInterval)
		if err := a.refresh(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the queries could not be analyzed or registered again; those that are not active are not cached", "error", err)
			due = time.Now().Add(shapeRetry)
			notBefore = due
		}
		timer.Reset(a.pause(due))
	}
}

// pause is the time until the plans are looked after again: soon if they wait for a cache to bind them to.
func (a *API) pause(due time.Time) time.Duration {
	left := max(0, time.Until(due))
	if a.plans.Load().Generation == plan.Unbound {
		return min(left, bindInterval)
	}
	return left
}

// canBind tells whether plans that are not bound to a cache could now be.
func (a *API) canBind(ctx context.Context) bool {
	if a.plans.Load().Generation != plan.Unbound {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, bindInterval)
	defer cancel()
	return plan.Generation(ctx, a.cfg.Store) != plan.Unbound
}

// outOfDate asks keepPlans for new plans.
func (a *API) outOfDate() {
	select {
	case a.outdated <- struct{}{}:
	default:
	}
}

// activateShapes makes shapes ready, which can take as long as the longest transaction.
func (a *API) activateShapes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case shapes := <-a.waiting:
			if err := a.registry.Activate(ctx, shapes); err != nil && ctx.Err() == nil {
				a.log.Warn("shapes could not be activated; their queries are not cached yet", "error", err)
			}
		}
	}
}
