package child

import "syscall"

// attributes put the child in a process group of its own (a Ctrl-C in the terminal reaches only ours), tie its life to
// ours, and set its account. The kernel forgets a death signal when credentials change; syscall sets it after them.
func attributes(o Options) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: o.DeathSignal, Credential: credential(o.As)}
}
