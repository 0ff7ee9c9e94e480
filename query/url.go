package query

import (
	"net/url"
	"slices"
	"strings"
)

// URL is the path and the query string of a request with these arguments, for the query's own route; ok is false if there is none: a
// list whose elements have commas, an empty segment.
func (a Args) URL() (target string, ok bool) {
	names := strings.Split(a.query.Path, "/")
	segments := slices.Clone(names)
	values := url.Values{}
	for i, p := range a.query.Params {
		switch v := a.values[i].(type) {
		case string:
			at := slices.Index(names, ":"+p.Name)
			if at < 0 {
				values.Set(p.Name, v)
				continue
			}
			if v == "" || v == "." || v == ".." { // those that a path cannot have
				return "", false
			}
			segments[at] = url.PathEscape(v)
		case []string:
			if len(v) == 0 {
				values.Set(p.Name, "")
			}
			for _, e := range v {
				if e == "" || strings.Contains(e, ",") {
					return "", false
				}
				values.Add(p.Name, e)
			}
		}
	}
	target = strings.Join(segments, "/")
	if len(values) > 0 {
		target += "?" + values.Encode()
	}
	return target, true
}
