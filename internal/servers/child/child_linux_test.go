package child

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChildEndsWithAKilledParent(t *testing.T) {
	helper, pid := startDoomed(t)
	require.True(t, running(pid))
	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait())
	require.Eventually(t, func() bool { return !running(pid) }, 10*time.Second, 5*time.Millisecond)
}

// running tells whether the process exists and is more than a zombie, which it stays where nobody reaps orphans.
func running(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "State:\tZ") && !strings.Contains(string(status), "State:\tX")
}

// startDoomed starts a helper that starts a child, and returns the helper and the child's pid.
func startDoomed(t *testing.T) (*exec.Cmd, int) {
	t.Helper()
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"=1")
	stdin, err := helper.StdinPipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = stdin.Close() })
	stdout, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	var pid int
	_, err = fmt.Fscan(stdout, &pid)
	require.NoError(t, err)
	return helper, pid
}
