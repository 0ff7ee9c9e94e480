package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"freshet/internal/servers"
)

const (
	// metricsPairs is how often both sides are started anew: two processes of the same program differ by a few hundredths as long as they
	// live, which is as much as is looked for.
	metricsPairs = 4
	// metricsRounds is how often the two sides of a pair take turns.
	metricsRounds = 10
	// leastOfMetrics is the share of its throughput that a hit must keep.
	leastOfMetrics = 0.97
)

// measureMetrics compares hits of two apis on the same cache, of which one measures nothing.
func measureMetrics(ctx context.Context, r *rig, o options, rep *report) error {
	blogs := make([]string, readKeys)
	for i := range blogs {
		blogs[i] = "/blogs/" + strconv.Itoa(i+1)
	}
	if _, err := fillReads(ctx, r, blogs); err != nil {
		return err
	}
	each := 2 * o.duration / metricsPairs
	r.progress.beginf("reading with and without metrics, %.1f s on each side", (metricsPairs * each).Seconds())
	var sums [2]loaded
	for pair := range metricsPairs {
		if err := r.measurePair(ctx, blogs, each, &sums); err != nil {
			return err
		}
		r.progress.count(pair+1, metricsPairs)
	}
	for _, s := range sums {
		if float64(s.misses) > mostMisses*float64(s.requests) {
			return fmt.Errorf("%d of %d answers were no hits", s.misses, s.requests)
		}
	}
	rep.add("hit, with metrics", "req/s", sums[0].perSecond(), "without", sums[1].perSecond()).ratioAtLeast(leastOfMetrics)
	return nil
}

// measurePair starts an api with metrics and one without, and adds what they do to the sums.
func (r *rig) measurePair(ctx context.Context, paths []string, d time.Duration, sums *[2]loaded) (err error) {
	var sides [2]target
	for i, setting := range []string{"FRESHET_TELEMETRY=true", "FRESHET_TELEMETRY=false"} {
		addr, api, startErr := r.startAnotherAPI(ctx, setting)
		defer func() { err = errors.Join(err, api.stop()) }()
		if startErr != nil {
			return startErr
		}
		sides[i] = target{addr: addr, paths: paths, cached: true}
	}
	for round := range metricsRounds {
		for turn := range sides {
			side := (round + turn) % len(sides) // each begins as often as the other
			l, err := load(ctx, sides[side], d/metricsRounds)
			if err != nil {
				return err
			}
			sums[side].add(l)
		}
	}
	return nil
}

// startAnotherAPI starts an api beside the one that is there, and waits until it reads from the cache too.
func (r *rig) startAnotherAPI(ctx context.Context, setting string) (addr string, api *program, err error) {
	port, err := servers.FreePort()
	if err != nil {
		return "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	api, err = r.start("freshet api with "+setting, r.freshet, r.env(
		"FRESHET_HTTP_ADDR="+addr, "FRESHET_EXAMPLE=true", "FRESHET_QUERIES="+filepath.Join(r.dir, "queries"), setting,
	), "api")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return addr, api, until(ctx, "another api answers from the cache", func() (bool, error) {
		answer, err := get(ctx, addr, "/blogs/1")
		return err == nil && answer.hit, nil
	})
}
