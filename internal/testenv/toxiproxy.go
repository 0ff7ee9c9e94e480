package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"

	"freshet/internal/servers"
)

const toxiproxyProgram = "github.com/Shopify/toxiproxy/v2/cmd/server"

const (
	// forever is longer than any test.
	forever = 24 * time.Hour
	// slices is how many pieces a second of slow traffic is cut into.
	slices = 20
	// kilobyte is the unit of Toxiproxy's bandwidth.
	kilobyte = 1000
)

// directions are Toxiproxy's names for what a client sends and what it receives.
var directions = []string{"upstream", "downstream"}

// Proxies is the network between the servers of one test.
type Proxies struct{ program string }

// Path is one way through the network: clients who connect to Addr reach the upstream, until a fault befalls the path. A fault replaces
// the one before. All of it returns when the fault is in force; at once from several goroutines is fine.
//
// Each path has a Toxiproxy of its own: one that hangs must not touch the others.
type Path struct {
	program, name, addr string
	port                int // of Toxiproxy's own API

	mu        sync.Mutex
	proc      *Process
	proxy     *toxiproxy.Proxy
	upstreams []string // all that there have been
}

// Toxiproxy builds Toxiproxy, for paths.
func Toxiproxy(tb testing.TB) *Proxies {
	tb.Helper()
	return &Proxies{program: tool(tb, toxiproxyProgram, "toxiproxy")}
}

// Proxy makes a path to an upstream, host:port. The name is for those who read what failed.
func (p *Proxies) Proxy(tb testing.TB, name, upstream string) *Path {
	tb.Helper()
	// Not ports of the system's choice: a path that is cut gives its own up, and an outgoing connection could take it.
	port, err := servers.FreePort()
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	api, err := servers.FreePort()
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	path := &Path{
		program: p.program, name: name, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port: api, upstreams: []string{upstream},
	}
	if err := path.start(tb); err != nil {
		tb.Fatalf("testenv: make the path %s: %v", name, err)
	}
	return path
}

