package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The probes are rows that nobody reads or writes but those who want to know whether everything works.
const (
	probe      = 1_000_000 // written by SQL
	probePut   = probe + 1 // written through the api
	probeNone  = probe + 2 // not there
	probeGroup = 1_000
)

// recover waits until everything works: each kind of read shows the probes as they were last written, those that the cache may answer
// as hits, and each kind of write is done. It returns how long that took.
func (s *site) recover(within time.Duration) (time.Duration, error) {
	began := time.Now()
	s.probed++
	version := s.probed
	err := s.again(began.Add(within), "a write by SQL", func(ctx context.Context) error {
		c, err := s.primary(ctx)
		if err != nil {
			return err
		}
		defer closeConn(c)
		_, err = c.Exec(ctx, set, probe, version)
		return err
	})
	for _, url := range s.all {
		if err == nil {
			err = s.again(began.Add(within), "a write by HTTP", func(ctx context.Context) error {
				s.probed++ // an attempt that failed may have been done
				_, err := put(ctx, s.client, url, probePut, s.probed)
				return err
			})
		}
		for _, e := range expectations(version, s.probed) {
			if err == nil {
				err = s.again(began.Add(within), e.ask.String(), func(ctx context.Context) error { return s.expected(ctx, url, e) })
			}
		}
	}
	took := time.Since(began)
	if _, broken := errors.AsType[*staleError](err); err != nil && !broken && s.ctx.Err() == nil {
		err = fmt.Errorf("not back %s after the fault's end: %w", within, err)
	}
	return took, err
}

// again tries until it works, or until it is too late.
func (s *site) again(end time.Time, what string, try func(ctx context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
		err := try(ctx)
		cancel()
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", what, err)
		if _, broken := errors.AsType[*staleError](err); broken || s.ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		pause(s.ctx, 10*time.Millisecond)
	}
}

// expectation is a read, and what it has to show once everything works.
type expectation struct {
	ask      ask
	versions []int64
	status   string // that the Cache-Status begins with
	mark     bool   // it is asked again, with the position of its first answer
	etag     bool   // it is asked again, with the entity tag of its first answer
}

// expectations are those of each kind of read.
func expectations(written, put int64) []expectation {
	const hit = "freshet; hit; ttl="
	one := []question{{query: plain, id: probe}}
	list := []question{{query: groupList, group: probeGroup}}
	none := []question{{query: plain, id: probeNone}}
	all := append(append([]question{{query: plain, id: probePut}}, one...), append(list, none...)...)
	noCache, none1 := []string{linearizable}, []int64{unseen}
	return []expectation{
		{ask: ask{questions: one, headers: noCache, strict: true}, versions: []int64{written}, status: hit},
		{ask: ask{questions: one}, versions: []int64{written}, status: hit},
		{ask: ask{questions: one, headers: []string{"Cache-Control: max-age=1"}}, versions: []int64{written}, status: hit},
		{ask: ask{questions: one, headers: []string{"Cache-Control: only-if-cached"}}, versions: []int64{written}, status: hit},
		{ask: ask{questions: one, headers: []string{"Cache-Control: no-store"}, strict: true}, versions: []int64{written}, status: "freshet; fwd=bypass; detail=no-store"},
		{ask: ask{questions: one}, versions: []int64{written}, status: hit, mark: true},
		{ask: ask{questions: one}, versions: []int64{written}, status: hit, etag: true},
		{ask: ask{questions: none}, versions: none1, status: hit},
		{ask: ask{questions: []question{{query: slow, id: probe}}}, versions: []int64{written}, status: hit},
		{ask: ask{questions: []question{{query: tolerant, id: probe}}}, versions: []int64{written}, status: hit},
		{ask: ask{questions: list}, versions: []int64{written, put}, status: hit},
		{ask: ask{questions: all}, versions: []int64{put, written, written, put, unseen}, status: hit},
		{ask: ask{questions: all, headers: noCache, strict: true}, versions: []int64{put, written, written, put, unseen}, status: hit},
	}
}

// expected makes the read.
func (s *site) expected(ctx context.Context, url string, e expectation) error {
	a, err := e.ask.send(ctx, s.client, url)
	if err != nil {
		return err
	}
	q := e.ask
	switch {
	case e.mark:
		q.headers = []string{positionTitle + ": " + a.header.Get(positionTitle)}
	case e.etag:
		q.headers = []string{"If-None-Match: " + a.header.Get("ETag")}
	}
	if e.mark || e.etag {
		if a, err = q.send(ctx, s.client, url); err != nil {
			return err
		}
	}
	if e.etag {
		if a.status != http.StatusNotModified {
			return fmt.Errorf("status %d for the answer's own ETag", a.status)
		}
	} else if err := e.shown(a); err != nil {
		return err
	}
	if len(a.cacheStatus()) < len(e.status) || a.cacheStatus()[:len(e.status)] != e.status || a.stale() {
		return errors.New("answered with " + a.cacheStatus())
	}
	return nil
}

// shown compares what an answer shows. A read that must be linearizable has no second chance.
func (e *expectation) shown(a *answer) error {
	results, err := a.results(e.ask.questions)
	if err != nil {
		return err
	}
	var versions []int64
	for _, rows := range results {
		for _, r := range rows {
			versions = append(versions, r.Value)
		}
		if len(rows) == 0 {
			versions = append(versions, unseen)
		}
	}
	if fmt.Sprint(versions) == fmt.Sprint(e.versions) {
		return nil
	}
	what := fmt.Sprintf("the probes are at %d, and were answered as %d (%s)", e.versions, versions, a.cacheStatus())
	if e.ask.strict {
		return &staleError{what: what}
	}
	return errors.New(what)
}
