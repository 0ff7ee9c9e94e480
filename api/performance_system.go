package api

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/process"
)

// system is how the process and its machine are.
type system struct {
	Process processUse  `json:"process"`
	Machine *machineUse `json:"machine"` // nil if the operating system does not tell
}

// processUse is about the process. Percentages are of one core.
type processUse struct {
	CPUPercent *float64 `json:"cpu_percent"` // since the last sample; nil if not known
	// RSS is the memory that the operating system counts, Heap what Go's live and dead objects take.
	RSS        *uint64 `json:"rss_bytes"`
	Heap       uint64  `json:"heap_bytes"`
	Goroutines uint64  `json:"goroutines"`
	Cores      int     `json:"gomaxprocs"`
	GC         gcUse   `json:"gc"`
}

// gcUse is about Go's garbage collector since the start.
type gcUse struct {
	Cycles     uint64  `json:"cycles"`
	PauseP99MS float64 `json:"pause_p99_ms"`
	PauseMaxMS float64 `json:"pause_max_ms"`
}

// machineUse is about the machine, as the operating system shows it to the process. Percentages are of all cores.
type machineUse struct {
	CPUPercent    *float64 `json:"cpu_percent"` // since the last sample; nil for the first
	Cores         int      `json:"cores"`
	Load1         float64  `json:"load1"`
	Memory        uint64   `json:"memory_bytes"`
	MemoryUsed    uint64   `json:"memory_used_bytes"`
	MemoryPercent float64  `json:"memory_used_percent"`
}

// systemReader compares with what it read last. It is not for several at once.
type systemReader struct {
	self       *process.Process // nil if the operating system does not tell
	at         time.Time
	used       float64 // seconds of the process
	busy, idle float64 // seconds of the machine
	asked      []metrics.Sample
}

// The names of what runtime/metrics is asked for.
const (
	metricGoroutines = "/sched/goroutines:goroutines"
	metricHeap       = "/memory/classes/heap/objects:bytes"
	metricCycles     = "/gc/cycles/total:gc-cycles"
	metricPauses     = "/sched/pauses/total/gc:seconds"
)

func newSystemReader() *systemReader {
	r := &systemReader{}
	if self, err := process.NewProcess(int32(os.Getpid())); err == nil {
		r.self = self
	}
	for _, name := range []string{metricGoroutines, metricHeap, metricCycles, metricPauses} {
		r.asked = append(r.asked, metrics.Sample{Name: name})
	}
	return r
}

func (r *systemReader) read(ctx context.Context) system {
	s := system{Process: r.readGo()}
	now := time.Now()
	if r.self != nil {
		if times, err := r.self.TimesWithContext(ctx); err == nil {
			used := times.User + times.System
			if !r.at.IsZero() {
				s.Process.CPUPercent = percentOf(used-r.used, now.Sub(r.at).Seconds())
			}
			r.used = used
		}
		if memory, err := r.self.MemoryInfoWithContext(ctx); err == nil {
			s.Process.RSS = &memory.RSS
		}
	}
	s.Machine = r.readMachine(ctx)
	r.at = now
	return s
}

func (r *systemReader) readMachine(ctx context.Context) *machineUse {
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil
	}
	m := &machineUse{Cores: runtime.NumCPU(), Memory: memory.Total, MemoryUsed: memory.Used, MemoryPercent: memory.UsedPercent}
	if average, err := load.AvgWithContext(ctx); err == nil {
		m.Load1 = average.Load1
	}
	if times, err := cpu.TimesWithContext(ctx, false); err == nil && len(times) == 1 {
		t := times[0]
		idle := t.Idle + t.Iowait
		busy := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal // guests are part of user
		if !r.at.IsZero() {
			m.CPUPercent = percentOf(busy-r.busy, busy-r.busy+idle-r.idle)
		}
		r.busy, r.idle = busy, idle
	}
	return m
}

// percentOf is nil where there is nothing to divide by.
func percentOf(part, whole float64) *float64 {
	if whole <= 0 {
		return nil
	}
	percent := max(0, 100*part/whole)
	return &percent
}

func (r *systemReader) readGo() processUse {
	metrics.Read(r.asked)
	p := processUse{Cores: runtime.GOMAXPROCS(0)}
	for _, s := range r.asked {
		switch { // a name that this version of Go does not have is of no kind
		case s.Value.Kind() == metrics.KindFloat64Histogram:
			p.GC.PauseP99MS, p.GC.PauseMaxMS = pausesOf(s.Value.Float64Histogram())
		case s.Value.Kind() != metrics.KindUint64:
		case s.Name == metricGoroutines:
			p.Goroutines = s.Value.Uint64()
		case s.Name == metricHeap:
			p.Heap = s.Value.Uint64()
		case s.Name == metricCycles:
			p.GC.Cycles = s.Value.Uint64()
		}
	}
	return p
}

// pausesOf are the upper bounds of the buckets that the quantiles are in, in milliseconds.
func pausesOf(h *metrics.Float64Histogram) (p99, longest float64) {
	var total, seen uint64
	for _, n := range h.Counts {
		total += n
	}
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		upper := h.Buckets[i+1]
		if math.IsInf(upper, 0) {
			upper = h.Buckets[i]
		}
		if float64(seen) < 0.99*float64(total) {
			p99 = upper * 1000
		}
		seen += n
		longest = upper * 1000
	}
	return p99, longest
}
