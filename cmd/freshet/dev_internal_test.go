package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A shell that has read dev.env has the URLs of dev's own servers: they are not somebody else's.
func TestOurs(t *testing.T) {
	for url, want := range map[string]bool{
		"postgres://postgres:x@127.0.0.1:54329/freshet?sslmode=disable": true,
		"postgres://postgres@127.0.0.1:5432/freshet":                    false,
		"postgres://db.example.org:54329/freshet":                       false,
		"":                          false,
		"host=127.0.0.1 port=54329": false,
	} {
		require.Equal(t, want, ours(url, 54329), url)
	}
}
