package config

import "time"

// Health is how a process looks at what it depends on, and who may see what it finds.
type Health struct {
	Interval   time.Duration // between two background checks
	Open       bool          // /health/detailed needs no token
	AdminToken string        // as in API
	SlotName   string        // as in CDC; the other processes look at it too

	source string
}

// Register adds the settings to s.
func (h *Health) Register(s *Set) {
	s.Duration(&h.Interval, "health-interval", "HEALTH_INTERVAL", 5*time.Second,
		"time between two background health checks", AtLeast(10*time.Millisecond))
	s.Bool(&h.Open, "health-detailed-open", "FRESHET_HEALTH_DETAILED_OPEN", false,
		"show /health/detailed, and what /performance and /ui show (keys of rows, statements), without the admin token")
	RegisterAdminToken(s, &h.AdminToken)
	registerSource(s, &h.source)
	registerSlot(s, &h.SlotName, &h.source)
}

// RegisterAdminToken adds the token; several groups of settings share it.
func RegisterAdminToken(s *Set, dst *string) {
	s.String(dst, "admin-token", "FRESHET_ADMIN_TOKEN", "",
		"bearer token of writes and admin calls; without one they are refused", Secret(),
		Validate("a token of visible ASCII characters", isBearerToken))
}

// registerSlot adds the slot's name, which follows from source.
func registerSlot(s *Set, dst, source *string) {
	s.String(dst, "slot", "FRESHET_SLOT", "", "replication slot of cdc",
		Validate("1 to 63 small letters, digits and _", slotName.MatchString),
		DefaultFrom("freshet_$FRESHET_SOURCE", func() string { return "freshet_" + *source }))
}

// Invalidator is what the invalidator has for itself.
type Invalidator struct {
	HTTPAddr string // as in CDC
}

// Register adds the settings to s.
func (i *Invalidator) Register(s *Set) {
	registerOpsAddr(s, &i.HTTPAddr, "invalidator", "FRESHET_INVALIDATOR_HTTP_ADDR", "127.0.0.1:8082")
}

// Off is the address that says that nothing is served.
const Off = "off"

// registerOpsAddr adds the address at which a process tells of its health and serves its metrics.
func registerOpsAddr(s *Set, dst *string, process, variable, def string) {
	s.String(dst, process+"-http-addr", variable, def,
		"address at which the "+process+" serves its health and metrics; off: nowhere",
		Validate("host:port, such as "+def+", or off", func(addr string) bool { return addr == Off || isListenAddress(addr) }))
}
