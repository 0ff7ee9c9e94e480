package config

import "time"

// CDC is how changes get from the source into the stream.
type CDC struct {
	Source      string // as in Source
	Publication string // as in Source
	SlotName    string // the logical replication slot, made on first start

	// NATSSyncInterval is how long JetStream may take from acknowledging a
	// message to fsyncing it: a position is confirmed to Postgres only when its
	// message is older than that. It must not be shorter than the server's
	// sync_interval; 0 says that the server fsyncs each write.
	NATSSyncInterval time.Duration

	Retention time.Duration // how long the stream keeps messages
	MaxBytes  int64         // the stream's size limit; 0: none
	Replicas  int           // the stream's copies in a NATS cluster

	HTTPAddr string // where health and metrics are served; Off: nowhere
}

// RegisterAddr adds the address of health and metrics alone, for whoever asks for them.
func (c *CDC) RegisterAddr(s *Set) {
	registerOpsAddr(s, &c.HTTPAddr, "cdc", "FRESHET_CDC_HTTP_ADDR", "127.0.0.1:8081")
}

// Register adds the settings to s.
func (c *CDC) Register(s *Set) {
	registerSource(s, &c.Source)
	registerPublication(s, &c.Publication, &c.Source)
	registerSlot(s, &c.SlotName, &c.Source)
	s.Duration(&c.NATSSyncInterval, "nats-sync-interval", "FRESHET_NATS_SYNC_INTERVAL", 2*time.Minute,
		"sync_interval of the NATS server; 0 where it fsyncs each write")
	s.Duration(&c.Retention, "retention", "FRESHET_RETENTION", 72*time.Hour,
		"how long the stream keeps changes", AtLeast(time.Minute))
	s.Bytes(&c.MaxBytes, "stream-max-bytes", "FRESHET_STREAM_MAX_BYTES", 0,
		"most bytes that the stream keeps; 0: no limit")
	// JetStream: server/jetstream.go, StreamMaxReplicas; an even number buys
	// nothing but is not refused.
	s.Int(&c.Replicas, "stream-replicas", "FRESHET_STREAM_REPLICAS", 1,
		"copies of the stream in a NATS cluster", Between(1, 5))
	c.RegisterAddr(s)
	s.Rule("a retention that is longer than the sync interval",
		func() bool { return c.Retention > c.NATSSyncInterval },
		"FRESHET_RETENTION", "FRESHET_NATS_SYNC_INTERVAL")
}
