package cdc_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/internal/testenv"
)

// program builds the process that the tests kill and measure, always without the race detector, which would multiply its memory.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cdc")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/cdc").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// process starts cdc as a process and waits until it streams.
func (h *harness) process(t *testing.T, program string) *testenv.Process {
	t.Helper()
	p := testenv.StartProcess(t, program, []string{"DATABASE_URL=" + h.db.URL, "NATS_URL=" + h.nats.URL,
		"SOURCE=" + source, "SLOT=" + h.cfg.Slot, "PUBLICATION=" + h.cfg.Publication})
	p.WaitForLine(t, "streaming now", patience)
	return p
}

// peakMemory is the largest resident set of a process in bytes (VmHWM, proc(5)).
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			require.NoError(t, err)
			return kb << 10
		}
	}
	require.Fail(t, "no VmHWM in the status of the process")
	return 0
}

func TestMemoryDoesNotGrowWithATransaction(t *testing.T) {
	const rows, bound = 1_000_000, 150 << 20
	h := newHarness(t, testenv.Postgres(t))
	h.db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
		INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000000) i`)
	p := h.process(t, program(t))
	h.publish(t, "t")
	h.db.Exec(t, `UPDATE t SET n = 1`)

	want := &expected{}
	log := logState{decode: want.decode}
	h.reader(t).verify(&log, h.position(t), nil)
	require.Equal(t, rows, want.count)
	require.LessOrEqual(t, log.largest, events.MaxMessageBytes)
	peak := peakMemory(t, p.PID())
	t.Logf("cdc's memory reached %d MiB", peak>>20)
	require.Less(t, peak, int64(bound))
}

// expected compares the changes of the table t with what they must be, byte by byte: to decode a million of them would take
// half a minute with the race detector.
type expected struct {
	count int
	buf   []byte
}

func (e *expected) decode(body []byte) (*events.Changes, error) {
	c, changes, err := decodeHead(body)
	if err != nil {
		return nil, err
	}
	e.buf = e.buf[:0]
	first := e.count
	for len(e.buf) < len(changes) {
		if e.count > first {
			e.buf = append(e.buf, ',')
		}
		e.count++
		for _, part := range []string{`{"op":"update","key":{"id":"`, `"},"old":{"id":"`, `"},"new":{"id":"`} {
			e.buf = strconv.AppendInt(append(e.buf, part...), int64(e.count), 10)
		}
		e.buf = append(e.buf, `","n":"1"}}`...)
	}
	if !bytes.Equal(e.buf, changes) {
		return nil, fmt.Errorf("after %d changes: expected %.200s, got %.200s", first, e.buf, changes)
	}
	c.Changes = make([]events.Change, e.count-first)
	return c, nil
}

// decodeHead decodes a change message without its changes.
func decodeHead(body []byte) (c *events.Changes, changes []byte, err error) {
	const begin, end = `"changes":[`, `]}`
	at := bytes.Index(body, []byte(begin)) + len(begin)
	c, err = events.DecodeChanges(append(bytes.Clone(body[:at]), end...))
	return c, body[at : len(body)-len(end)], err
}
