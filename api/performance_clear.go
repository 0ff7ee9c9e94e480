package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"freshet/cache"
)

// clearRequest is the body of POST /performance/cache/clear: exactly one of them.
type clearRequest struct {
	Everything *bool   `json:"everything,omitempty"`
	Table      *string `json:"table,omitempty"`
	Query      *string `json:"query,omitempty"`
	Tag        *string `json:"tag,omitempty"`
	Pattern    *string `json:"pattern,omitempty"`
}

// clearAnswer says what was done.
type clearAnswer struct {
	Target  string `json:"target"` // everything, table, query, tag or pattern
	Name    string `json:"name,omitempty"`
	Cleared int    `json:"cleared"` // buckets
}

const (
	// maxClearName bounds what is named: a tag with ten long values is shorter.
	maxClearName = 2000
	// maxWildcards bounds those of a pattern. Redis tries all ways to match them, and answers nobody meanwhile.
	maxWildcards = 8
)

// clearing is what a request asks for, checked.
type clearing struct {
	clearAnswer

	do func(context.Context) (int, error)
}

// clear deletes buckets, with their tokens, as a change does (rule 3): a fill that is under way lands under a dead token. So it is safe
// at any time, and costs only misses.
func (p *performance) clear(c echo.Context) error {
	if err := p.api.authorize(c); err != nil {
		return err
	}
	raw, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	todo, err := p.clearing(raw)
	if err != nil {
		return &problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	ctx := c.Request().Context()
	todo.Cleared, err = todo.do(ctx)
	// Who, what and how many: also of one that failed on the way.
	who := []any{"remote", c.Request().RemoteAddr, "target", todo.Target, "name", todo.Name, "cleared", todo.Cleared}
	p.api.log.InfoContext(ctx, "cache cleared by request", who...)
	if err != nil {
		p.api.log.ErrorContext(ctx, "not all was cleared", append(who, "error", err)...)
		return &problem{
			Status: http.StatusServiceUnavailable, retryAfter: true,
			Detail: fmt.Sprintf("Redis failed on the way: %d buckets were cleared, others may be left", todo.Cleared),
		}
	}
	return show(c, todo.clearAnswer)
}

// clearing reads a request.
func (p *performance) clearing(raw []byte) (*clearing, error) {
	const form = `the body must be one of {"everything": true}, {"table": "schema.table"}, {"query": "name"}, {"tag": "schema.table:column=value"} ` +
		`and {"pattern": "schema.table:column=4*"}`
	var r clearRequest
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", form, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New(form + ": it goes on behind its JSON object")
	}
	var all []*clearing
	for _, one := range []struct {
		target string
		name   *string
		check  func(string) (func(context.Context) (int, error), error)
	}{
		{"table", r.Table, p.clearTable}, {"query", r.Query, p.clearQuery}, {"tag", r.Tag, p.clearTag}, {"pattern", r.Pattern, p.clearPattern},
	} {
		if one.name == nil {
			continue
		}
		if len(*one.name) > maxClearName {
			return nil, fmt.Errorf("the %s is longer than %d bytes", one.target, maxClearName)
		}
		do, err := one.check(*one.name)
		if err != nil {
			return nil, err
		}
		all = append(all, &clearing{clearAnswer{Target: one.target, Name: *one.name}, do})
	}
	if r.Everything != nil {
		if !*r.Everything {
			return nil, errors.New(form + ": everything can only be true")
		}
		all = append(all, &clearing{clearAnswer{Target: "everything"}, p.api.cfg.Store.ClearAll})
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%s: it has %d of them", form, len(all))
	}
	return all[0], nil
}

func (p *performance) clearTable(name string) (func(context.Context) (int, error), error) {
	schema, table, ok := strings.Cut(name, ".")
	if !ok || schema == "" || table == "" || strings.Contains(name, ":") {
		return nil, fmt.Errorf("%q is no table: it needs its schema (public.blogs)", name)
	}
	return func(ctx context.Context) (int, error) { return p.api.cfg.Store.ClearTable(ctx, schema, table) }, nil
}

func (p *performance) clearQuery(name string) (func(context.Context) (int, error), error) {
	q := p.api.byName[name]
	if q == nil {
		return nil, fmt.Errorf("there is no read named %q", name)
	}
	one := p.api.plans.Load().Of[q]
	if one == nil || one.Refused != nil {
		return nil, fmt.Errorf("the query %s is not cached now", name)
	}
	shapes := make([]cache.Shape, 0, len(one.Needs))
	for _, n := range one.Needs {
		shapes = append(shapes, n.Shape)
	}
	return func(ctx context.Context) (int, error) {
		return p.api.cfg.Store.ClearShapes(ctx, cache.Union(shapes)...)
	}, nil
}

func (p *performance) clearTag(name string) (func(context.Context) (int, error), error) {
	tag, err := cache.ParseTag(name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) { return p.api.cfg.Store.ClearTag(ctx, tag) }, nil
}

func (p *performance) clearPattern(pattern string) (func(context.Context) (int, error), error) {
	pattern = strings.TrimPrefix(pattern, cache.DefaultPrefix)
	for strings.Contains(pattern, "**") {
		pattern = strings.ReplaceAll(pattern, "**", "*")
	}
	switch {
	case pattern == "":
		return nil, errors.New("the pattern is empty")
	case strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, errors.New("the pattern has a space or a control character, which no bucket's name has")
	case strings.Count(pattern, "*")+strings.Count(pattern, "?")+strings.Count(pattern, "[") > maxWildcards:
		return nil, fmt.Errorf("the pattern has more than %d wildcards", maxWildcards)
	}
	return func(ctx context.Context) (int, error) { return p.api.cfg.Store.ClearMatching(ctx, pattern) }, nil
}
