package network

import (
	"fmt"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT (include/uapi/linux/tcp.h), which package syscall does not name on all architectures.
const tcpUserTimeout = 0x12

// limitUnacknowledged makes the connection fail when what was sent is not acknowledged for so long (RFC 5482, tcp(7)). Without it
// the system tries again for a quarter of an hour, and keepalives are not sent meanwhile.
func limitUnacknowledged(conn syscall.RawConn, limit time.Duration) error {
	var err error
	if controlErr := conn.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(limit.Milliseconds()))
	}); controlErr != nil {
		return controlErr
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
