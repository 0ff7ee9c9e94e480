package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/config"
)

// healthSettings is the one setting of the command: where the api listens.
type healthSettings struct{ addr string }

func (h *healthSettings) Register(s *config.Set) {
	s.String(&h.addr, "http-addr", "FRESHET_HTTP_ADDR", "127.0.0.1:8080", "address that the api serves on")
}

func healthCommand() *cobra.Command {
	var settings healthSettings
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a running api whether it is ready: exit status 0 or 1",
	}
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		return askHealth(cmd, settings.addr)
	}, &settings)
}

func askHealth(cmd *cobra.Command, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // where the api listens on every address, loopback is one
	}
	url := "http://" + net.JoinHostPort(host, port) + "/health/ready"
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}
