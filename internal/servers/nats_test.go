package servers

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestNATSLife(t *testing.T) {
	ctx := testContext(t)
	dir := filepath.Join(testDir(t), "nats")
	n, err := StartNATS(ctx, NATSOptions{Dir: dir, SyncAlways: true, MaxStore: 64 << 20})
	require.NoError(t, err)
	stopAtEnd(t, n)

	// stream runs f on a connection that is closed at its end.
	stream := func(f func(js jetstream.JetStream)) {
		conn, err := nats.Connect(n.URL())
		require.NoError(t, err)
		defer conn.Close()
		js, err := jetstream.New(conn)
		require.NoError(t, err)
		f(js)
	}
	stream(func(js jetstream.JetStream) {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
		require.NoError(t, err)
		_, err = js.Publish(ctx, "s.a", []byte("here"))
		require.NoError(t, err)
	})
	t.Run("a folder in use is refused", func(t *testing.T) {
		_, err := StartNATS(ctx, NATSOptions{Dir: dir})
		require.ErrorIs(t, err, ErrFolderInUse)
	})
	t.Run("a restart keeps store and port", func(t *testing.T) {
		url := n.URL()
		require.NoError(t, n.Restart(ctx))
		require.Equal(t, url, n.URL())
		stream(func(js jetstream.JetStream) {
			s, err := js.Stream(ctx, "S")
			require.NoError(t, err)
			msg, err := s.GetMsg(ctx, 1)
			require.NoError(t, err)
			require.Equal(t, "here", string(msg.Data))
		})
	})
	t.Run("stopping twice is safe, and starting after it too", func(t *testing.T) {
		require.NoError(t, n.Stop(ctx))
		require.NoError(t, n.Stop(ctx))
		<-n.Done()
		require.NoError(t, n.Restart(ctx))
	})
	t.Run("port in use", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		_, err = StartNATS(ctx, NATSOptions{Dir: filepath.Join(testDir(t), "data"), Port: taken.Addr().(*net.TCPAddr).Port})
		require.ErrorIs(t, err, ErrPortInUse)
	})
}
