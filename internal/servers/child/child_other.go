//go:build unix && !linux

package child

import "syscall"

// attributes put the child in a process group of its own (a Ctrl-C in the terminal reaches only ours) and set its
// account. Here the kernel offers no death signal: what a killed process leaves behind, the next start stops.
func attributes(o Options) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential(o.As)}
}
