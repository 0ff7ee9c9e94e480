package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"freshet/query"
)

const (
	// maxField bounds the name under which an entry is stored; long ones are hashed, with 256 bits: two requests must never share one.
	maxField = 200
	// maxKept bounds the names that are kept beside the result of a hashed one. No URL that an api takes is longer; the body of
	// POST /query may be, and what somebody sends must not fill the cache.
	maxKept = 64 << 10
	// hashed begins what stands for the arguments in a hashed name. No parameter's name does.
	hashed = "~"
)

// entryName is the field under which the entry of that whole name is stored. Where that is a hash, name is what is kept with the entry,
// so that whoever finds it can tell what it answers.
func entryName(whole string) (field, name string) {
	if len(whole) <= maxField {
		return whole, ""
	}
	sum := sha256.Sum256([]byte(whole))
	prefix, _, _ := strings.Cut(whole, "?")
	if len(whole) <= maxKept {
		name = whole
	}
	return prefix + "?" + hashed + hex.EncodeToString(sum[:]), name
}

// Hashed tells whether the field of an entry of the plan's query is a hash of its name.
func (p *Plan) Hashed(field string) bool { return strings.HasPrefix(field, p.Prefix+hashed) }

// Args are the arguments of the entry of that whole name; ok is false if no request of the plan's query has it.
func (p *Plan) Args(name string) (args query.Args, ok bool) {
	key, ok := strings.CutPrefix(name, p.Prefix)
	if !ok {
		return args, false
	}
	args, err := p.Query.ParseKey(key)
	return args, err == nil
}
