package postgres

import (
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"freshet/internal/network"
)

// NoticeDeadPath makes both ends of the configuration's connections notice within seconds that the path between them is dead: here
// because somebody waits for the answer, and on the server because its session may hold locks, or the replication slot, that the
// next connection needs.
func NoticeDeadPath(cfg *pgconn.Config) {
	cfg.DialFunc = network.Dialer().DialContext
	// The server's patience with what it has sent is a little longer: it ends too when this side does not read what it has.
	const unread = network.DeadAfter + 2*time.Second
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	for name, value := range map[string]string{
		"tcp_keepalives_idle":     seconds(network.ProbeAfter),
		"tcp_keepalives_interval": seconds(network.ProbeInterval),
		"tcp_keepalives_count":    strconv.Itoa(network.Probes),
		"tcp_user_timeout":        strconv.FormatInt(unread.Milliseconds(), 10),
	} {
		if _, given := cfg.RuntimeParams[name]; !given {
			cfg.RuntimeParams[name] = value
		}
	}
}
