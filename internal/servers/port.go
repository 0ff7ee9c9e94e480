package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// Ports are taken from below the range that Linux and macOS give to outgoing connections (32768 and up): a server that
// restarts must get its port back, and a client's connection could have taken it meanwhile.
const (
	lowestPort  = 20000
	highestPort = 31999
	portTries   = 200
)

// handedOut are the ports that FreePort has returned in this process: two callers never get the same one, even if
// neither has listened yet.
var handedOut = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on and that it has not returned before.
func FreePort() (int, error) {
	handedOut.Lock()
	defer handedOut.Unlock()
	var last error
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if handedOut.ports[port] {
			continue
		}
		if last = listenable(port); last == nil {
			handedOut.ports[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port between %d and %d: %w", lowestPort, highestPort, last)
}

// choosePort returns the wanted port after checking that it is free, or a free one if wanted is 0.
func choosePort(server string, wanted int, hint string) (int, error) {
	if wanted == 0 {
		return FreePort()
	}
	err := listenable(wanted)
	switch {
	case err == nil:
		return wanted, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return 0, &PortInUseError{Server: server, Port: wanted, Hint: hint}
	default:
		return 0, fmt.Errorf("port %d, meant for %s: %w", wanted, server, err)
	}
}

// listenable tries to listen on the port, for a moment.
func listenable(port int) error {
	l, err := net.Listen("tcp", address(port)) //nolint:noctx // an address of numbers: nothing to wait for
	if err != nil {
		return err
	}
	return l.Close()
}

// address is the port on the loopback interface.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
