//go:build unix && !linux

package servers

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// isServer tells whether the process is a server on the leftover's folder, by its command line.
func (l leftover) isServer(pid int) bool {
	//nolint:noctx // it only prints what the kernel knows
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	command := strings.TrimSpace(string(out))
	program, _, _ := strings.Cut(command, " ")
	return l.isProgram(program) && slices.ContainsFunc(l.marks, func(mark string) bool {
		return strings.Contains(command, mark)
	})
}
