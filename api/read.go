package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/query"
	"freshet/query/plan"
)

// Headers of Freshet and of RFC 9211 and RFC 9110.
const (
	headerCacheStatus = "Cache-Status"
	headerPosition    = "Freshet-Position"
	headerETag        = "ETag"
	headerAge         = "Age"
)

// read answers a query from the cache.
func (a *API) read(q *query.Query) echo.HandlerFunc {
	text := a.withEnd(q)
	measured := a.metrics.Serve(http.MethodGet, q.Path, a.measured[q])
	return func(c echo.Context) error {
		values, err := valuesOf(c)
		if err != nil {
			return err
		}
		args, err := q.Bind(values)
		if err != nil {
			return err
		}
		req, err := a.request(c.Request(), q, a.plans.Load(), args)
		if err != nil {
			return err
		}
		answer, err := a.reader.Get(c.Request().Context(), req, func(ctx context.Context) (cache.Result, error) {
			return a.fill(ctx, q, text, args)
		})
		if err != nil {
			return err
		}
		measured.Answered(outcomeOf(answer))
		a.perf.answered(q, &req, answer)
		if answer.Reason == cache.ReasonSchema {
			a.outOfDate()
		}
		return a.respond(c, answer)
	}
}

// request is the question for the cache.
func (a *API) request(r *http.Request, q *query.Query, plans *plan.Set, args query.Args) (cache.Request, error) {
	one := plans.Of[q]
	req := plans.Request(one, args, a.cfg.MaxStaleness)
	if one.Refused != nil {
		req.Bypass = reasonDisabled
	}
	return req, a.demand(r, &req)
}

// withEnd is the text of a query with where the WAL ends.
func (a *API) withEnd(q *query.Query) string { return plan.WithEnd(q, a.cfg.Source) }

// fill runs the query. The connection is the primary's, and the snapshot is taken when the statement begins.
func (a *API) fill(ctx context.Context, q *query.Query, text string, args query.Args) (r cache.Result, err error) {
	a.measured[q].Fill()
	err = a.withConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		r, err = a.run(ctx, conn, q, text, args)
		return err
	})
	if err != nil {
		return cache.Result{}, fmt.Errorf("query %s: %w", q.Name, err)
	}
	return r, nil
}

// run runs a text of withEnd.
func (a *API) run(ctx context.Context, conn queryer, q *query.Query, text string, args query.Args) (r cache.Result, err error) {
	var body []byte
	var position, timeline string
	began := time.Now()
	err = conn.QueryRow(ctx, text, args.Values()...).Scan(&body, &position, &timeline)
	a.measured[q].Filled(began, len(body), err != nil)
	if err != nil {
		return r, err
	}
	if r.Seen, err = a.mark(position, timeline); err != nil || body == nil {
		return r, err
	}
	sum := sha256.Sum256(body)
	r.Found, r.Body, r.ETag = true, body, `"`+hex.EncodeToString(sum[:12])+`"`
	return r, nil
}

// queryer is a connection or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// withConn runs do with a connection of the pool, through the gate. The wait for one is bounded apart from the statement, so that
// the client learns which of the two it was.
func (a *API) withConn(ctx context.Context, do func(context.Context, *pgxpool.Conn) error) error {
	return a.behind(ctx, a.gate, func() error { return a.onConn(ctx, do) })
}

// behind runs do once the gate lets it through.
func (a *API) behind(ctx context.Context, g *gate, do func() error) error {
	wait, cancel := context.WithTimeoutCause(ctx, a.cfg.ConnectionTimeout, errPoolTimeout)
	defer cancel()
	if err := g.enter(wait); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &unavailableError{err}
	}
	defer g.leave()
	return do()
}

// onConn is withConn past the gate.
func (a *API) onConn(ctx context.Context, do func(context.Context, *pgxpool.Conn) error) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	defer context.AfterFunc(a.abandoned, giveUp)()
	wait, cancel := context.WithTimeoutCause(ctx, a.cfg.ConnectionTimeout, errPoolTimeout)
	defer cancel()
	conn, err := a.cfg.Pool.Acquire(wait)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &unavailableError{err}
	}
	defer conn.Release()
	statement, cancel := context.WithTimeoutCause(ctx, a.cfg.CommandTimeout, errStatementTimeout)
	defer cancel()
	if err := do(statement, conn); err != nil {
		if statement.Err() != nil && ctx.Err() == nil {
			return errStatementTimeout
		}
		return err
	}
	return nil
}

// respond sends an answer as it is stored.
func (a *API) respond(c echo.Context, answer *cache.Answer) error {
	h := c.Response().Header()
	h.Set(headerCacheStatus, cacheStatus(answer))
	// Caches between us and the reader have to ask: they cannot know what changed. The answer is then mostly a 304.
	h.Set(echo.HeaderCacheControl, "no-cache")
	a.tell(c, answer.Mark, false)
	h.Set(headerAge, seconds(answer.Age))
	if !answer.Found {
		return errNotFound
	}
	h.Set(headerETag, answer.ETag)
	if matches(c.Request().Header.Values("If-None-Match"), answer.ETag) {
		return c.NoContent(http.StatusNotModified)
	}
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(answer.Body)))
	if c.Request().Method == http.MethodHead {
		h.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		return c.NoContent(http.StatusOK)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, answer.Body)
}

// cacheStatus is the Cache-Status of an answer (RFC 9211).
func cacheStatus(a *cache.Answer) string {
	switch {
	case a.Stale:
		return "freshet; hit; ttl=" + seconds(a.TTL) + "; detail=stale"
	case a.Status == cache.Hit:
		return "freshet; hit; ttl=" + seconds(a.TTL) + "; detail=redis"
	case a.Status == cache.Miss:
		if a.Stored {
			return "freshet; fwd=miss; stored"
		}
		return "freshet; fwd=miss"
	default:
		return "freshet; fwd=bypass; detail=" + a.Reason
	}
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// matches compares If-None-Match with an entity tag, weakly (RFC 9110, section 13.1.2). A list may be split into several lines. A
// foreign tag with a comma in it comes apart, and its parts are none of ours: those have only letters and digits.
func matches(lines []string, etag string) bool {
	for candidate := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}
