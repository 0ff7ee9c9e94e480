package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"freshet/internal/servers"
)

const (
	// readRounds is how often the sides of a figure take turns.
	readRounds = 4
	// readKeys is how many different blogs and users are read.
	readKeys = 200
)

// measureReads compares reads through the api with the same bytes sent by hand-written handlers.
func measureReads(ctx context.Context, r *rig, o options, rep *report) error {
	addr, err := startBaseline(ctx, r)
	if err != nil {
		return err
	}
	var blogs, dashboards []string
	for i := 1; i <= readKeys; i++ {
		blogs = append(blogs, "/blogs/"+strconv.Itoa(i))
		dashboards = append(dashboards, "/users/"+strconv.Itoa(i)+"/dashboard")
	}
	lists := []string{"/blogs"}
	body, err := fillReads(ctx, r, blogs)
	if err != nil {
		return err
	}
	d := o.duration / 2
	sides, err := alternate(ctx, r, "reading one blog", d, []target{
		{addr: r.apiAddr, paths: blogs, cached: true},
		{addr: addr, paths: prefixed(redisRoute, blogs)},
		{addr: addr, paths: prefixed(sqlRoute, blogs)},
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("hit, blog_by_id (%d B)", body)
	rep.add(name, "req/s", sides[0].perSecond(), "Echo + go-redis GET", sides[1].perSecond())
	rep.add(name, "req/s", sides[0].perSecond(), "Echo + SQL", sides[2].perSecond())
	for _, f := range []struct {
		query string
		paths []string
	}{{"blog_list", lists}, {"user_dashboard", dashboards}} {
		if body, err = fillReads(ctx, r, f.paths); err != nil {
			return err
		}
		sides, err := alternate(ctx, r, "reading "+f.query, d, []target{
			{addr: r.apiAddr, paths: f.paths, cached: true},
			{addr: addr, paths: prefixed(sqlRoute, f.paths)},
		})
		if err != nil {
			return err
		}
		rep.add(fmt.Sprintf("hit, %s (%d B)", f.query, body), "req/s", sides[0].perSecond(), "Echo + SQL", sides[1].perSecond())
	}
	if err := measureNoCache(ctx, r, d, blogs, rep); err != nil {
		return err
	}
	rep.notef("reads: %d connections of one generator in turns for all sides, on the same machine as everything else.", connections)
	return nil
}

const noCache = "Cache-Control: no-cache\r\n"

// measureNoCache compares linearizable reads with the default, on a quiet database, and counts those that fall back to Postgres while
// others write to the table.
func measureNoCache(ctx context.Context, r *rig, d time.Duration, paths []string, rep *report) error {
	if _, err := fillReads(ctx, r, paths); err != nil {
		return err
	}
	sides, err := alternate(ctx, r, "reading with no-cache", d, []target{
		{addr: r.apiAddr, paths: paths, cached: true, header: noCache},
		{addr: r.apiAddr, paths: paths, cached: true},
	})
	if err != nil {
		return err
	}
	rep.add("no-cache read on a hit, quiet", "req/s", sides[0].perSecond(), "the default read", sides[1].perSecond()).ratioAtLeast(0.7)

	writing, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	var writes atomic.Int64
	for range writers {
		g.Go(func() error { return writeElsewhere(writing, r, &writes) })
	}
	r.progress.beginf("reading with no-cache under %d writes/s", noCacheWrites)
	began := time.Now()
	l, err := load(ctx, target{addr: r.apiAddr, paths: paths, header: noCache}, d)
	took := time.Since(began)
	stop()
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	rep.add(fmt.Sprintf("no-cache reads that fell back to Postgres, at %.0f writes/s", float64(writes.Load())/took.Seconds()), "%",
		100*float64(l.misses)/float64(l.requests), "", 0).atMost(5)
	return nil
}

// noCacheWrites is the rate of writes to rows of the same table that nobody reads.
const noCacheWrites = 2000

func writeElsewhere(ctx context.Context, r *rig, writes *atomic.Int64) error {
	tick := time.NewTicker(time.Second * writers / noCacheWrites)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_, err := r.pool.Exec(context.WithoutCancel(ctx), "UPDATE blogs SET views = views + 1 WHERE id = $1", 1+readKeys+rand.IntN(readKeys))
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			writes.Add(1)
		}
	}
}

func startBaseline(ctx context.Context, r *rig) (addr string, err error) {
	port, err := servers.FreePort()
	if err != nil {
		return "", err
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := r.startOther("baseline", "--addr", addr); err != nil {
		return "", err
	}
	return addr, until(ctx, "the baseline answers", func() (bool, error) {
		_, err := get(ctx, addr, sqlRoute+"/blogs/1")
		return err == nil, nil
	})
}

// fillReads makes every path a hit, gives the baseline's Redis keys the same bytes, and returns the length of the first body.
func fillReads(ctx context.Context, r *rig, paths []string) (length int, err error) {
	for _, path := range paths {
		err := until(ctx, path+" is a hit", func() (bool, error) {
			answer, err := get(ctx, r.apiAddr, path)
			if err != nil || !answer.hit {
				return false, err
			}
			if path == paths[0] {
				length = len(answer.body)
			}
			return true, r.client.Set(ctx, bodyKey+path, answer.body, 0).Err()
		})
		if err != nil {
			return 0, err
		}
	}
	return length, nil
}

func prefixed(prefix string, paths []string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = prefix + path
	}
	return out
}

// mostMisses is the share of answers from which on a figure of hits is none.
const mostMisses = 0.01

// alternate loads targets in turns, so that what else happens on the machine happens to all of them; d is the time for each.
func alternate(ctx context.Context, r *rig, what string, d time.Duration, targets []target) ([]loaded, error) {
	r.progress.beginf("%s, %.1f s on each of %d sides", what, d.Seconds(), len(targets))
	sums := make([]loaded, len(targets))
	for round := range readRounds {
		for i, t := range targets {
			l, err := load(ctx, t, d/readRounds)
			if err != nil {
				return nil, err
			}
			sums[i].add(l)
			r.progress.count(round*len(targets)+i+1, readRounds*len(targets))
		}
	}
	for i, t := range targets {
		if s := sums[i]; t.cached && float64(s.misses) > mostMisses*float64(s.requests) {
			return nil, fmt.Errorf("%d of %d answers of %s were no hits", s.misses, s.requests, t.paths[0])
		}
	}
	return sums, nil
}
