package telemetry

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// API is what the HTTP process measures. Make it with NewAPI and name all routes and queries before the first request: they are not
// guarded.
//
// A request adds to the counters of one window, and to that of its status code. Everything else, what Prometheus gets and what the
// windows say of queries, is worked out from those when somebody asks.
type API struct {
	Registry

	now      func() time.Time
	began    time.Time // of all windows
	outcomes []Outcome
	paths    map[string]*path
	routes   []*Route // one for each method and path, HEAD apart
	queries  []*Query
	strange  path // for requests that no route is for

	inFlight atomic.Int64
}

// Outcome is a way in which a read can be answered.
type Outcome struct {
	Status string `json:"status"` // hit, miss or bypass
	Tier   string `json:"tier"`   // where the answer comes from: redis, memory or none
	Reason string `json:"reason"` // why the cache was bypassed, or what is special about a hit; else empty
}

// The values of Outcome's Status and Tier.
const (
	StatusHit    = "hit"
	StatusMiss   = "miss"
	StatusBypass = "bypass"
	TierRedis    = "redis"
	TierMemory   = "memory"
	TierNone     = "none"
)

// methods are those that a label may have; whatever else somebody sends is the last.
var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "other",
}

// unmatched is the route of requests that no route is for.
const unmatched = "unmatched"

// path has the routes of one path, by the number of their method.
type path [len(methods)]*Route

func methodNumber(method string) int {
	for i, m := range methods {
		if m == method {
			return i
		}
	}
	return len(methods) - 1
}

// Route is one method of one path.
type Route struct {
	api *API
	// Method and Path are those of the route; the path has its parameters' names.
	Method, Path string
	// Window has the requests of the route; HEAD shares that of GET.
	Window *Window
	// Query is the query that answers, nil for a route of Freshet's own.
	Query *Query
	codes [lastCode + 1]atomic.Uint64
}

// lastCode is the last status code of HTTP; 0 stands for whatever is none.
const lastCode = 599

// Query is one query, whatever route or request asks for it.
type Query struct {
	api  *API
	Name string
	// Reads tells a read from a write, which the cache has no part in.
	Reads bool
	// Fills has the statements that were run for a read, without the wait for a connection; nil for a write.
	Fills *Window
	fills atomic.Uint64
	alone *Window // of its route
	among *Window // answers together with others
}

// APIState is what the process knows at any time, without counting.
type APIState struct {
	// PoolInUse, PoolIdle and PoolMax are connections to Postgres; PoolWaits is how often somebody had to wait for one, and PoolWait for
	// how long altogether.
	PoolInUse, PoolIdle, PoolMax int
	PoolWaits                    int64
	PoolWait                     time.Duration
	// GateWaiting is how many requests wait for their turn to use the pool.
	GateWaiting int64
	// WatermarkAge is negative while no watermark is known.
	WatermarkAge time.Duration
	// ShapesWaiting is how many shapes of our queries are not active in the cache; negative while that is not known.
	ShapesWaiting   int
	QueriesDisabled int
}

// StateTimeout bounds the question for the state.
const StateTimeout = time.Second

// NewAPI makes the metrics of an api. Reads are answered in one of the outcomes; state is asked at each scrape.
func NewAPI(version string, now func() time.Time, outcomes []Outcome, state func(context.Context) APIState) *API {
	a := &API{Registry: newRegistry("api", version), now: now, began: now(), outcomes: outcomes, paths: map[string]*path{}}
	a.gaugeFunc("http_requests_in_flight", "Requests being answered now.", func() float64 { return float64(a.inFlight.Load()) })
	a.MustRegister(&apiTotals{a}, &apiState{state})
	for i, method := range methods {
		a.strange[i] = a.newRoute(method, unmatched, a.window(), nil)
	}
	return a
}

func (a *API) window() *Window { return NewWindow(a.began, len(a.outcomes)) }

