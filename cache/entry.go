package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"freshet/events"
)

// Entry is one query result, ready to send, with the tokens that it was filled under.
type Entry struct {
	// Bound is the chain, the generations of the shapes and the tokens of the buckets, in the order of the request's tags.
	// The entry is valid only while each of them still has that value (rule 2).
	Bound []string
	// Filled is the time of the fill and Expires its end, by the clock of the process that filled it.
	Filled, Expires time.Time
	// Name is Request.Name: what the entry answers, where its field does not say. It takes no part in serving it.
	Name string
	Result
}

// Result is what a fill returns.
type Result struct {
	// Found is false for a result without a row: cached like any other.
	Found bool
	// ETag is the entity tag of Body, with its quotes.
	ETag string
	Body []byte
	// Seen is a mark that nothing in the result is later than: where the WAL ended when the snapshot had been taken. Zero if it is
	// not known.
	Seen Mark
}

// A version begins each stored entry: one of another version is a miss. entryNamed is entryVersion with a name before the body, for
// entries that have one.
const (
	entryVersion = 2
	entryNamed   = 3
)

var errEntry = errors.New("not a cache entry of this version")

// encode is the form in which an entry is stored: a version byte, fixed-size fields, length-prefixed strings, the body.
func (e *Entry) encode() []byte {
	size := 64 + len(e.ETag) + len(e.Name) + len(e.Body)
	for _, t := range e.Bound {
		size += 1 + len(t)
	}
	b := make([]byte, 0, size)
	if e.Name == "" {
		b = append(b, entryVersion)
	} else {
		b = append(b, entryNamed)
	}
	if e.Found {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.Filled.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Expires.UnixMicro()))
	b = binary.BigEndian.AppendUint32(b, e.Seen.Timeline)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seen.Position))
	b = binary.AppendUvarint(b, uint64(len(e.Bound)))
	for _, t := range e.Bound {
		b = appendString(b, t)
	}
	b = appendString(b, e.ETag)
	if e.Name != "" {
		b = appendString(b, e.Name)
	}
	return append(b, e.Body...)
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeEntry is the inverse of encode. The body aliases data.
func decodeEntry(data []byte) (*Entry, error) {
	const fixed = 2 + 3*8 + 4
	if len(data) < fixed || data[0] != entryVersion && data[0] != entryNamed {
		return nil, errEntry
	}
	e := &Entry{
		Filled:  time.UnixMicro(int64(binary.BigEndian.Uint64(data[2:]))),
		Expires: time.UnixMicro(int64(binary.BigEndian.Uint64(data[10:]))),
	}
	e.Seen = Mark{binary.BigEndian.Uint32(data[18:]), events.Position(binary.BigEndian.Uint64(data[22:]))}
	e.Found = data[1] == 1
	rest := data[fixed:]
	n, used := binary.Uvarint(rest)
	if used <= 0 || n > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: bad count", errEntry)
	}
	rest = rest[used:]
	e.Bound = make([]string, n)
	var ok bool
	for i := range e.Bound {
		if e.Bound[i], rest, ok = cutString(rest); !ok {
			return nil, fmt.Errorf("%w: truncated", errEntry)
		}
	}
	if e.ETag, rest, ok = cutString(rest); !ok {
		return nil, fmt.Errorf("%w: truncated", errEntry)
	}
	if data[0] == entryNamed {
		if e.Name, rest, ok = cutString(rest); !ok || e.Name == "" {
			return nil, fmt.Errorf("%w: truncated", errEntry)
		}
	}
	e.Body = rest
	return e, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return "", nil, false
	}
	return string(b[used : used+int(n)]), b[used+int(n):], true
}
