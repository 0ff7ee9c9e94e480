package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/config"
	"freshet/internal/health"
)

// healthSettings say whom to ask, and for what.
type healthSettings struct {
	api   string
	cdc   config.CDC
	inv   config.Invalidator
	token string

	url              string
	ofCDC, ofInv     bool
	isLive, detailed bool
}

// Register adds the settings: those of the processes, so that in a container the command asks the one that runs there.
func (h *healthSettings) Register(s *config.Set) {
	s.String(&h.api, "http-addr", "FRESHET_HTTP_ADDR", "127.0.0.1:8080", "address that the api serves on")
	h.cdc.RegisterAddr(s)
	h.inv.Register(s)
	config.RegisterAdminToken(s, &h.token)
}

func healthCommand() *cobra.Command {
	var h healthSettings
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a running api, cdc or invalidator whether it is ready: exit status 0 or 1",
		Long: `Asks a process whether it is ready, and prints what it says: the api unless told otherwise. Exit status 0 if it is, else 1.
For the health checks of containers.`,
	}
	f := cmd.Flags()
	f.StringVar(&h.url, "url", "", "ask the process at this URL, http://host:port")
	f.BoolVar(&h.ofCDC, "cdc", false, "ask cdc, at --cdc-http-addr")
	f.BoolVar(&h.ofInv, "invalidator", false, "ask the invalidator, at --invalidator-http-addr")
	f.BoolVar(&h.isLive, "live", false, "ask only whether the process answers")
	f.BoolVar(&h.detailed, "detailed", false, "ask for everything that it knows, with the admin token; exit status 1 if it is down")
	cmd.MarkFlagsMutuallyExclusive("url", "cdc", "invalidator")
	cmd.MarkFlagsMutuallyExclusive("live", "detailed")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		base, err := h.base()
		if err != nil {
			return err
		}
		return h.ask(cmd.Context(), base, cmd.OutOrStdout())
	}, &h)
}

// base is the URL of the process that is asked.
func (h *healthSettings) base() (string, error) {
	addr := h.api
	switch {
	case h.url != "":
		return strings.TrimRight(h.url, "/"), nil
	case h.ofCDC:
		addr = h.cdc.HTTPAddr
	case h.ofInv:
		addr = h.inv.HTTPAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // where the process listens on every address, loopback is one
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

func (h *healthSettings) ask(ctx context.Context, base string, out io.Writer) error {
	path := health.PathReady
	switch {
	case h.isLive:
		path = health.PathLive
	case h.detailed:
		path = health.PathDetailed
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	if h.detailed && h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	body = bytes.TrimSpace(body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", base+path, resp.Status, body)
	}
	if h.detailed {
		return printDetails(out, body)
	}
	_, err = fmt.Fprintln(out, string(body))
	return err
}

// errDown is the end of a request for details of a process that is down: they were printed.
var errDown = errors.New("the process is down")

func printDetails(out io.Writer, body []byte) error {
	var indented bytes.Buffer
	var basic health.Basic
	if err := errors.Join(json.Indent(&indented, body, "", "  "), json.Unmarshal(body, &basic)); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if _, err := fmt.Fprintln(out, indented.String()); err != nil {
		return err
	}
	if basic.Status == health.ProcessDown {
		return errDown
	}
	return nil
}
