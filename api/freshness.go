package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/postgres"
)

// directives are what a request's Cache-Control asks for (RFC 9111, section 5.2.1). What is malformed or unknown is ignored, as the
// RFC asks; of what is there more than once the strictest counts (section 4.2.1).
type directives struct {
	noCache, noStore, onlyIfCached bool
	// maxAge is the time that an answer may be behind; negative: not said.
	maxAge time.Duration
}

func parseCacheControl(lines []string) directives {
	d := directives{maxAge: -1}
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch strings.ToLower(name) {
			case "no-cache":
				d.noCache = true
			case "no-store":
				d.noStore = true
			case "only-if-cached":
				d.onlyIfCached = true
			case "max-age":
				if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
					d.atMost(time.Duration(n) * time.Second)
				}
			}
		}
	}
	return d
}

func (d *directives) atMost(age time.Duration) {
	if d.maxAge < 0 || age < d.maxAge {
		d.maxAge = age
	}
}

// reasonNoStore is the reason to bypass the cache for a request that asks for it.
const reasonNoStore = "no-store"

// demand puts what a request says about freshness into the question for the cache.
func (a *API) demand(r *http.Request, req *cache.Request) error {
	if lines := r.Header[echo.HeaderCacheControl]; len(lines) > 0 {
		d := parseCacheControl(lines)
		// An answer of no age at all is one that was true after the request arrived.
		req.Linearizable = d.noCache || d.maxAge == 0
		req.OnlyIfCached = d.onlyIfCached
		if d.noStore {
			req.Bypass, req.MaxStaleness = reasonNoStore, 0
		}
		if d.maxAge > 0 { // never weaker than the query's policy
			req.MaxStaleness, req.StaleIfError = min(req.MaxStaleness, d.maxAge), 0
		}
	}
	mark, err := a.wanted(r)
	req.AtLeast = mark
	return err
}

// wanted is the mark that a request wants to see at least: that of its header, or of its cookie.
func (a *API) wanted(r *http.Request) (cache.Mark, error) {
	if lines := r.Header[headerPosition]; len(lines) > 0 {
		var all cache.Mark
		for _, text := range lines {
			mark, err := cache.ParseMark(text)
			if err != nil {
				return mark, &problem{Status: http.StatusBadRequest, Detail: "the header " + headerPosition + " is malformed: " + err.Error()}
			}
			all = all.Max(mark)
		}
		return all, nil
	}
	if a.cfg.PositionCookie {
		return cookieMark(r), nil
	}
	return cache.Mark{}, nil
}

// cookieMark is the mark of the request's cookies, the latest of several; zero if there is none. One that is not ours says nothing.
func cookieMark(r *http.Request) (latest cache.Mark) {
	for _, c := range r.CookiesNamed(positionCookie) {
		if mark, err := cache.ParseMark(unescapeCookie(c.Value)); err == nil {
			// We wrote it, and leave out no timeline but the first (Mark.String).
			latest = latest.Max(mark.On(cache.Mark{Timeline: 1}))
		}
	}
	return latest
}

const (
	positionCookie = "freshet-position"
	// cookieAge is much longer than any change takes to arrive.
	cookieAge = 10 * time.Minute
)

// A semicolon ends a cookie's value (RFC 6265, section 4.1.1).
func escapeCookie(mark string) string   { return strings.ReplaceAll(mark, ";", "|") }
func unescapeCookie(text string) string { return strings.ReplaceAll(text, "|", ";") }

// tell says what an answer reflects, so that it can be asked for.
func (a *API) tell(c echo.Context, mark cache.Mark, written bool) {
	if mark.Position == 0 {
		return
	}
	c.Response().Header().Set(headerPosition, mark.String())
	if a.cfg.PositionCookie && !written {
		// The answer of Postgres to a read that came after a write of unknown position has it: from now on the cache will do.
		wanted, err := a.wanted(c.Request())
		written = err == nil && !wanted.Reachable() && mark.Reachable()
	}
	if written && a.cfg.PositionCookie {
		// Never back: what the browser has seen it goes on seeing. One that no cache reaches stands for a write of unknown position; this
		// one is of later, and has it.
		if sent := cookieMark(c.Request()); sent.Reachable() {
			mark = sent.Max(mark)
		}
		c.SetCookie(&http.Cookie{ //nolint:gosec // Secure where the request came by TLS: it is no secret, and must work without
			Name: positionCookie, Value: escapeCookie(mark.String()), Path: "/", MaxAge: int(cookieAge / time.Second),
			HttpOnly: true, Secure: c.Scheme() == "https", SameSite: http.SameSiteLaxMode,
		})
	}
}

// mark makes a mark of postgres.EndColumns.
func (a *API) mark(position, timeline string) (cache.Mark, error) {
	end, tli, err := a.wal.ParseEnd(position, timeline)
	return cache.Mark{Timeline: tli, Position: events.Position(end)}, err
}

// end asks the primary where its WAL ends.
func (a *API) end(ctx context.Context) (m cache.Mark, err error) {
	err = a.onConn(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		m, err = a.endOn(ctx, conn)
		return err
	})
	return m, err
}

func (a *API) endOn(ctx context.Context, conn queryer) (cache.Mark, error) {
	var position, timeline string
	if err := conn.QueryRow(ctx, "SELECT "+postgres.EndColumns(a.cfg.Source)).Scan(&position, &timeline); err != nil {
		return cache.Mark{}, err
	}
	return a.mark(position, timeline)
}

const (
	// defaultPositionWait and maxPositionWait bound how long GET /position waits.
	defaultPositionWait = 5 * time.Second
	maxPositionWait     = 30 * time.Second
)

// position answers once every cache has applied whatever had ended at a position: the one that is asked for, or where the WAL ends now.
func (a *API) position(c echo.Context) error {
	ctx := c.Request().Context()
	bad := func(name string, err error) error {
		return &problem{Status: http.StatusBadRequest, Detail: name + ": " + err.Error()}
	}
	// What cannot be read must not count as absent: the answer would be that of another question. A position with a timeline, its
	// semicolon not escaped, is such a case.
	params, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return bad("the query string is malformed", err)
	}
	for name := range params {
		if name != "at-least" && name != "timeout" {
			return bad(name, errors.New("there is no such parameter; there are at-least and timeout"))
		}
	}
	timeout := defaultPositionWait
	if text := params.Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > maxPositionWait {
			return bad("timeout", fmt.Errorf("%q is not a duration from 0s to %s", text, maxPositionWait))
		}
		timeout = d
	}
	var goal cache.Mark
	asked := params.Get("at-least")
	if asked != "" {
		if goal, err = cache.ParseMark(asked); err != nil {
			return bad("at-least", err)
		}
	}
	if goal.Timeline == 0 {
		end, err := a.end(ctx)
		if err != nil {
			return err
		}
		if goal = goal.On(end); asked == "" {
			goal = end
		}
	}
	reached, err := a.reader.Reached(ctx, goal, timeout)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !reached {
		status = http.StatusGatewayTimeout
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(status, map[string]any{"position": goal.String(), "reached": reached})
}
