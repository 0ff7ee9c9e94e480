package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/internal/testenv"
)

// network is the set of paths between our processes and the servers: one for each process and server, but both api's share theirs.
type network struct {
	proxies *testenv.Proxies
	paths   map[string]*testenv.Path
}

// networkOptions put a path of its own between each process and each server.
func networkOptions(t *testing.T) options {
	n := &network{proxies: testenv.Toxiproxy(t), paths: map[string]*testenv.Path{}}
	return options{network: n, between: func(process, server, url string) string {
		if process == "migrate" {
			return url
		}
		name := process + " to " + server
		if n.paths[name] == nil {
			n.paths[name] = n.proxies.Proxy(t, name, hostOf(url))
		}
		return n.paths[name].URL(url)
	}}
}

// hostOf is host:port of a URL.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return rest[strings.LastIndex(rest, "@")+1:]
}

const (
	latency = 300 * time.Millisecond
	// trickle is what a slow path lets through, in bytes a second and connection.
	trickle = 10_000
)

// disturbances are what befalls each path.
var disturbances = []struct {
	name string
	do   func(p *testenv.Path, tb testing.TB)
}{
	{"cut", (*testenv.Path).Cut},
	{"a black hole", (*testenv.Path).Hang},
	{"held up", (*testenv.Path).Hold},
	{fmt.Sprintf("delayed by %s", latency), func(p *testenv.Path, tb testing.TB) { p.Delay(tb, latency, latency/3) }},
	{fmt.Sprintf("slowed to %d KB/s", trickle/1000), func(p *testenv.Path, tb testing.TB) { p.Trickle(tb, trickle) }},
}

// networkFaults are those of each path. Where the api does not reach Postgres some requests cannot be answered.
func networkFaults() []fault {
	var all []fault
	for _, path := range []string{
		"api to redis", "api to postgres", "cdc to postgres", "cdc to nats", "invalidator to nats", "invalidator to redis", "invalidator to postgres",
	} {
		for i, d := range disturbances {
			all = append(all, fault{
				name: path + ": " + d.name, fails: path == "api to postgres", short: path == "cdc to nats" && i == 0,
				strike: func(s *site) {
					p := s.network.paths[path]
					d.do(p, s.t)
					s.hold(shortly)
					p.Heal(s.t)
				},
			})
		}
	}
	return all
}
