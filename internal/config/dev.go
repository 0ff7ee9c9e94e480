package config

// Dev is where freshet dev keeps its data and on which ports the servers that it
// starts listen; always on loopback.
type Dev struct {
	Data         string // folder; made if it is missing
	PostgresPort int
	RedisPort    int
	NATSPort     int
	Warm         bool // warm the cache first
}

// Register adds the settings to s.
func (d *Dev) Register(s *Set) {
	s.String(&d.Data, "data", "FRESHET_DEV_DATA", ".freshet", "folder of all that dev keeps")
	s.Int(&d.PostgresPort, "dev-postgres-port", "FRESHET_DEV_POSTGRES_PORT", 54329,
		"port of the Postgres that dev starts", Between(1, 65535))
	s.Int(&d.RedisPort, "dev-redis-port", "FRESHET_DEV_REDIS_PORT", 63799,
		"port of the Redis that dev starts", Between(1, 65535))
	s.Int(&d.NATSPort, "dev-nats-port", "FRESHET_DEV_NATS_PORT", 42229,
		"port of the NATS server in dev", Between(1, 65535))
	s.Bool(&d.Warm, "warm", "FRESHET_DEV_WARM", false, "ready only once the cache is warm: --warm-on-start 10000")
	s.Rule("three different ports", func() bool {
		return d.PostgresPort != d.RedisPort && d.RedisPort != d.NATSPort && d.NATSPort != d.PostgresPort
	}, "FRESHET_DEV_POSTGRES_PORT", "FRESHET_DEV_REDIS_PORT", "FRESHET_DEV_NATS_PORT")
}
