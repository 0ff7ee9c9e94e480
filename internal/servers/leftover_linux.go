package servers

import (
	"bytes"
	"fmt"
	"os"
)

// isServer tells whether the process is a server on the leftover's folder: its program is the server's and its working
// folder is the leftover's (both Postgres and Redis change into their folder). A zombie is none: it has neither.
func (l leftover) isServer(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	// Redis writes its title, with spaces, over the arguments.
	program, _, _ := bytes.Cut(cmdline, []byte{0})
	program, _, _ = bytes.Cut(program, []byte(" "))
	if !l.isProgram(string(program)) {
		return false
	}
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	dir, err := os.Stat(l.dir)
	return err == nil && os.SameFile(cwd, dir)
}
