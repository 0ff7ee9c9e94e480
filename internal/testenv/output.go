package testenv

import (
	"strings"
	"sync"
	"testing"
)

// outputLimit bounds what is kept of a program's output; the beginning goes first.
const outputLimit = 8 << 20

// output keeps what a program prints.
type output struct {
	mu      sync.Mutex
	text    []byte
	dropped int           // bytes that are no longer in text
	changed chan struct{} // closed and replaced at each write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write keeps the bytes and wakes those who wait for them.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	if extra := len(o.text) - outputLimit; extra > 0 {
		// Half of it at once: a chatty program must not cost a copy of all at each line.
		o.text = append([]byte(nil), o.text[extra+outputLimit/2:]...)
		o.dropped += extra + outputLimit/2
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

// from is the output after a number of bytes, the number to go on from, and a channel that is closed when
// there is more.
func (o *output) from(offset int) (text string, end int, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text[max(0, offset-o.dropped):]), o.dropped + len(o.text), o.changed
}

// cutLine finds the first whole line that contains what is wanted, and the text after that line.
func cutLine(text, want string) (found, rest string, ok bool) {
	for text != "" {
		line, after, whole := strings.Cut(text, "\n")
		if !whole {
			break
		}
		if strings.Contains(line, want) {
			return line, after, true
		}
		text = after
	}
	return "", "", false
}

// showIfFailed shows at the end of a failed test what was printed during it.
func (o *output) showIfFailed(tb testing.TB, name string) {
	tb.Helper()
	_, begin, _ := o.from(0)
	tb.Cleanup(func() {
		if text, _, _ := o.from(begin); tb.Failed() && text != "" {
			tb.Logf("output of %s:\n%s", name, strings.TrimSpace(text))
		}
	})
}
