package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Verdicts of a figure.
const (
	verdictPass     = "pass"
	verdictFail     = "fail"
	verdictReported = "reported" // there is no goal
)

// figure is one measured number, and the one that it stands beside.
type figure struct {
	Name  string  `json:"figure"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Beside says what BesideValue is, in the same unit; both are empty for a figure that stands alone.
	Beside      string  `json:"beside,omitempty"`
	BesideValue float64 `json:"beside_value,omitempty"`
	// Ratio is Value divided by BesideValue. For a time less is better, for a rate more.
	Ratio float64 `json:"ratio,omitempty"`
	// Goal is what the value should be, in words; empty for none.
	Goal    string `json:"goal,omitempty"`
	Verdict string `json:"verdict"`
}

// machine is what the figures were measured on.
type machine struct {
	OS       string `json:"os"`
	CPUs     int    `json:"cpus"`
	Go       string `json:"go"`
	Postgres string `json:"postgres"`
	Redis    string `json:"redis"`
	NATS     string `json:"nats"`
}

// report is the outcome of a run.
type report struct {
	Machine machine  `json:"machine"`
	Figures []figure `json:"figures"`
	// Notes say what a reader must know to judge a figure.
	Notes []string `json:"notes,omitempty"`
}

// add puts a figure into the report. besideName is empty for one that stands alone.
func (r *report) add(name, unit string, value float64, besideName string, beside float64) *figure {
	f := figure{Name: name, Value: value, Unit: unit, Verdict: verdictReported}
	if besideName != "" && beside > 0 {
		f.Beside, f.BesideValue, f.Ratio = besideName, beside, value/beside
	}
	r.Figures = append(r.Figures, f)
	return &r.Figures[len(r.Figures)-1]
}

// ratioAtLeast gives the figure a goal for its ratio.
func (f *figure) ratioAtLeast(limit float64) {
	f.Goal, f.Verdict = "ratio >= "+number(limit), verdictFail
	if f.Ratio >= limit {
		f.Verdict = verdictPass
	}
}

// atMost gives the figure a goal for its value.
func (f *figure) atMost(limit float64) {
	f.Goal, f.Verdict = "<= "+number(limit)+" "+f.Unit, verdictFail
	if f.Value <= limit {
		f.Verdict = verdictPass
	}
}

func (r *report) notef(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// writeTable prints the report for people.
func (r *report) writeTable(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d CPUs, %s, Postgres %s, Redis %s, nats-server %s\n\n", m.OS, m.CPUs, m.Go, m.Postgres, m.Redis, m.NATS)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tvalue\tbeside\t\tratio\tgoal\t")
	for _, f := range r.Figures {
		beside, ratio, goal := "-", "-", "-"
		if f.Beside != "" {
			beside, ratio = number(f.BesideValue)+" "+f.Unit, strconv.FormatFloat(f.Ratio, 'f', 2, 64)
		}
		if f.Goal != "" {
			goal = f.Goal
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n", f.Name, number(f.Value), f.Unit, beside, f.Beside, ratio, goal, f.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, n := range r.Notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, n)
	}
	return nil
}

// number prints three digits that count: 0.714, 12.3, 21504.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
