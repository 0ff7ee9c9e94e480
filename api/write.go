package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/query"
)

// write runs a query that changes something. It never touches the cache: the log does.
func (a *API) write(q *query.Query) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := a.authorize(c); err != nil {
			return err
		}
		raw, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		body, err := query.ParseBody(raw)
		if err != nil {
			return err
		}
		values, err := valuesOf(c)
		if err != nil {
			return err
		}
		values.Body = body
		args, err := q.Bind(values)
		if err != nil {
			return err
		}
		return a.execute(c, q, args)
	}
}

func (a *API) execute(c echo.Context, q *query.Query, args query.Args) error {
	var (
		result []byte
		mark   cache.Mark
	)
	ctx := c.Request().Context()
	err := a.behind(ctx, a.writes, func() error {
		return a.withConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
			if result, err = writeOn(ctx, conn, q, args); err != nil {
				return err
			}
			// The statement has committed: whatever it wrote ends at or below this position. No error must hide that.
			mark, _ = a.endOn(ctx, conn)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("query %s: %w", q.Name, err)
	}
	if mark.Position == 0 {
		mark = a.laterEnd(ctx, q)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "no-store")
	a.tell(c, mark, true)
	if result == nil {
		return errNotFound
	}
	status := http.StatusOK
	if q.Method == http.MethodPost {
		status = http.StatusCreated
	}
	return c.Blob(status, echo.MIMEApplicationJSON, result)
}

// laterTimeout bounds the second attempt to learn the position of a write.
const laterTimeout = 2 * time.Second

// laterEnd is the mark of a write whose connection was lost once it was done: where the WAL ends by now, as another connection says. If
// none does it is one that no cache reaches: without any the writer's next read could miss what it wrote.
func (a *API) laterEnd(ctx context.Context, q *query.Query) cache.Mark {
	ctx, cancel := context.WithTimeout(ctx, laterTimeout)
	defer cancel()
	mark, err := a.end(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "a write was done, but its position is not known; reads that ask for it go to Postgres", "query", q.Name, "error", err)
		return cache.Unreached
	}
	return mark
}

// authorize wants the admin token. Digests are compared, in constant time, so that neither length nor content leaks.
func (a *API) authorize(c echo.Context) error {
	if a.cfg.AdminToken == "" {
		return &problem{Status: http.StatusForbidden, Detail: "writes are switched off: the server has no FRESHET_ADMIN_TOKEN"}
	}
	token, ok := bearer(c.Request())
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(a.cfg.AdminToken))
	if !ok || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="freshet"`)
		return &problem{Status: http.StatusUnauthorized, Detail: "this needs the header Authorization: Bearer <admin token>"}
	}
	return nil
}

var (
	errPoolTimeout      = errors.New("no connection to Postgres in time")
	errStatementTimeout = errors.New("the statement took too long")
)
