package testenv

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echo listens, says its greeting to each client and then sends back what it gets.
func echo(t *testing.T, greeting string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, greeting)
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// dial connects and reads the greeting.
func dial(t *testing.T, path *Path, greeting string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", path.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	got := make([]byte, len(greeting))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, greeting, string(got))
	return conn
}

// roundTrip is how long a text takes to come back.
func roundTrip(t *testing.T, conn net.Conn, text string) time.Duration {
	t.Helper()
	begun := time.Now()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
	return time.Since(begun)
}

// silent is that nothing arrives for a moment.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
}

// closed is that the other side has ended the connection.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is open still")
}

func TestPathSuffersEachFault(t *testing.T) {
	path := Toxiproxy(t).Proxy(t, "echo", echo(t, "a"))

	t.Run("cut", func(t *testing.T) {
		conn := dial(t, path, "a")
		path.Cut(t)
		closed(t, conn)
		_, err := net.Dial("tcp", path.Addr())
		require.Error(t, err)
		path.Heal(t)
		roundTrip(t, dial(t, path, "a"), "x")
	})
	t.Run("hang", func(t *testing.T) {
		conn := dial(t, path, "a")
		path.Hang(t)
		_, err := io.WriteString(conn, "lost")
		require.NoError(t, err)
		silent(t, conn)
		late, err := net.Dial("tcp", path.Addr())
		require.NoError(t, err)
		defer late.Close()
		silent(t, late)
		path.Heal(t)
		closed(t, conn)
		closed(t, late)
		roundTrip(t, dial(t, path, "a"), "x")
	})
	t.Run("hold", func(t *testing.T) {
		conn := dial(t, path, "a")
		path.Hold(t)
		_, err := io.WriteString(conn, "kept")
		require.NoError(t, err)
		silent(t, conn)
		path.Heal(t)
		got := make([]byte, 4)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, "kept", string(got))
	})
	t.Run("delay", func(t *testing.T) {
		conn := dial(t, path, "a")
		path.Delay(t, 100*time.Millisecond, 10*time.Millisecond)
		require.Greater(t, roundTrip(t, conn, "x"), 180*time.Millisecond)
		path.Heal(t)
		require.Less(t, roundTrip(t, conn, "x"), 100*time.Millisecond)
	})
	for _, rate := range []int{100, 4000} {
		t.Run("trickle", func(t *testing.T) {
			conn := dial(t, path, "a")
			path.Trickle(t, rate)
			took := roundTrip(t, conn, strings.Repeat("x", rate/2))
			require.Greater(t, took, 400*time.Millisecond)
			require.Less(t, took, 4*time.Second)
			path.Heal(t)
			require.Less(t, roundTrip(t, conn, strings.Repeat("x", rate/2)), 200*time.Millisecond)
		})
	}
	t.Run("another server", func(t *testing.T) {
		conn := dial(t, path, "a")
		path.Retarget(t, echo(t, "b"))
		closed(t, conn)
		roundTrip(t, dial(t, path, "b"), "x")
	})
}

// Faults come and go while connections are busy, and are opened and closed. No byte may change its place: a fault of ours
// that garbles a stream would be taken for one of Freshet's.
func TestPathKeepsStreamsIntact(t *testing.T) {
	path := Toxiproxy(t).Proxy(t, "echo", echo(t, "a"))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var trips [4]int
	for i := range trips {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				trips[i] += exchange(t, path.Addr(), stop)
			}
		})
	}
	faults := []func(testing.TB){
		path.Cut, path.Hang, path.Hold,
		func(tb testing.TB) { tb.Helper(); path.Delay(tb, 2*time.Millisecond, time.Millisecond) },
		func(tb testing.TB) { tb.Helper(); path.Trickle(tb, 200_000) },
	}
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		for _, fault := range faults {
			<-tick.C
			fault(t)
			<-tick.C
			path.Heal(t)
			<-tick.C
		}
	}
	close(stop)
	path.Cut(t) // ends those who wait
	clients.Wait()
	for _, n := range trips {
		require.Positive(t, n)
	}
}

// exchange sends random bytes on one connection, checks what comes back, and counts.
func exchange(t *testing.T, addr string, stop <-chan struct{}) (trips int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return 0
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0
	}
	sent, got := make([]byte, 40<<10), make([]byte, 40<<10)
	for range 20 {
		select {
		case <-stop:
			return trips
		default:
		}
		_, _ = rand.Read(sent)
		if _, err := conn.Write(sent); err != nil {
			return trips
		}
		if n, err := io.ReadFull(conn, got); err != nil {
			if !bytes.Equal(got[:n], sent[:n]) {
				t.Error("the stream was garbled before it ended")
			}
			return trips
		}
		if !bytes.Equal(got, sent) {
			t.Error("the stream was garbled")
		}
		trips++
	}
	return trips
}

func TestPathURL(t *testing.T) {
	path := &Path{addr: "127.0.0.1:9", upstreams: []string{"127.0.0.1:5432"}}
	for original, want := range map[string]string{
		"postgres://u:p@127.0.0.1:5432/db?sslmode=disable": "postgres://u:p@127.0.0.1:9/db?sslmode=disable",
		"postgres://u@127.0.0.1:5431,127.0.0.1:5432/db":    "postgres://u@127.0.0.1:5431,127.0.0.1:9/db",
		"redis://other:1/0": "redis://127.0.0.1:9/0",
		"nats://other":      "nats://127.0.0.1:9",
		"postgres://u:p%40@other:1?application_name=a@b.example": "postgres://u:p%40@127.0.0.1:9?application_name=a@b.example",
	} {
		require.Equal(t, want, path.URL(original))
	}
}

// A Toxiproxy that answers no more is started anew: its paths lead where they led, without a fault.
func TestPathsOutliveToxiproxy(t *testing.T) {
	network := Toxiproxy(t)
	a, b := network.Proxy(t, "a", echo(t, "first")), network.Proxy(t, "b", echo(t, "second"))
	b.Retarget(t, echo(t, "third"))
	a.Delay(t, 10*time.Millisecond, 0)
	a.proc.Signal(syscall.SIGSTOP)
	b.proc.Signal(syscall.SIGSTOP)
	a.Heal(t)
	b.Heal(t)
	for path, greeting := range map[*Path]string{a: "first", b: "third"} {
		conn, err := net.Dial("tcp", path.Addr())
		require.NoError(t, err)
		got := make([]byte, len(greeting))
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, greeting, string(got))
		require.NoError(t, conn.Close())
	}
}
