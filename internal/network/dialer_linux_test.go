package network_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/network"
	"freshet/internal/network/blackhole"
)

// noticed is when a dead connection must have failed at the latest: the kernel's timers are coarse.
const noticed = network.DeadAfter + 2*time.Second

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn) // ends with the connection
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := network.Dialer().DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // it may have failed
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
	return conn
}

func TestDeadPathIsNoticed(t *testing.T) {
	for name, write := range map[string]bool{"by who has sent something": true, "by who only listens": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := blackhole.New(t, echo(t))
			conn := dial(t, path.Addr())
			path.Vanish()
			began := time.Now()
			if write {
				_, err := conn.Write([]byte("x"))
				require.NoError(t, err)
			}
			require.NoError(t, conn.SetReadDeadline(began.Add(3*noticed)))
			_, err := conn.Read(make([]byte, 1))
			require.ErrorContains(t, err, "timed out")
			require.Less(t, time.Since(began), noticed)
		})
	}
	t.Run("by who connects", func(t *testing.T) {
		t.Parallel()
		path := blackhole.New(t, echo(t))
		path.Vanish()
		began := time.Now()
		_, err := network.Dialer().DialContext(t.Context(), "tcp", path.Addr())
		require.Error(t, err)
		require.InDelta(t, network.DialTimeout.Seconds(), time.Since(began).Seconds(), 0.5)
		path.Heal()
		dial(t, path.Addr())
	})
}

// What passes again before anybody has given up goes on, and a new connection does where the old one is dead for ever.
func TestPathOfTheTests(t *testing.T) {
	t.Parallel()
	path := blackhole.New(t, echo(t))
	first := dial(t, path.Addr())
	path.Vanish()
	_, err := first.Write([]byte("y"))
	require.NoError(t, err)
	path.Heal()
	require.NoError(t, first.SetReadDeadline(time.Now().Add(noticed)))
	_, err = io.ReadFull(first, make([]byte, 1))
	require.NoError(t, err)
	path.Forget()
	dial(t, path.Addr())
	_, err = first.Write([]byte("z"))
	require.NoError(t, err)
	_, err = first.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b network.Backoff
	for i, ms := range []int{50, 100, 200, 400, 800, 1000, 1000} {
		pause, most := b.Next(), time.Duration(ms)*time.Millisecond
		require.LessOrEqual(t, pause, most, "pause %d", i)
		require.GreaterOrEqual(t, pause, most/2, "pause %d", i)
	}
}