// start starts the path's Toxiproxy, without a fault.
func (p *Path) start(tb testing.TB) error {
	tb.Helper()
	// Its log has a line for each connection, and one for each that a fault breaks.
	p.proc = StartProcess(tb, p.program, []string{"LOG_LEVEL=error"}, "-host", "127.0.0.1", "-port", strconv.Itoa(p.port))
	client := toxiproxy.NewClient(net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
	Eventually(tb, patience, func() (bool, string) {
		select {
		case <-p.proc.Done():
			tb.Fatalf("testenv: Toxiproxy ended: %v", p.proc.Wait(context.Background()))
		default:
		}
		_, err := client.Version()
		return err == nil, fmt.Sprint(err)
	})
	var err error
	p.proxy, err = client.CreateProxy(p.name, p.addr, p.upstreams[len(p.upstreams)-1])
	return err
}

// Addr is where clients connect: host:port.
func (p *Path) Addr() string { return p.addr }

// URL is the address of a server with its host and port replaced by those of the path. Of several hosts the one that the
// path leads to is replaced.
func (p *Path) URL(original string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, upstream := range p.upstreams {
		if strings.Contains(original, upstream) {
			return strings.Replace(original, upstream, p.addr, 1)
		}
	}
	scheme, rest, _ := strings.Cut(original, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	begin := strings.LastIndex(rest[:end], "@") + 1
	return scheme + "://" + rest[:begin] + p.addr + rest[end:]
}

// Cut closes all connections and refuses new ones.
func (p *Path) Cut(tb testing.TB) {
	tb.Helper()
	p.change(tb, "cut", func() error {
		if err := p.proxy.Disable(); err != nil {
			return err
		}
		return clearToxics(p.proxy)
	})
}

// Hang lets no byte pass: connections stay, new ones can be made, and what is sent is lost. Heal closes them, as the
// bytes cannot come back: to both sides the other one has been silent and then gone.
func (p *Path) Hang(tb testing.TB) {
	tb.Helper()
	p.suffer(tb, "hang", toxic{"timeout", toxiproxy.Attributes{"timeout": 0}})
}

// Hold lets no byte pass either, but keeps what is sent: Heal delivers all of it, late, on connections that have stayed.
// So does TCP when a network comes back before anybody has given up.
func (p *Path) Hold(tb testing.TB) {
	tb.Helper()
	p.suffer(tb, "hold", toxic{"latency", toxiproxy.Attributes{"latency": forever.Milliseconds()}})
}

// Delay adds a latency, give or take a jitter, to what passes in each direction: a round trip takes twice as much.
func (p *Path) Delay(tb testing.TB, latency, jitter time.Duration) {
	tb.Helper()
	p.suffer(tb, "delay", toxic{"latency", toxiproxy.Attributes{
		"latency": latency.Milliseconds(), "jitter": jitter.Milliseconds(),
	}})
}

// Trickle lets so many bytes a second pass in each direction of each connection, in small pieces.
func (p *Path) Trickle(tb testing.TB, bytesPerSecond int) {
	tb.Helper()
	if bytesPerSecond <= 0 {
		tb.Fatalf("testenv: a path that lets %d bytes a second pass is one that hangs", bytesPerSecond)
	}
	size := max(1, bytesPerSecond/slices)
	slicer := toxiproxy.Attributes{"average_size": size}
	if bytesPerSecond < kilobyte { // below what the bandwidth can say, the pause between the pieces makes the rate
		slicer["delay"] = size * int(time.Second/time.Microsecond) / bytesPerSecond
		p.suffer(tb, "trickle", toxic{"slicer", slicer})
		return
	}
	p.suffer(tb, "trickle", toxic{"slicer", slicer},
		toxic{"bandwidth", toxiproxy.Attributes{"rate": bytesPerSecond / kilobyte}})
}

// Heal ends whatever fault there is. Toxiproxy does not come to an end with a connection that one side has left while its bytes were
// held, and answers no more: then it is started anew, which closes the path's connections.
func (p *Path) Heal(tb testing.TB) {
	tb.Helper()
	p.change(tb, "heal", func() error {
		healed := make(chan error, 1)
		proxy := p.proxy
		go func() { healed <- errors.Join(clearToxics(proxy), proxy.Enable()) }() // ends with the process at the latest
		select {
		case err := <-healed:
			if err == nil {
				return nil
			}
		case <-time.After(healTimeout):
		}
		tb.Logf("Toxiproxy cannot heal the path %s: it is started anew", p.name)
		p.proc.Kill()
		return p.start(tb)
	})
}

// healTimeout is many times what Toxiproxy takes to heal a path.
const healTimeout = 2 * time.Second

// Retarget makes the path lead to another server, host:port, as a failover does. It closes all connections, those to the
// old server included; a fault stays.
func (p *Path) Retarget(tb testing.TB, upstream string) {
	tb.Helper()
	p.change(tb, "retarget", func() error {
		p.upstreams = append(p.upstreams, upstream)
		p.proxy.Upstream = upstream
		return p.proxy.Save()
	})
}

// toxic is a toxic of Toxiproxy, for both directions.
type toxic struct {
	kind       string
	attributes toxiproxy.Attributes
}

// suffer puts toxics on a path that is open, in place of those that there are.
func (p *Path) suffer(tb testing.TB, what string, toxics ...toxic) {
	tb.Helper()
	p.change(tb, what, func() error {
		if err := clearToxics(p.proxy); err != nil {
			return err
		}
		for _, direction := range directions {
			for _, t := range toxics {
				if _, err := p.proxy.AddToxic(t.kind+"_"+direction, t.kind, direction, 1, t.attributes); err != nil {
					return err
				}
			}
		}
		return p.proxy.Enable()
	})
}

// change does one thing to the path.
func (p *Path) change(tb testing.TB, what string, do func() error) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := do(); err != nil {
		tb.Fatalf("testenv: %s the path %s: %v", what, p.name, err)
	}
}

// clearToxics takes all toxics off a path.
func clearToxics(proxy *toxiproxy.Proxy) error {
	toxics, err := proxy.Toxics()
	if err != nil {
		return err
	}
	for _, t := range toxics {
		if err := proxy.RemoveToxic(t.Name); err != nil {
			return err
		}
	}
	return nil
}