// Queries are those that were named.
func (a *API) Queries() []*Query { return a.queries }

// Routes has one route for each window: HEAD has none beside GET.
func (a *API) Routes() []*Route {
	var all []*Route
	for _, r := range a.routes {
		if r.Method != http.MethodHead && r.Path != unmatched {
			all = append(all, r)
		}
	}
	return all
}

// Named makes the metrics of a query.
func (a *API) Named(query string, reads bool) *Query {
	if a == nil {
		return nil
	}
	q := &Query{api: a, Name: query, Reads: reads, among: a.window()}
	if reads {
		q.Fills = NewWindow(a.began, 0)
	}
	a.queries = append(a.queries, q)
	return q
}

// Serve makes the metrics of a route, unless it has them; query is that which answers, or nil. HEAD comes after GET.
func (a *API) Serve(method, route string, query *Query) *Route {
	if a == nil {
		return nil
	}
	p := a.paths[route]
	if p == nil {
		p = &path{}
		a.paths[route] = p
	}
	at := &p[methodNumber(method)]
	if *at != nil {
		return *at
	}
	if get := p[methodNumber(http.MethodGet)]; method == http.MethodHead && get != nil {
		*at = a.newRoute(method, route, get.Window, get.Query)
		return *at
	}
	*at = a.newRoute(method, route, a.window(), query)
	if query != nil {
		query.alone = (*at).Window
	}
	return *at
}

func (a *API) newRoute(method, route string, window *Window, query *Query) *Route {
	r := &Route{api: a, Method: method, Path: route, Window: window, Query: query}
	a.routes = append(a.routes, r)
	return r
}

// Begin counts a request that has come in, and returns the metrics of its route and the time: the path is as the router has it, not as
// it was sent. End must follow.
func (a *API) Begin(method, route string) (r *Route, began time.Time) {
	a.inFlight.Add(1)
	number := methodNumber(method)
	if p := a.paths[route]; p != nil {
		r = p[number]
	}
	if r == nil {
		r = a.strange[number]
	}
	began = a.now()
	r.Window.Begin(began)
	return r, began
}

// End counts the answer to a request. failed says that it is an error, and none that the request asked for.
func (r *Route) End(began time.Time, code int, bytes int64, failed bool) {
	r.api.inFlight.Add(-1)
	now := r.api.now()
	r.Window.Observe(now, now.Sub(began), bytes, failed)
	if code < 0 || code > lastCode {
		code = 0
	}
	r.codes[code].Add(1)
}

// Answered counts how a request that has begun was answered by the route's query.
func (r *Route) Answered(outcome int) {
	if r != nil {
		r.Window.Count(outcome)
	}
}

// Together counts an answer of the query in an answer of several.
func (q *Query) Together(began time.Time, outcome, bytes int) {
	if q == nil {
		return
	}
	now := q.api.now()
	q.among.Observe(now, now.Sub(began), int64(bytes), false)
	q.among.Count(outcome)
}

// Fill counts a fill that begins.
func (q *Query) Fill() {
	if q != nil {
		q.fills.Add(1)
	}
}

// Filled counts a statement that has ended.
func (q *Query) Filled(began time.Time, bytes int, failed bool) {
	if q == nil {
		return
	}
	now := q.api.now()
	q.Fills.Observe(now, now.Sub(began), int64(bytes), failed)
}

// Snapshot is what the query answered in the last span: alone, and together with others.
func (q *Query) Snapshot(now time.Time, span time.Duration) Snapshot {
	return snapshot(now, span, q.windows()...)
}

func (q *Query) windows() []*Window {
	if q.alone == nil { // no route yet
		return []*Window{q.among}
	}
	return []*Window{q.alone, q.among}
}

// total is how often the query was answered in one way.
func (q *Query) total(outcome int) (n uint64) {
	for _, w := range q.windows() {
		n += w.Total(outcome)
	}
	return n
}
