package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"freshet/warm"
)

// warmRequest is the body of POST /performance/cache/warm. All of it may be left out, the body too.
type warmRequest struct {
	warm.Asked

	Rate        *float64 `json:"rate,omitempty"`
	Concurrency *int     `json:"concurrency,omitempty"`
}

// warmAnswer says how far a warm-up is.
type warmAnswer struct {
	State       string      `json:"state"`
	BeganAt     *time.Time  `json:"began_at"`
	EndedAt     *time.Time  `json:"ended_at"`
	Seconds     *float64    `json:"seconds"`
	Asked       *warm.Asked `json:"asked"`
	Rate        *float64    `json:"rate"`
	Concurrency *int        `json:"concurrency"`
	Messages    int64       `json:"messages"`
	Changes     int64       `json:"changes"`
	Pairs       *int64      `json:"pairs"`
	More        *bool       `json:"more"`
	warm.Tally
	Waiting *string `json:"waiting"`
	Error   *string `json:"error"`
}

// The states of a warm-up.
const (
	warmIdle    = "idle" // there was none since the process has started
	warmReading = "reading"
	warmFilling = "filling"
	warmDone    = "done"
	warmEnded   = "ended" // early: it was told to, or it failed
)

// startWarmUp begins a warm-up in the background.
func (p *performance) startWarmUp(c echo.Context) error {
	if err := p.api.authorize(c); err != nil {
		return err
	}
	if p.api.cfg.JetStream == nil {
		return &problem{
			Status: http.StatusServiceUnavailable,
			Detail: "the api has no connection to NATS, where the log is: start it with --nats-url (NATS_URL), or run freshet warm",
		}
	}
	raw, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	r, err := parseWarmRequest(raw)
	if err != nil {
		return &problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	u, err := p.warmer.begin(r.Asked, *r.Rate, *r.Concurrency)
	if errors.Is(err, errWarming) {
		return &problem{
			Status: http.StatusConflict,
			Detail: "a warm-up is under way: GET " + pathCacheWarm + " tells how far it is, DELETE ends it",
		}
	}
	if err != nil {
		return &problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	p.api.log.InfoContext(c.Request().Context(), "a warm-up is begun by request", "remote", c.Request().RemoteAddr, "asked", u.search.Asked)
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set(echo.HeaderLocation, pathCacheWarm)
	return c.JSON(http.StatusAccepted, u.answer())
}

// parseWarmRequest reads a body, and fills in the defaults.
func parseWarmRequest(raw []byte) (*warmRequest, error) {
	const form = `the body must be {"since": "2h", "from_position": "0/16B3748", "from_sequence": 1, "tables": ["blogs"], "queries": ["blog_by_id"], ` +
		`"top": 10000, "rate": 2000, "concurrency": 8}, any of which may be left out`
	r := &warmRequest{}
	if len(bytes.TrimSpace(raw)) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(r); err != nil {
			return nil, fmt.Errorf("%s: %w", form, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New(form + ": it goes on behind its JSON object")
		}
	}
	if r.Rate == nil {
		r.Rate = new(float64(warm.DefaultRate))
	}
	if r.Concurrency == nil {
		r.Concurrency = new(warm.DefaultConcurrency)
	}
	if *r.Rate <= 0 || *r.Rate > warm.MaxRate {
		return nil, fmt.Errorf("rate must be above 0 and at most %d", warm.MaxRate)
	}
	if *r.Concurrency < 1 || *r.Concurrency > warm.MaxConcurrency {
		return nil, fmt.Errorf("concurrency must be 1 to %d", warm.MaxConcurrency)
	}
	return r, nil
}

// showWarmUp tells how far the warm-up is that is under way, or how the last one went.
func (p *performance) showWarmUp(c echo.Context) error {
	return show(c, p.warmer.current().answer())
}

// endWarmUp ends the warm-up that is under way. What is being asked for is asked for to its end.
func (p *performance) endWarmUp(c echo.Context) error {
	if err := p.api.authorize(c); err != nil {
		return err
	}
	u := p.warmer.current()
	if u == nil || u.hasEnded() {
		return &problem{Status: http.StatusConflict, Detail: "no warm-up is under way"}
	}
	u.cancel()
	select {
	case <-u.ended:
	case <-c.Request().Context().Done():
		return c.Request().Context().Err()
	}
	p.api.log.InfoContext(c.Request().Context(), "a warm-up was ended by request", "remote", c.Request().RemoteAddr)
	return show(c, u.answer())
}

// answer says how far it is; nil stands for none.
func (u *warmUp) answer() warmAnswer {
	if u == nil {
		return warmAnswer{State: warmIdle, Tally: warm.Tally{Failed: map[string]int64{}}}
	}
	ended := u.hasEnded() // before the rest is read: what is told of one that has ended is its end
	progress := u.progress()
	u.mu.Lock()
	defer u.mu.Unlock()
	read := u.search.Read()
	a := warmAnswer{
		State: warmReading, BeganAt: new(u.began.UTC()), Asked: &u.search.Asked, Rate: &u.rate, Concurrency: &u.concurrency,
		Messages: read.Messages.Load(), Changes: read.Changes.Load(), Tally: progress.Tally,
	}
	until := time.Now()
	if u.found != nil {
		a.State, a.Pairs, a.More = warmFilling, new(int64(len(u.found.Pairs))), &u.found.More
	}
	if progress.Waiting != "" {
		a.Waiting = &progress.Waiting
	}
	if ended {
		until = u.finish
		a.State, a.EndedAt, a.Waiting = warmDone, new(until.UTC()), nil
		if u.err != nil {
			a.State, a.Error = warmEnded, new(u.err.Error())
		}
	}
	a.Seconds = new(until.Sub(u.began).Seconds())
	return a
}
