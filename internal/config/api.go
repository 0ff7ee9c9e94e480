package config

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// API is what the HTTP process serves and within which limits.
type API struct {
	Addr       string // host:port to listen on; port 0 lets the system choose
	QueriesDir string // folder of one's own SQL files; empty: none

	// Example serves the embedded example queries. What it is set to before
	// Register is its default: true for freshet dev.
	Example bool

	AdminToken   string        // bearer token of writes and admin calls; empty: they are refused
	MaxStaleness time.Duration // a cached answer may be this far behind, if the request says nothing

	PositionCookie bool // keep the position of a browser's writes in a cookie
	MaxWaiting     int  // requests that may wait for a connection to Postgres

	BodyLimit      int64         // bytes of a request body
	RequestTimeout time.Duration // for one request, waiting included
	// DrainDelay is how long a process that is told to stop says so (at /health/ready) and still serves.
	DrainDelay   time.Duration
	DrainTimeout time.Duration // for requests in progress when the process is told to stop

	WarmOnStart  int           // pairs to warm before the process is ready; 0: none
	WarmDeadline time.Duration // it is ready then in any case

	Telemetry bool // measure requests and serve /metrics; false only to find out what that costs
}

// Register adds the settings to s.
func (a *API) Register(s *Set) {
	s.String(&a.Addr, "http-addr", "FRESHET_HTTP_ADDR", "127.0.0.1:8080",
		"address to serve HTTP on", Validate("host:port, such as 127.0.0.1:8080 or :8080", isListenAddress))
	registerQueries(s, &a.QueriesDir, &a.Example, "folder of the SQL files to serve", "serve the example application's queries")
	RegisterAdminToken(s, &a.AdminToken)
	registerMaxStaleness(s, &a.MaxStaleness)
	s.Bool(&a.PositionCookie, "position-cookie", "FRESHET_POSITION_COOKIE", false,
		"keep the position of a browser's writes in a cookie, so that its reads see them")
	s.Int(&a.MaxWaiting, "max-waiting", "FRESHET_MAX_WAITING", 1000,
		"how many requests may wait for a connection to Postgres; beyond, they get 503", Between(1, 1000000))
	s.Bytes(&a.BodyLimit, "body-limit", "FRESHET_BODY_LIMIT", 1<<20,
		"largest request body", Between[int64](1, 1<<30))
	s.Duration(&a.RequestTimeout, "request-timeout", "FRESHET_REQUEST_TIMEOUT", 35*time.Second,
		"time for one request", AtLeast(time.Millisecond))
	s.Duration(&a.DrainDelay, "drain-delay", "FRESHET_DRAIN_DELAY", 0,
		"time to go on serving when stopping, so that load balancers, who see /health/ready fail, send nothing more")
	s.Duration(&a.DrainTimeout, "drain-timeout", "FRESHET_DRAIN_TIMEOUT", 10*time.Second,
		"time for requests in progress to finish when stopping")
	s.Int(&a.WarmOnStart, "warm-on-start", "FRESHET_WARM_ON_START", 0,
		"ready only once so many answers are cached, of what the log says was changed lately; needs NATS_URL; 0: ready at once", Between(0, 1_000_000))
	s.Duration(&a.WarmDeadline, "warm-deadline", "FRESHET_WARM_DEADLINE", 30*time.Second,
		"ready after so long even if the warm-up of --warm-on-start is not done")
	s.Bool(&a.Telemetry, "telemetry", "FRESHET_TELEMETRY", true, "measure requests, and serve /metrics", Hidden())
}

// registerQueries adds the settings that say which queries are served; several groups of settings share them.
func registerQueries(s *Set, dir *string, example *bool, dirUsage, exampleUsage string) {
	s.String(dir, "queries", "FRESHET_QUERIES", "", dirUsage, Validate("the path of a folder", isFolder))
	s.Bool(example, "example", "FRESHET_EXAMPLE", *example, exampleUsage)
	s.Rule("at least one of them, or there is nothing to serve",
		func() bool { return *dir != "" || *example },
		"FRESHET_QUERIES", "FRESHET_EXAMPLE")
}

// isListenAddress reports whether addr is host:port with a numeric port.
func isListenAddress(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// isFolder reports whether path is a folder that exists.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isBearerToken reports whether an Authorization header can carry the token.
func isBearerToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
