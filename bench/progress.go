package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// progress tells a person what is being done, on standard error: on a terminal in one line that is written over, elsewhere a
// line for each step and none for the counting within it.
type progress struct {
	out      io.Writer
	terminal bool

	mu   sync.Mutex
	step string
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// clearLine is what a terminal takes for "to the beginning of the line, and erase it" (ECMA-48, EL).
const clearLine = "\r\x1b[K"

// beginf names the step that is now done.
func (p *progress) beginf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprint(p.out, clearLine, p.step)
		return
	}
	fmt.Fprintln(p.out, p.step)
}

// count says how far the step is.
func (p *progress) count(n, of int) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%s%s: %d of %d", clearLine, p.step, n, of)
}

// donef ends the last step with a line that stays.
func (p *progress) donef(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, clearLine)
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}
