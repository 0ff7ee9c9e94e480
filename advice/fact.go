package advice

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Fact is one thing that a finding rests on.
type Fact struct {
	Name string `json:"name"`
	// Value is the number in the unit; it means nothing without a unit.
	Value float64 `json:"value"`
	// Unit is count, ratio, seconds or bytes; empty for a fact that is no number, such as a condition of a plan.
	Unit string `json:"unit,omitempty"`
	// Text is the fact for people: "1,234", "61.2 %", "10m", "((author)::text = $1)".
	Text string `json:"text"`
}

// Number tells whether the fact is one.
func (f Fact) Number() bool { return f.Unit != "" }

func count(name string, n int64) Fact {
	return Fact{Name: name, Value: float64(n), Unit: "count", Text: grouped(n)}
}

func ratio(name string, r float64) Fact {
	return Fact{Name: name, Value: r, Unit: "ratio", Text: percent(r)}
}

func duration(name string, d time.Duration) Fact {
	return Fact{Name: name, Value: d.Seconds(), Unit: "seconds", Text: short(d)}
}

func size(name string, n int64) Fact {
	return Fact{Name: name, Value: float64(n), Unit: "bytes", Text: bytes(n)}
}

func text(name, s string) Fact { return Fact{Name: name, Text: s} }

// percent is 61.2 %.
func percent(r float64) string { return strconv.FormatFloat(100*r, 'f', 1, 64) + " %" }

// grouped is 1,234,567.
func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytes is 1.5 GB, in powers of 1,024 as Postgres and Redis count them.
func bytes(n int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, u := float64(n)/1024, 0
	for ; v >= 1024 && u < len(units)-1; u++ {
		v /= 1024
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[u]
}

// short is a duration without the zeros that Go prints: 10m, 1h30m, 340ms. It is a valid duration of a query file.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// roundUp is the next duration that people would write: 30s, 5m, 2h.
func roundUp(d time.Duration) time.Duration {
	steps := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
	for _, s := range steps {
		if d <= s {
			return s
		}
	}
	return 24 * time.Hour
}

// megabytes is a size as postgresql.conf and redis.conf take it, in lower case for the latter: 512MB.
func megabytes(n int64) string { return fmt.Sprintf("%dMB", (n+1<<20-1)>>20) }

// per is a over b; 0 where there is nothing to divide by.
func per(a, b int64) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}
