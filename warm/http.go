package warm

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/cache"
)

// HTTP asks a running api for each pair, by the query's own route.
type HTTP struct {
	// URL is that of the api, Client what asks it.
	URL    string
	Client *http.Client
	// Timeout bounds one request.
	Timeout time.Duration
}

// NewHTTP makes one that keeps as many connections as there are requests at once.
func NewHTTP(url string, concurrency int, timeout time.Duration) *HTTP {
	t := &http.Transport{
		DialContext: (&net.Dialer{Timeout: timeout}).DialContext, MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency,
		IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	return &HTTP{URL: strings.TrimSuffix(url, "/"), Client: &http.Client{Transport: t}, Timeout: timeout}
}

// Fill asks for one pair.
func (h *HTTP) Fill(ctx context.Context, p Pair) Outcome {
	path, ok := p.Args.URL()
	if !ok {
		return Outcome{Kind: Refused, Reason: "no URL has these parameters"}
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+path, nil)
	if err != nil {
		return Outcome{Kind: Refused, Reason: "no URL has these parameters"}
	}
	req.Header.Set("User-Agent", "freshet-warm")
	resp, err := h.Client.Do(req)
	if err != nil {
		return Outcome{Kind: Busy, Reason: "the api cannot be reached"}
	}
	_, err = io.Copy(io.Discard, resp.Body) // to its end, for the connection to be used again
	_ = resp.Body.Close()                   // read
	if err != nil {
		return Outcome{Kind: Busy, Reason: "the api's answer was cut off"}
	}
	return outcomeOf(resp)
}

// outcomeOf reads an answer. The api says in Cache-Status where it comes from (RFC 9211).
func outcomeOf(resp *http.Response) Outcome {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNotFound, http.StatusNotModified:
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests, http.StatusBadGateway:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // without one the pause is our own
		return Outcome{Kind: Busy, Reason: answered(resp), After: time.Duration(seconds) * time.Second, Own: resp.StatusCode == http.StatusGatewayTimeout}
	default:
		return Outcome{Kind: Refused, Reason: answered(resp)}
	}
	status := resp.Header.Get("Cache-Status")
	name, _, _ := strings.Cut(status, ";")
	words := strings.Split(strings.ReplaceAll(status, " ", ""), ";")
	has := func(word string) bool { return slices.Contains(words, word) }
	switch {
	case name != "freshet":
		return Outcome{Kind: Refused, Reason: "the api does not serve the query: " + answered(resp)}
	case has("hit") && !has("detail=stale"):
		return Outcome{Kind: Skipped}
	case has("fwd=miss") && has("stored"):
		return Outcome{Kind: Filled}
	case has("fwd=miss"):
		return NotStored()
	case has("hit"):
		return Outcome{Kind: Busy, Reason: "Postgres does not answer"}
	}
	for _, word := range words {
		if reason, ok := strings.CutPrefix(word, "detail="); ok {
			return Bypassed(reason)
		}
	}
	return Outcome{Kind: Refused, Reason: answered(resp)}
}

func answered(resp *http.Response) string {
	return fmt.Sprintf("the api answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// NotStored is the outcome of an answer that could not be put into the cache.
func NotStored() Outcome { return Outcome{Kind: Busy, Reason: "not stored"} }

// Bypassed is the outcome of an answer without the cache. For most reasons it is a matter of time until the cache is in use again.
func Bypassed(reason string) Outcome {
	o := Outcome{Kind: Refused, Reason: "bypass: " + reason}
	switch reason {
	case cache.ReasonUnavailable, cache.ReasonNoWatermark, cache.ReasonInactive, cache.ReasonSchema, cache.ReasonStale, cache.ReasonBehind,
		cache.ReasonNoMark:
		o.Kind, o.Own = Busy, reason == cache.ReasonInactive
	}
	return o
}
