package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"freshet/cache"
)

// overHTTP asks the api the same question, for nothing but the cache. What it answers must be the entry, if that was there before
// the request and is still there afterwards; nil if it is, or nothing can be said.
func (a *Auditor) overHTTP(ctx context.Context, s *subject, first *cache.Inspection) *Stale {
	path, ok := s.args.URL()
	if !ok {
		return nil
	}
	answer, hit, err := a.get(ctx, strings.TrimSuffix(a.cfg.URL, "/")+path)
	if err != nil {
		if ctx.Err() == nil {
			a.failed("the api cannot be asked", err)
		}
		return nil
	}
	a.stats.asked(hit)
	if !hit || compare(answer, first.Answer.Result) == "" {
		return nil
	}
	second, err := a.reader.Inspect(ctx, s.req)
	if err != nil || gone(first, second) {
		return nil
	}
	wrong := a.describe(s, second, answer, second.Watermark)
	wrong.Kind = KindAnswer
	return wrong
}

// get is one request; hit is false if the api has not answered from the cache.
func (a *Auditor) get(ctx context.Context, target string) (r cache.Result, hit bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.CommandTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return r, false, err
	}
	req.Header.Set("Cache-Control", "only-if-cached")
	resp, err := a.cfg.Client.Do(req)
	if err != nil {
		return r, false, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return r, false, err
	}
	hit = strings.HasPrefix(resp.Header.Get("Cache-Status"), "freshet; hit") && !strings.Contains(resp.Header.Get("Cache-Status"), "detail=stale")
	switch resp.StatusCode {
	case http.StatusOK:
		return cache.Result{Found: true, Body: bytes.Clone(body)}, hit, nil
	case http.StatusNotFound:
		return cache.Result{}, hit, nil
	case http.StatusGatewayTimeout:
		return r, false, nil
	}
	return r, false, fmt.Errorf("GET %s: %s", target, resp.Status)
}
