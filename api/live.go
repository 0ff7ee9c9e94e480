package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"freshet/api/ui"
)

const (
	// livePath is the one route whose answer does not end by itself: it has no request timeout, and is not measured.
	livePath = "/performance/live"
	// liveEvery is the time between two samples.
	liveEvery = time.Second
	// liveBuffer is how many events may wait for a client; one that is slower is dropped.
	liveBuffer = 64
	// liveWrite bounds the sending of one event.
	liveWrite = 5 * time.Second
	// liveClients is how many may watch at once.
	liveClients = 64
	// liveMemory is over how long commit -> cleared is summed up, and liveKept over how many changes at most.
	liveMemory = time.Minute
	liveKept   = 4096
	// liveTop is how many queries are told of.
	liveTop = 20
)

// hub hands what is live to those who watch. It asks nobody anything while nobody does.
type hub struct {
	api *API

	mu      sync.Mutex
	clients map[chan []byte]bool
	stopped bool
	woken   chan struct{} // somebody has come
	left    chan struct{} // the last one has gone
}

func newHub(a *API) *hub {
	return &hub{api: a, clients: map[chan []byte]bool{}, woken: make(chan struct{}, 1), left: make(chan struct{}, 1)}
}

// join returns the channel of a new client; it is closed when the client is too slow, or the api stops. The error is the answer.
func (h *hub) join() (chan []byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return nil, &problem{Status: http.StatusServiceUnavailable, Detail: "the api is stopping", retryAfter: true}
	case len(h.clients) >= liveClients:
		return nil, &problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d are watching already", liveClients), retryAfter: true}
	}
	events := make(chan []byte, liveBuffer)
	h.clients[events] = true
	signal(h.woken)
	return events, nil
}

// leave ends a client. It may have been ended already.
func (h *hub) leave(events chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(events)
}

// end is leave with mu held.
func (h *hub) end(events chan []byte) {
	if !h.clients[events] {
		return
	}
	delete(h.clients, events)
	close(events)
	if len(h.clients) == 0 {
		signal(h.left)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (h *hub) watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// send hands an event to everybody, and waits for nobody: who has not taken the events before it is dropped.
func (h *hub) send(name string, data []byte) {
	text := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, data)
	h.mu.Lock()
	defer h.mu.Unlock()
	for events := range h.clients {
		select {
		case events <- text:
		default:
			h.end(events)
		}
	}
}

// run serves clients until ctx ends, which ends them too: the drain does not wait for them.
func (h *hub) run(ctx context.Context) error {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stopped = true
		for events := range h.clients {
			h.end(events)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.woken:
			if h.watchers() > 0 { // who came may have gone while the last one was still watching
				h.watch(ctx)
			}
		}
	}
}

// watch listens and samples until nobody watches any more.
func (h *hub) watch(ctx context.Context) {
	subscription := h.api.cfg.Store.SubscribeLive(ctx)
	defer subscription.Close() // there is nothing to be done about a connection that cannot be closed
	messages := subscription.Channel()
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	w := &watcher{hub: h, meter: h.api.metrics.Meter()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.left:
			if h.watchers() == 0 {
				return
			}
		case m, open := <-messages:
			if !open {
				return
			}
			h.send("applied", []byte(m.Payload))
			w.seen(m.Payload)
		case <-ticker.C:
			h.tell("sample", w.sample(ctx))
			h.tell("queries", h.api.topQueries())
		}
	}
}

// tell sends what has figures.
func (h *hub) tell(name string, figures any) {
	text, err := json.Marshal(figures)
	if err != nil { // one that is no number
		h.api.log.Warn("what is live cannot be encoded", "error", err)
		return
	}
	h.send(name, text)
}

// watchRoutes serves the page, and what only it and `freshet top` ask for.
func (a *API) watchRoutes(e *echo.Echo) {
	readable(e, ui.Path, echo.WrapHandler(http.HandlerFunc(ui.ServeHTTP)))
	readable(e, ui.Files, echo.WrapHandler(http.HandlerFunc(ui.ServeHTTP)))
	e.GET(livePath, a.live)
	e.POST("/performance/check", a.check)
}

// live answers GET /performance/live: server-sent events, until the client goes or is too slow, or the api stops.
func (a *API) live(c echo.Context) error {
	if err := a.mayWatch(c); err != nil {
		return err
	}
	events, err := a.hub.join()
	if err != nil {
		return err
	}
	defer a.hub.leave(events)
	control := http.NewResponseController(c.Response())
	// The server's own limits are for answers that end.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("let the live stream last: %w", err)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the events
	c.Response().WriteHeader(http.StatusOK)
	send := func(text []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
			return err
		}
		if _, err := c.Response().Write(text); err != nil {
			return err
		}
		return control.Flush()
	}
	if send([]byte("retry: 1000\n\n")) != nil {
		return nil // who has gone is told nothing
	}
	for {
		select {
		case <-c.Request().Context().Done():
			return nil
		case text, open := <-events:
			if !open {
				_ = send([]byte("event: end\ndata: {}\n\n")) // too slow, or the api stops: a client comes again
				return nil
			}
			if send(text) != nil {
				return nil // who has gone is told nothing
			}
		}
	}
}

// mayWatch lets pass who may see details: with the admin token, or everybody where that is switched on.
func (a *API) mayWatch(c echo.Context) error {
	status, why := a.monitor.Allow(c.Request())
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="freshet"`)
	}
	return &problem{Status: status, Detail: why}
}

// isLive skips what is only for answers that end.
func isLive(c echo.Context) bool { return c.Path() == livePath }

// unlessLive is a middleware for all other routes.
func unlessLive(m echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		with := m(next)
		return func(c echo.Context) error {
			if isLive(c) {
				return next(c)
			}
			return with(c)
		}
	}
}
