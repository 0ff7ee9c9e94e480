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
	path   string
	status int
	header http.Header
	body   []byte
	// began and ended are when the request was sent and its answer was complete.
	began, ended instant
}

func (a *answer) cacheStatus() string { return a.header.Get("Cache-Status") }
func (a *answer) hit() bool           { return strings.HasPrefix(a.cacheStatus(), "freshet; hit") }
func (a *answer) stale() bool         { return strings.HasSuffix(a.cacheStatus(), "detail=stale") }

// age is how far behind the answer is by its own account, in whole seconds.
func (a *answer) age() (time.Duration, error) {
	n, err := strconv.Atoi(a.header.Get("Age"))
	if err != nil {
		return 0, fmt.Errorf("%s: header Age: %w", a.path, err)
	}
	return time.Duration(n) * time.Second, nil
}

// failedError is a request that was not answered: refused, cut off, or with a status that says so.
type failedError struct {
	why string
	err error
}

func (e *failedError) Error() string {
	if e.err == nil {
		return e.why
	}
	return e.why + ": " + e.err.Error()
}
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
	a := &answer{path: req.URL.Path, began: c.history.now()}
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

// results are the rows that an answer has for each of the questions.
func (a *answer) results(asked []question) ([][]row, error) {
	all := make([][]row, len(asked))
	if len(asked) == 1 && a.path != togetherPath {
		if a.status == http.StatusNotFound {
			return all, nil
		}
		return all, decode(a.body, (*rows)(&all[0]))
	}
	var together struct {
		Results []struct{ Data rows }
	}
	if err := decode(a.body, &together); err != nil {
		return nil, err
	}
	if len(together.Results) != len(asked) {
		return nil, fmt.Errorf("%d results to %d questions: %s", len(together.Results), len(asked), a.body)
	}
	for i, r := range together.Results {
		all[i] = r.Data
	}
	return all, nil
}

func decode(body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	return nil
}

// rows are what a query shows: a list, one row, or null.
type rows []row

func (r *rows) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '[':
		return json.Unmarshal(text, (*[]row)(r))
	case 'n':
		*r = nil
		return nil
	}
	*r = make(rows, 1)
	return json.Unmarshal(text, &(*r)[0])
}
