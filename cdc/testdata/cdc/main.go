// Command cdc is a process for the tests to kill and to measure: package cdc and nothing else.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"

	"freshet/cdc"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	conn, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := cdc.New(cdc.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"), NATS: conn,
		Source: os.Getenv("SOURCE"), Slot: os.Getenv("SLOT"), Publication: os.Getenv("PUBLICATION"),
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnStreaming: func() { fmt.Println("streaming now") },
	})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}
