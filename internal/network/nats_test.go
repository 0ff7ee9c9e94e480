package network

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Half a message must not be followed by another one.
func TestNothingFollowsAWriteThatFailed(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	conn := allOrNothing{client}
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
	require.NoError(t, server.SetReadDeadline(time.Now().Add(10*time.Second)))
	got := make([]byte, 2)
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(server, got)
		read <- err
	}()
	n, err := conn.Write([]byte("1234")) // nobody reads the rest
	require.Equal(t, 2, n)
	require.Error(t, err)
	require.NoError(t, <-read)
	_, err = server.Read(got)
	require.ErrorIs(t, err, io.EOF)
}
