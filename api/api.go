// Package api serves the endpoints that query files declare: reads from the cache, writes to Postgres.
//
// It owns HTTP: routes, parameters, headers, errors, limits and the drain. The freshness protocol is package cache's; the api
// must never answer a read in another way than through its Reader.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"freshet/cache"
	"freshet/internal/health"
	"freshet/internal/postgres"
	"freshet/internal/telemetry"
	"freshet/internal/tracing"
	"freshet/query"
	"freshet/query/plan"
)

// Config says what is served, and within which limits.
type Config struct {
	// Addr is host:port; port 0 lets the system choose.
	Addr string
	// Pool is connected to the primary, and stays the caller's. So does the store.
	Pool    *pgxpool.Pool
	Store   *cache.Redis
	Queries []*query.Query
	// Source names the log that the cache is of.
	Source      string
	Publication string
	// AdminToken is the bearer token of writes; without one they are refused.
	AdminToken string
	// MaxStaleness is the bound of reads whose query does not have its own.
	MaxStaleness time.Duration
	// PositionCookie keeps the position of a browser's writes in a cookie, so that its reads see them.
	PositionCookie bool
	// MaxWaiting bounds the requests that wait for a connection to Postgres; beyond, they are refused. 0: 1,000.
	MaxWaiting int
	// ConnectionTimeout bounds the wait for a connection of the pool, CommandTimeout a statement.
	ConnectionTimeout, CommandTimeout time.Duration
	BodyLimit                         int64
	RequestTimeout                    time.Duration
	// DrainDelay is how long Run goes on serving once it is told to stop, DrainTimeout bounds the requests in progress then.
	DrainDelay, DrainTimeout time.Duration
	// HealthInterval is the time between two background checks; 0: 5 s. HealthOpen shows /health/detailed without the token.
	HealthInterval time.Duration
	HealthOpen     bool
	// Slot is cdc's replication slot, for /health/detailed; freshet_<source> unless said. Secrets never appear there; the password of
	// the pool need not be among them.
	Slot    string
	Secrets []string
	Version string
	// Unmeasured switches metrics off. It is there to find out what they cost.
	Unmeasured bool
	// Tracing, if set, makes traces of requests; that of Pool and Store is the caller's to switch on.
	Tracing *tracing.Tracing
	// JetStream has the log, which warm-ups read. Without it there are none; nothing else needs it.
	JetStream jetstream.JetStream
	// WarmOnStart is how many pairs to warm before the api is ready; 0: none. It needs JetStream. WarmDeadline bounds the time that this may take: then the
	// api is ready all the same, and the warm-up goes on.
	WarmOnStart  int
	WarmDeadline time.Duration
	Log          *slog.Logger
}

// API is the HTTP process. Make it with New, Listen, then Run it once.
type API struct {
	cfg      Config
	log      *slog.Logger
	reader   *cache.Reader
	clock    *cache.Clock
	registry *cache.Registry
	monitor  *health.Monitor
	perf     *performance
	hub      *hub
	wal      postgres.WALGeometry
	gate     *gate
	writes   *gate                   // before it, for writes
	byName   map[string]*query.Query // the reads
	plans    atomic.Pointer[plan.Set]
	outdated chan struct{}      // a lookup has found the plans to be out of date
	waiting  chan []cache.Shape // shapes to activate
	echo     *echo.Echo
	listener net.Listener
	draining atomic.Bool
	warming  atomic.Pointer[warmUp] // the one of WarmOnStart
	// metrics and measured are nil if nothing is measured.
	metrics  *telemetry.API
	measured map[*query.Query]*telemetry.Query
	lastMark atomic.Int64 // when the watermark that was seen last was true, in Unix microseconds; 0: none was seen
	// prepared is the fingerprint of the definitions that the queries were last prepared with, and broken says which could not be. They
	// belong to refresh, which one goroutine at a time runs.
	prepared string
	broken   map[*query.Query]error
	// abandoned ends when the drain timeout is over: statements still running are given up.
	abandoned context.Context //nolint:containedctx // its life is that of the api, not of a call
	abandon   context.CancelFunc
}

