package config

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Database is the source database and how its connections are pooled.
type Database struct {
	URL string // postgres:// URL or keyword/value string, as libpq takes them

	MinConnections    int           // kept open when idle
	MaxConnections    int           // at most, in this process
	ConnectionTimeout time.Duration // for one attempt to connect
	CommandTimeout    time.Duration // for one statement

	// Optional, set before Register, lets the URL be left out; freshet dev
	// starts a Postgres of its own then.
	Optional bool
}

// Register adds the settings to s.
func (d *Database) Register(s *Set) {
	// Secret as a whole: a password may stand before the @, in the query, or in
	// a keyword/value string, so no part of it can be printed without a doubt.
	opts := []Option{Secret(), Validate("a postgres:// URL (or a libpq keyword/value string) with a valid host, port and sslmode", isDatabaseURL)}
	if !d.Optional {
		opts = append(opts, Required())
	}
	s.String(&d.URL, "database-url", "DATABASE_URL", "", "the source database", opts...)
	s.Int(&d.MinConnections, "db-min-connections", "DB_MIN_CONNECTIONS", 10,
		"connections kept open when idle", Between(0, 10_000))
	s.Int(&d.MaxConnections, "db-max-connections", "DB_MAX_CONNECTIONS", 50,
		"most connections that this process opens", Between(1, 10_000))
	s.Duration(&d.ConnectionTimeout, "db-connection-timeout", "DB_CONNECTION_TIMEOUT", 10*time.Second,
		"time for one attempt to connect", AtLeast(time.Millisecond))
	s.Duration(&d.CommandTimeout, "db-command-timeout", "DB_COMMAND_TIMEOUT", 30*time.Second,
		"time for one statement", AtLeast(time.Millisecond))
	s.Rule("a minimum that is not above the maximum",
		func() bool { return d.MinConnections <= d.MaxConnections },
		"DB_MIN_CONNECTIONS", "DB_MAX_CONNECTIONS")
}

// isDatabaseURL asks the driver itself. It reads no server, but it does read the
// certificate files that the URL names, so a wrong path is found here too.
func isDatabaseURL(raw string) bool {
	// The driver would take mysql://host/db?a=b for a keyword/value string.
	scheme, _, hasScheme := strings.Cut(raw, "://")
	if hasScheme && !strings.Contains(scheme, "=") && scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	_, err := pgconn.ParseConfig(raw)
	return err == nil
}
