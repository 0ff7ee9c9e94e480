package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/query"
	"freshet/query/analysis"
)

// checkHeader makes a query file of SQL that has no header.
const checkHeader = "-- name: checked\n-- route: GET /checked\n-- result: many\n"

// checkFile stands for the name of the file in errors, which checkPlace finds.
const checkFile = "sql"

var checkPlace = regexp.MustCompile(`(?m)^sql:(\d*):? `)

// check answers POST /performance/check: what `freshet check` says of a query file, {"sql": "..."}. Nothing is run: the statement is
// prepared, and its plan looked up in a transaction that only reads.
func (a *API) check(c echo.Context) error {
	if err := a.authorize(c); err != nil {
		return err
	}
	raw, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	var asked struct {
		SQL string `json:"sql"`
	}
	if err := json.Unmarshal(raw, &asked); err != nil || strings.TrimSpace(asked.SQL) == "" {
		return &problem{Status: http.StatusBadRequest, Detail: `the body must be {"sql": "SELECT ..."}`}
	}
	text, added := asked.SQL, 0
	if !strings.Contains(text, "-- name:") {
		text, added = checkHeader+text, strings.Count(checkHeader, "\n")
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	q, err := query.Parse(checkFile, []byte(text))
	if err != nil {
		return c.JSON(http.StatusOK, query.Report{Refused: inLines(err.Error(), added)})
	}
	report, err := a.reportOn(c.Request().Context(), q)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !unavailable(err) {
		// Whoever has the admin token may read what Postgres says of a statement of theirs.
		report.Refused, err = pg.Message, nil
	}
	if err != nil {
		return err
	}
	report.File, report.Refused = "", inLines(report.Refused, added)
	return c.JSON(http.StatusOK, report)
}

// inLines says where a problem is in the words of somebody who has no file: by the line, of which so many were added before it.
func inLines(problems string, added int) string {
	return checkPlace.ReplaceAllStringFunc(problems, func(place string) string {
		line, err := strconv.Atoi(checkPlace.FindStringSubmatch(place)[1])
		if err != nil || line <= added { // it is about the whole of it
			return ""
		}
		return fmt.Sprintf("line %d: ", line-added)
	})
}

func (a *API) reportOn(ctx context.Context, q *query.Query) (report query.Report, err error) {
	err = a.withConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		catalog, err := analysis.ReadCatalog(ctx, conn.Conn())
		if err != nil {
			return err
		}
		report, err = q.Check(ctx, conn.Conn(), catalog)
		if err != nil { // PREPARE outlives the transaction: the next check on this connection needs the name
			_, _ = conn.Exec(context.WithoutCancel(ctx), "DEALLOCATE freshet_check")
		}
		return err
	})
	return report, err
}