// New checks everything that can be checked before the first request: that each statement prepares, and that no two routes
// collide. It registers the shapes that the queries depend on; they become active in the background, while Run runs.
func New(ctx context.Context, cfg Config) (*API, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{
		cfg: cfg, log: slog.New(tracing.LogHandler(cfg.Log.Handler())).With("component", "api"),
		byName:   map[string]*query.Query{},
		outdated: make(chan struct{}, 1), waiting: make(chan []cache.Shape, 1),
	}
	a.abandoned, a.abandon = context.WithCancel(context.WithoutCancel(ctx))
	if err := query.Unique(cfg.Queries); err != nil {
		return nil, err
	}
	a.registry = &cache.Registry{Pool: cfg.Pool, Publication: cfg.Publication, Log: a.log}
	// First of all whether our own tables are there: without them the files' tables are mostly missing too, and that is not the
	// thing to say.
	if _, err := a.registry.Ready(ctx); err != nil {
		return nil, err
	}
	if err := a.prepareAll(ctx); err != nil {
		return nil, err
	}
	var err error
	if a.wal, err = postgres.ReadWALGeometry(ctx, cfg.Pool); err != nil {
		return nil, err
	}
	if a.clock, err = cache.NewClock(ctx, a.askTime); err != nil {
		return nil, err
	}
	a.reader = cache.NewReader(cache.ReaderConfig{
		Store: cfg.Store, Source: cfg.Source, Now: a.clock.Now, MaxTTL: maxTTL(cfg.Queries),
		FillTimeout: cfg.ConnectionTimeout + cfg.CommandTimeout,
		End:         a.end, Patience: cache.DefaultPatience, Unavailable: unavailable, Log: a.log,
	})
	connections, waiting := int(cfg.Pool.Config().MaxConns), cmp.Or(cfg.MaxWaiting, defaultWaiting)
	// One connection is left for the questions that are no fills.
	a.gate = newGate(connections-1, waiting)
	// Writes that wait for the disk, all for the same flush, must not keep reads from Postgres.
	a.writes = newGate(connections/2, waiting)
	a.startMeasuring()
	a.monitor = a.newMonitor()
	a.perf = newPerformance(a)
	a.hub = newHub(a)
	if err := a.routes(); err != nil {
		return nil, err
	}
	// Now what fails, fails the start: a query that is refused, a table that cannot be published.
	err = a.refresh(ctx)
	for tries := 0; errors.Is(err, errRedefined) && tries < startTries; tries++ {
		err = a.refresh(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := refused(a.plans.Load()); err != nil {
		return nil, err
	}
	return a, nil
}

// prepareAll has Postgres check every statement.
func (a *API) prepareAll(ctx context.Context) error {
	conn, err := a.cfg.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Release()
	var problems []error
	for _, q := range a.cfg.Queries {
		if err := q.Prepare(ctx, conn.Conn()); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func maxTTL(queries []*query.Query) time.Duration {
	longest := query.DefaultTTL
	for _, q := range queries {
		longest = max(longest, q.TTL)
	}
	return longest
}

// Listen binds the address, so that a port in use is an error now.
func (a *API) Listen(ctx context.Context) error {
	var err error
	if a.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Addr); err != nil {
		return fmt.Errorf("serve HTTP on %s: %w (choose another address with --http-addr or FRESHET_HTTP_ADDR)", a.cfg.Addr, err)
	}
	return nil
}

// URL is where the api listens.
func (a *API) URL() string { return "http://" + a.listener.Addr().String() }

// farewell tells whoever asks during the drain to make another connection, elsewhere. Not Server.SetKeepAlivesEnabled: it closes the
// idle connections at once, and with them a request that is on its way on one of them. A client repeats that only if it is a GET.
func (a *API) farewell() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		a.echo.ServeHTTP(w, r)
	})
}

// Run serves until ctx ends, then lets the requests in progress finish. It returns nil after a clean drain.
func (a *API) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           a.farewell(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       a.cfg.RequestTimeout + time.Second,
		WriteTimeout:      a.cfg.RequestTimeout + 5*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.perf.warmer.startWarming()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		a.draining.Store(true)
		if a.cfg.DrainDelay > 0 {
			<-time.After(a.cfg.DrainDelay)
		}
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.DrainTimeout)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			a.abandon()
			return fmt.Errorf("requests were still in progress when the drain timeout ended: %w", errors.Join(err, server.Close()))
		}
		return nil
	})
	g.Go(func() error { return a.keepPlans(ctx) })
	g.Go(func() error { return a.activateShapes(ctx) })
	g.Go(func() error { return a.keepClock(ctx) })
	g.Go(func() error { return a.monitor.Run(ctx) })
	g.Go(func() error { return a.perf.run(ctx) })
	g.Go(func() error { return a.hub.run(ctx) })
	a.log.Info("serving", "url", a.URL(), "queries", len(a.cfg.Queries))
	err := g.Wait()
	a.reader.Close()
	a.abandon()
	return err
}

func (a *API) askTime(ctx context.Context) (time.Time, error) {
	var t time.Time
	err := a.cfg.Pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&t)
	return t, err
}

const (
	clockInterval = 10 * time.Second
	// An answer that took longer than clockDoubt sets the clock ahead by as much: it is asked again after clockRetry.
	clockDoubt     = 50 * time.Millisecond
	clockRetry     = time.Second
	defaultWaiting = 1000
	// startTries is how often a start tries again because somebody defines tables anew at the same time.
	startTries = 5
)

// keepClock follows the clock of the Postgres server. While it cannot be asked, the last answer stands.
func (a *API) keepClock(ctx context.Context) error {
	return every(ctx, clockInterval, func() time.Duration {
		ask, cancel := context.WithTimeout(ctx, clockInterval)
		defer cancel()
		asked := time.Now()
		err := a.clock.Sync(ask, a.askTime)
		if err != nil && ctx.Err() == nil {
			a.log.Debug("clock", "error", err)
		}
		if err != nil || time.Since(asked) > clockDoubt {
			return clockRetry
		}
		return clockInterval
	})
}

// every calls do until ctx ends: first after a time, then each time after the time that it returned.
func every(ctx context.Context, first time.Duration, do func() time.Duration) error {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(do())
		}
	}
}
