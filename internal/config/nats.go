package config

import "os"

// NATS is the server that keeps the log.
type NATS struct {
	URL         string // one URL, or the cluster's with commas between them
	Credentials string // path of a .creds file; empty: none
}

// Register adds the settings to s.
func (n *NATS) Register(s *Set) {
	s.URL(&n.URL, "nats-url", "NATS_URL", "nats://127.0.0.1:4222",
		"where NATS is; a cluster's servers with commas", []string{"nats", "tls", "ws", "wss"})
	s.String(&n.Credentials, "nats-credentials", "NATS_CREDENTIALS", "",
		"file with the NATS user's credentials", Validate("the path of a readable file", isFile))
}

// isFile reports whether path is a regular file that can be opened for reading.
func isFile(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // opened for reading: closing loses nothing
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}
