package testenv

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"freshet/internal/servers"
)

// publishes waits until a message is stored.
func publishes(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	Eventually(t, 20*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "s", []byte("x"))
		return err == nil, fmt.Sprint(err)
	})
}

// messages is the number of messages in the stream, once the server answers.
func messages(t *testing.T, js jetstream.JetStream) (n uint64) {
	t.Helper()
	Eventually(t, 20*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, "S")
		if err != nil {
			return false, err.Error()
		}
		n = stream.CachedInfo().State.Msgs
		return true, ""
	})
	return n
}

func newStream(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
}

func TestNATSProcessIsKilledAndRestoredFromABackup(t *testing.T) {
	n := NATSProcess(t, func(o *servers.NATSProcessOptions) { o.SyncAlways = true })
	js := n.JetStream(t)
	newStream(t, js)
	publishes(t, js)
	first := n.Server.PID()

	require.NoError(t, n.Server.Kill())
	require.NoError(t, n.Server.Restart(t.Context()))
	require.NotEqual(t, first, n.Server.PID())
	require.Equal(t, uint64(1), messages(t, js))

	require.NoError(t, n.Server.Stop(t.Context()))
	backup := n.Backup(t)
	require.NoError(t, n.Server.Restart(t.Context()))
	publishes(t, js)
	require.Greater(t, messages(t, js), uint64(1))

	require.NoError(t, n.Server.Kill())
	n.Restore(t, backup)
	require.NoError(t, n.Server.Restart(t.Context()))
	require.Equal(t, uint64(1), messages(t, js))
	u, err := url.Parse(n.URL)
	require.NoError(t, err)
	require.Equal(t, n.Server.Addr(), u.Host)
}

func TestNATSProcessIsCopiedWhileItRuns(t *testing.T) {
	n := NATSProcess(t, func(o *servers.NATSProcessOptions) { o.SyncAlways = true })
	js := n.JetStream(t)
	newStream(t, js)
	publishes(t, js)
	first := n.Server.PID()
	backup := n.BackupRunning(t)
	publishes(t, js)
	require.Equal(t, first, n.Server.PID())
	require.Greater(t, messages(t, js), uint64(1))

	require.NoError(t, n.Server.Kill())
	n.Restore(t, backup)
	require.NoError(t, n.Server.Restart(t.Context()))
	require.Equal(t, uint64(1), messages(t, js))
}

func TestNATSOnSmallDiskIsFull(t *testing.T) {
	for _, limited := range []bool{false, true} {
		t.Run(fmt.Sprintf("limit of JetStream %v", limited), func(t *testing.T) {
			small := &NATSProgram{disk: 16 << 20}
			var n *NATSProgram
			if limited {
				n = startNATSProcess(t, &NATSProgram{}, []func(*servers.NATSProcessOptions){
					func(o *servers.NATSProcessOptions) { o.MaxStore = small.disk },
				})
				n.disk = small.disk
			} else {
				n = NATSOnSmallDisk(t, small.disk)
			}
			js := n.JetStream(t)
			newStream(t, js)
			publishes(t, js)
			n.FillDisk(t)
			// The server buffers in memory what it is about to write: the first messages may find room there.
			Eventually(t, 30*time.Second, func() (bool, string) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := js.Publish(ctx, "s", make([]byte, 64<<10))
				return err != nil, "there is room still"
			})
			n.FreeDisk(t)
			if n.RealDisk() {
				require.NoError(t, n.Server.Restart(t.Context()))
			}
			publishes(t, js)
			_, err := js.Publish(t.Context(), "s", make([]byte, 512<<10))
			require.NoError(t, err, "there is room again")
		})
	}
}

func TestDisksOfKilledTestsAreTakenAway(t *testing.T) {
	dir := filepath.Join(dirFor(t), "nats", "store")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	_, err := mountDisk(dir, 1<<20)
	require.NoError(t, err)
	require.NoError(t, unmountBelow(filepath.Dir(filepath.Dir(dir))))
	require.NoError(t, os.Remove(dir), "it is busy while a disk is mounted on it")
}
