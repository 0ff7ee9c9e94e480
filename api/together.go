package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/query"
)

// maxTogether bounds the queries of one request.
const maxTogether = 50

// togetherRequest is the body of POST /query.
type togetherRequest struct {
	Queries []struct {
		Name   string                     `json:"name"`
		Params map[string]json.RawMessage `json:"params"`
	} `json:"queries"`
}

// togetherAnswer is what it answers: the results in the order of the queries, all of one moment.
type togetherAnswer struct {
	Position string           `json:"position,omitempty"`
	Results  []togetherResult `json:"results"`
}

type togetherResult struct {
	Name  string          `json:"name"`
	Found bool            `json:"found"`
	Data  json.RawMessage `json:"data"`
}

// bound is a query with the arguments of a request.
type bound struct {
	*query.Query
	text string
	args query.Args
}

// together answers several queries at one position: from one watermark, or from one snapshot.
func (a *API) together(c echo.Context) error {
	began := time.Now()
	queries, err := a.bindAll(c.Request().Body)
	if err != nil {
		return err
	}
	reqs := make([]cache.Request, len(queries))
	plans := a.plans.Load()
	for i, b := range queries {
		if reqs[i], err = a.request(c.Request(), b.Query, plans, b.args); err != nil {
			return err
		}
	}
	all, err := a.reader.GetAll(c.Request().Context(), reqs, func(ctx context.Context) ([]cache.Result, error) {
		return a.fillTogether(ctx, queries)
	})
	if err != nil {
		return err
	}
	if all.Reason == cache.ReasonSchema {
		a.outOfDate()
	}
	h := c.Response().Header()
	h.Set(headerCacheStatus, cacheStatus(&cache.Answer{Status: all.Status, Reason: all.Reason, TTL: shortest(all), Stored: stored(all), Stale: all.Stale}))
	h.Set(echo.HeaderCacheControl, "no-store")
	a.tell(c, all.Mark, false)
	h.Set(headerAge, seconds(all.Answers[0].Age)) // one watermark, or none: it is that of all
	body := togetherAnswer{Position: h.Get(headerPosition)}
	for i, answer := range all.Answers {
		r := togetherResult{Name: queries[i].Name, Found: answer.Found, Data: json.RawMessage("null")}
		if answer.Found {
			r.Data = answer.Body
		}
		a.measured[queries[i].Query].Together(began, outcomeOf(answer), len(answer.Body))
		a.perf.answered(queries[i].Query, &reqs[i], answer)
		body.Results = append(body.Results, r)
	}
	return c.JSON(http.StatusOK, body)
}

func shortest(all *cache.Together) time.Duration {
	least := all.Answers[0].TTL
	for _, a := range all.Answers {
		least = min(least, a.TTL)
	}
	return least
}

func stored(all *cache.Together) bool {
	for _, a := range all.Answers {
		if !a.Stored {
			return false
		}
	}
	return true
}

// bindAll reads the body and checks every parameter.
func (a *API) bindAll(from io.Reader) ([]bound, error) {
	bad := func(format string, args ...any) error {
		return &problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf(format, args...)}
	}
	raw, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	var body togetherRequest
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, bad(`the body must be {"queries": [{"name": ..., "params": {...}}, ...]}: %v`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // Decoder.More takes a bracket too many for the end
		return nil, bad("the body goes on behind its JSON object")
	}
	if len(body.Queries) == 0 || len(body.Queries) > maxTogether {
		return nil, bad("queries must have 1 to %d elements, it has %d", maxTogether, len(body.Queries))
	}
	all := make([]bound, len(body.Queries))
	for i, asked := range body.Queries {
		q := a.byName[asked.Name]
		if q == nil {
			return nil, bad("queries[%d]: there is no read named %q", i, asked.Name)
		}
		args, err := q.BindJSON(asked.Params)
		if err != nil {
			if params := query.ParamErrors(err); len(params) == 0 {
				return nil, fmt.Errorf("queries[%d]: %w", i, err)
			}
			return nil, bad("queries[%d] (%s): %v", i, q.Name, err)
		}
		all[i] = bound{q, a.withEnd(q), args}
	}
	return all, nil
}

// fillTogether runs the queries in one snapshot.
func (a *API) fillTogether(ctx context.Context, queries []bound) ([]cache.Result, error) {
	results := make([]cache.Result, len(queries))
	for _, b := range queries {
		a.measured[b.Query].Fill()
	}
	err := a.withConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			for i, b := range queries {
				var err error
				if results[i], err = a.run(ctx, tx, b.Query, b.text, b.args); err != nil {
					return fmt.Errorf("query %s: %w", b.Name, err)
				}
				// The snapshot is that of the first statement: what the others see is no later.
				results[i].Seen = results[0].Seen
			}
			return nil
		})
	})
	return results, err
}
