package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"freshet/internal/config"
)

// ops says where cdc and the invalidator serve what operators ask for. They do their work without it.
type ops struct {
	// addr is host:port, or config.Off.
	addr string
	// given says that the address was chosen, so that one in use is an error. Of several processes on one machine only the first gets
	// the default.
	given bool
	// setting names the setting, for the message.
	setting string
}

// route is a part of what is served.
type route struct {
	pattern string // of http.ServeMux
	handler http.Handler
}

// listenOps binds the address, so that a port in use is an error now. The listener is nil if nothing is to be served.
func listenOps(ctx context.Context, o ops, log *slog.Logger) (net.Listener, error) {
	if o.addr == config.Off || o.addr == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	switch {
	case err == nil:
		log.Info("serving health and metrics", "url", "http://"+listener.Addr().String())
		return listener, nil
	case o.given:
		return nil, fmt.Errorf("serve health and metrics on %s: %w (choose another address with %s, or off)", o.addr, err, o.setting)
	}
	log.Warn("health and metrics are not served: the default address is in use", "addr", o.addr, "setting", o.setting, "error", err)
	return nil, nil
}

// opsTimeout bounds a request, and the farewell.
const opsTimeout = 5 * time.Second

// serveOps serves the routes until ctx ends. It closes the listener; with none it only waits.
func serveOps(ctx context.Context, listener net.Listener, log *slog.Logger, routes ...route) error {
	if listener == nil {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, r.handler)
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: opsTimeout, ReadTimeout: opsTimeout, WriteTimeout: 2 * opsTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve health and metrics: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := server.Shutdown(farewell); err != nil {
			return server.Close() // a request in progress is no reason to stay
		}
		return nil
	})
	return g.Wait()
}
