package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"freshet/events"
)

// The forms in which changes are printed.
const (
	JSON        = "json"        // a line for each change
	CloudEvents = "cloudevents" // a line for each message: a CloudEvent 1.0 in the JSON format, whose data is the message's body
	Table       = "table"       // a line for each change, for people
)

// Formats lists them.
func Formats() []string { return []string{JSON, CloudEvents, Table} }

// Printer is a Sink that prints. Flush it at the end.
type Printer struct {
	out    *bufio.Writer
	format string
	// eager flushes each write: somebody looks at it.
	eager  bool
	headed bool
}

// NewPrinter returns a Printer. With eager each change is printed at once; otherwise when there are enough.
func NewPrinter(out io.Writer, format string, eager bool) *Printer {
	return &Printer{out: bufio.NewWriterSize(out, 64<<10), format: format, eager: eager}
}

// Flush prints what is still held back.
func (p *Printer) Flush() error { return p.out.Flush() }

// Write prints.
func (p *Printer) Write(_ context.Context, raw *events.Message, selected []Event) error {
	var err error
	switch p.format {
	case CloudEvents:
		err = p.cloudEvent(raw, selected)
	case Table:
		err = p.lines(selected)
	default:
		for i := range selected {
			if err = p.json(&selected[i]); err != nil {
				break
			}
		}
	}
	if err == nil && p.eager {
		err = p.out.Flush()
	}
	return err
}

func (p *Printer) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a change: %w", err)
	}
	if _, err = p.out.Write(append(b, '\n')); err != nil {
		return err
	}
	return nil
}

// cloudEvent prints a message as its attributes were published (ce-* headers); of its changes those that were selected.
func (p *Printer) cloudEvent(raw *events.Message, selected []Event) error {
	if raw == nil { // a snapshot has no message
		for i := range selected {
			e := &selected[i]
			err := p.json(map[string]any{
				"specversion": "1.0", "id": fmt.Sprintf("snapshot-%s-%s", e.Cursor, key(e.Key)), "source": "freshet", "type": "freshet.snapshot.v1",
				"time": e.Committed, "subject": e.Schema + "." + e.Table, "datacontenttype": "application/json", "data": e,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	event := map[string]any{"datacontenttype": "application/json"}
	for name := range raw.Header {
		if attribute, ok := strings.CutPrefix(name, "ce-"); ok {
			event[attribute] = raw.Header[name][0]
		}
	}
	event["data"] = json.RawMessage(raw.Data)
	if raw.Changes != nil && len(selected) < len(raw.Changes.Changes) {
		part := *raw.Changes
		part.Changes = nil
		for i := range selected {
			part.Changes = append(part.Changes, selected[i].Change)
		}
		event["data"] = part
	}
	return p.json(event)
}

// lines prints for people.
func (p *Printer) lines(selected []Event) error {
	if !p.headed {
		p.headed = true
		if _, err := fmt.Fprintf(p.out, "%-23s  %-12s  %-20s  %-8s  %-16s  %s\n", "committed", "position", "table", "op", "key", "values"); err != nil {
			return err
		}
	}
	for i := range selected {
		e := &selected[i]
		table := e.Table
		if e.Schema != "public" && e.Schema != "" {
			table = e.Schema + "." + e.Table
		}
		_, err := fmt.Fprintf(p.out, "%-23s  %-12s  %-20s  %-8s  %-16s  %s\n",
			e.Committed.UTC().Format("2006-01-02 15:04:05.000"), e.Position, printable(table), e.Op, printable(key(e.Key)), printable(values(e)))
		if err != nil {
			return err
		}
	}
	return nil
}

// key prints a key without the name of its column where it has only one.
func key(r events.Row) string {
	if len(r) == 1 {
		return r[0].Value
	}
	return columns(r)
}

func columns(r events.Row) string {
	var parts []string
	for _, f := range r {
		parts = append(parts, f.Name+"="+text(f))
	}
	return strings.Join(parts, " ")
}

// values says what is new, and of an update what it was before, as far as that is known.
func values(e *Event) string {
	if e.Op != events.Update || len(e.Old) == 0 {
		row := e.New
		if e.Op == events.Delete {
			row = e.Old
		}
		return strings.TrimSpace(columns(row) + " " + e.Reason)
	}
	var parts []string
	for _, f := range e.New {
		was, known := e.Old.Get(f.Name)
		switch {
		case !known:
			parts = append(parts, f.Name+"="+text(f))
		case was != f:
			parts = append(parts, f.Name+": "+text(was)+" → "+text(f))
		}
	}
	return strings.Join(parts, " ")
}

// longest bounds a value in a line for people.
const longest = 40

func text(f events.Field) string {
	if f.Null {
		return "NULL"
	}
	if r := []rune(f.Value); len(r) > longest {
		return string(r[:longest-1]) + "…"
	}
	return f.Value
}

// printable takes out what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
