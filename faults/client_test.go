package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// requestTimeout is when a client says that nothing waits for ever, and was wrong.
	requestTimeout = 15 * time.Second
	adminToken     = "a-token"
)

// row is what a read shows of a register.
type row struct {
	ID, Value, Epoch int64
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
	// began and ended are when the request was sent and its answer was complete.
	began, ended instant
}

func (a *answer) cacheStatus() string { return a.header.Get("Cache-Status") }
func (a *answer) hit() bool           { return strings.HasPrefix(a.cacheStatus(), "freshet; hit") }
func (a *answer) stale() bool         { return strings.HasSuffix(a.cacheStatus(), "detail=stale") }

// age is how far behind the answer may be by its own account: Age counts whole seconds.
func (a *answer) age() (time.Duration, error) {
	n, err := strconv.Atoi(a.header.Get("Age"))
	if err != nil {
		return 0, fmt.Errorf("header Age: %w", err)
	}
	return time.Duration(n+1) * time.Second, nil
}

// failedError is a request that was not answered: refused, cut off, or with a status that says so.
type failedError struct {
	why string
	err error
}

func (e *failedError) Error() string { return e.why }
func (e *failedError) Unwrap() error { return e.err }

// client sends requests to the api's processes.
type client struct {
	http    *http.Client
	history *history
}

func newClient(h *history, connections int) *client {
	return &client{
		http:    &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}},
		history: h,
	}
}

// do sends a request. Its error is a *failedError where an outage may be the reason, and something else where it may not.
func (c *client) do(ctx context.Context, method, url string, body []byte, headers ...string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPut {
		req.Header.Set("Authorization", "Bearer "+adminToken)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	a := &answer{began: c.history.now()}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, outage(err)
	}
	a.body, err = io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, outage(err)
	}
	a.ended = c.history.now()
	a.status, a.header = resp.StatusCode, resp.Header
	switch a.status {
	case http.StatusOK, http.StatusNotModified, http.StatusNotFound:
		return a, nil
	case http.StatusServiceUnavailable:
		if a.header.Get("Retry-After") == "" {
			return nil, fmt.Errorf("%s %s: 503 without Retry-After: %s", method, url, a.body)
		}
		return nil, &failedError{why: "503 " + string(a.body)}
	case http.StatusGatewayTimeout:
		return a, &failedError{why: "504"}
	}
	return nil, fmt.Errorf("%s %s: status %d: %s", method, url, a.status, a.body)
}

// outage tells a request that was refused or cut off from one that waited for ever.
func outage(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("a request waited for ever: %w", err)
	}
	return &failedError{"no connection", err}
}

// rows reads the body of a read: one row, a list of them, or what POST /query answers.
func (a *answer) rows() ([]row, error) {
	body := bytes.TrimSpace(a.body)
	var all []row
	var err error
	switch {
	case bytes.HasPrefix(body, []byte("[")):
		err = json.Unmarshal(body, &all)
	case bytes.HasPrefix(body, []byte(`{"results"`)) || bytes.HasPrefix(body, []byte(`{"position"`)):
		var together struct{ Results []struct{ Data row } }
		err = json.Unmarshal(body, &together)
		for _, r := range together.Results {
			all = append(all, r.Data)
		}
	default:
		all = make([]row, 1)
		err = json.Unmarshal(body, &all[0])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", body, err)
	}
	return all, nil
}
