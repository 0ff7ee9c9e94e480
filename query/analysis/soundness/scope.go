package soundness

import "slices"

// source is an entry of FROM.
type source struct {
	alias  string
	schema string // of a table without an alias, which may be called schema.table.column too
	cols   []column
}

// scope is what names can mean in one query level, and further out.
type scope struct {
	sources []*source
	// merged are the columns of USING and NATURAL, which can be named alone although both sides have them.
	merged []string
	outer  *scope
}

// reference is a way of writing a column.
type reference struct {
	sql   string
	depth int // 0 in the level itself, 1 in the one around it
	column
}

// references lists the columns that a level can name, each in the ways in which it can be written.
func (sc *scope) references() []reference {
	var out []reference
	depth := 0
	for l := sc; l != nil; l = l.outer {
		for _, s := range l.sources {
			for _, c := range s.cols {
				for _, sql := range sc.spellings(l, s, c.name) {
					out = append(out, reference{sql, depth, c})
				}
			}
		}
		depth++
	}
	return out
}

// spellings are the ways of writing a column of a source of the level at, as seen from sc. A name is taken by the nearest level
// that has it.
func (sc *scope) spellings(at *scope, s *source, name string) []string {
	var out []string
	if countNames(s.cols, name) > 1 {
		return nil
	}
	if alias := sc.nearest(func(o *source) bool { return o.alias == s.alias }); alias.level == at && alias.count == 1 {
		out = append(out, s.alias+"."+name)
	}
	if s.schema != "" {
		same := sc.nearest(func(o *source) bool { return o.alias == s.alias && o.schema == s.schema })
		if same.level == at && same.count == 1 {
			out = append(out, s.schema+"."+s.alias+"."+name)
		}
	}
	bare := sc.nearest(func(o *source) bool { return countNames(o.cols, name) > 0 })
	if bare.level == at && (bare.count == 1 || bare.first == s && slices.Contains(at.merged, name)) {
		out = append(out, name)
	}
	return out
}

// found is the nearest level with sources of some kind.
type found struct {
	level *scope
	first *source
	count int
}

func (sc *scope) nearest(is func(*source) bool) (f found) {
	for l := sc; l != nil; l = l.outer {
		for _, s := range l.sources {
			if !is(s) {
				continue
			}
			if f.level == nil {
				f = found{level: l, first: s}
			}
			f.count++
		}
		if f.level != nil {
			return f
		}
	}
	return f
}

func countNames(cols []column, name string) (n int) {
	for _, c := range cols {
		if c.name == name {
			n++
		}
	}
	return n
}

// find picks one of the columns that fit: mostly one of the level itself, if there is an outer one sometimes that.
func (g *generator) find(sc *scope, fits func(column) bool) (reference, bool) {
	var near, far []reference
	for _, r := range sc.references() {
		switch {
		case !fits(r.column):
		case r.depth == 0:
			near = append(near, r)
		default:
			far = append(far, r)
		}
	}
	switch {
	case len(far) > 0 && (len(near) == 0 || g.d.chance(35)):
		return pick(g.d, far), true
	case len(near) > 0:
		return pick(g.d, near), true
	}
	return reference{}, false
}
