//go:build !linux

package network

import (
	"syscall"
	"time"
)

// limitUnacknowledged does nothing here: what was sent into a dead path is given up when the system does so.
func limitUnacknowledged(syscall.RawConn, time.Duration) error { return nil }
