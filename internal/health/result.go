package health

import (
	"maps"
	"time"
)

// Status is how a check stands.
type Status string

// The states of a check.
const (
	// Unknown: nobody has looked yet.
	Unknown Status = "unknown"
	OK      Status = "ok"
	// Failing: the last look found that something is wrong.
	Failing Status = "failing"
	// Hanging: the last look got no answer in time, or waits for one still.
	Hanging Status = "hanging"
)

// The states of a process as a whole.
const (
	// ProcessOK: every check is ok.
	ProcessOK = "ok"
	// ProcessDegraded: the process does its work, and something that it depends on is not as it should be.
	ProcessDegraded = "degraded"
	// ProcessDown: it cannot do its work.
	ProcessDown = "down"
)

// Result is what the looks of a check have shown.
type Result struct {
	Status Status `json:"status"`
	// Since is when the status became what it is.
	Since     time.Time `json:"since,omitzero"`
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// LastSuccess is the zero time if there was none.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// LatencyMS is how long the last look took.
	LatencyMS float64 `json:"latency_ms"`
	// Error has no secrets.
	Error   string `json:"error,omitempty"`
	Details any    `json:"details,omitempty"`

	public string // of a PublicError
}

// PublicError is an error whose Text everybody may see, not only who may see details. Err is nil or its cause.
type PublicError struct {
	Text string
	Err  error
}

func (e *PublicError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + " (" + e.Err.Error() + ")"
}

// Unwrap returns the cause.
func (e *PublicError) Unwrap() error { return e.Err }

// Public says how the check stands in words that everybody may see: "ok", or what is the matter.
func (r Result) Public() string {
	switch {
	case r.Status == OK:
		return "ok"
	case r.Status == Unknown:
		return "not looked at yet"
	case r.public != "":
		return r.public
	}
	return "does not answer"
}

// Readiness says whether a process can do its work, and why not. Everybody can see it: no error texts of drivers.
type Readiness struct {
	OK bool
	// Draining: the process has been told to stop. It is not ready then, and not down.
	Draining bool
	// Status is a word or two: ready, draining, or not ready, and why.
	Status string
	// Parts are what the work stands on: "ok", or what is the matter.
	Parts map[string]string
}

// object is a Readiness as JSON: the parts beside the status.
func (r Readiness) object() map[string]string {
	all := make(map[string]string, len(r.Parts)+1)
	maps.Copy(all, r.Parts)
	all["status"] = r.Status
	return all
}

// Basic is the answer of GET /health.
type Basic struct {
	// Status is ok, degraded or down.
	Status        string  `json:"status"`
	Process       string  `json:"process"`
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

// Detailed is the answer of GET /health/detailed.
type Detailed struct {
	Basic
	StartedAt       time.Time `json:"started_at"`
	IntervalSeconds float64   `json:"interval_seconds"`
	// Ready is what /health/ready says.
	Ready  map[string]string `json:"ready"`
	Checks map[string]Result `json:"checks"`
	// Live are the sections of Config.Live.
	Live     map[string]any    `json:"live,omitempty"`
	NotKnown map[string]string `json:"not_known,omitempty"`
}

// Ready is what Config.Ready says.
func (m *Monitor) Ready() Readiness { return m.cfg.Ready(m) }

// Basic is the state of the process in one word.
func (m *Monitor) Basic() Basic {
	b := Basic{Status: ProcessOK, Process: m.cfg.Process, Version: m.cfg.Version, UptimeSeconds: seconds(time.Since(m.started))}
	now := time.Now()
	for _, c := range m.checks {
		if c.now(now).Status != OK {
			b.Status = ProcessDegraded
			break
		}
	}
	if ready := m.Ready(); !ready.OK && !ready.Draining {
		b.Status = ProcessDown
	}
	return b
}

// Detailed is everything that is known.
func (m *Monitor) Detailed() Detailed {
	d := Detailed{
		Basic: m.Basic(), StartedAt: m.started.UTC(), IntervalSeconds: seconds(m.cfg.Interval), Ready: m.Ready().object(),
		Checks: make(map[string]Result, len(m.checks)), Live: make(map[string]any, len(m.cfg.Live)), NotKnown: m.cfg.NotKnown,
	}
	now := time.Now()
	for name, c := range m.checks {
		r := c.now(now)
		r.Since, r.CheckedAt = r.Since.UTC().Truncate(time.Millisecond), r.CheckedAt.UTC().Truncate(time.Millisecond)
		r.LastSuccess = r.LastSuccess.UTC().Truncate(time.Millisecond)
		d.Checks[name] = r
	}
	for name, section := range m.cfg.Live {
		d.Live[name] = section()
	}
	return d
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
