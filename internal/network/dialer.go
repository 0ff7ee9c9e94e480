// Package network makes the connections to Postgres, Redis and NATS, so that a path that has died is noticed within seconds and
// not when the system gives up, which by default takes it minutes, or for a connection on which nothing is sent hours.
//
// It knows nothing of what the connections are for.
package network

import (
	"net"
	"syscall"
	"time"
)

const (
	// DialTimeout bounds one attempt to connect. Lost SYNs are sent again after 1, 3, 7, ... seconds: to begin anew is faster
	// than to wait for the third.
	DialTimeout = 2 * time.Second
	// DeadAfter is how long the other side's machine may be silent, while it is asked or has something to acknowledge, until
	// the connection counts as dead.
	DeadAfter = 3 * time.Second
	// ProbeAfter is how long nothing may come until the machine is asked.
	ProbeAfter = time.Second
	// ProbeInterval is the time between two such questions.
	ProbeInterval = time.Second
	// Probes is how many of them may stay without an answer.
	Probes = int((DeadAfter - ProbeAfter) / ProbeInterval)
)

// Dialer connects with TCP so that the connection fails within about DeadAfter once the path is dead, whether something was sent
// (TCP_USER_TIMEOUT, where the system has it) or not (keepalive).
func Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         DialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: ProbeAfter, Interval: ProbeInterval, Count: Probes},
		Control: func(network, _ string, conn syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			return limitUnacknowledged(conn, DeadAfter)
		},
	}
}
