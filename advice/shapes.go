package advice

import "fmt"

// coarseShapes finds tables of which any change clears a query's results, and says what would make it fewer.
func coarseShapes(e *Evidence) (found []Finding) {
	for i := range e.Queries {
		q := &e.Queries[i]
		for _, s := range q.Analysis.Shapes {
			if s.Flaw == "" {
				continue
			}
			f := Finding{
				ID: "shape." + string(s.Flaw), Subject: q.Name, Severity: Info, Weight: e.weight(q),
				Title:    fmt.Sprintf("%s: any change of %s clears its results", q.Name, s.Table),
				Evidence: []Fact{count("requests", q.Requests), text("depends on", s.Name), count("columns pinned", int64(len(s.Columns))), text("because", s.Reason)},
				Remedy:   s.Remedy,
			}
			switch s.Flaw {
			case Constant:
				f.Title = fmt.Sprintf("%s: a change of %s clears its results for all parameters", q.Name, s.Table)
			case UnknownOldValues:
				f.Title = fmt.Sprintf("%s: an update of %s clears more of its results than it has to", q.Name, s.Table)
			case Coarse:
			}
			by, _ := e.cleared(q)
			if n := by[s.Table]; n > 0 {
				f.Evidence = append(f.Evidence, count("cleared by changes of "+s.Table, n))
			}
			if len(s.Reads) > 0 {
				f.Evidence = append(f.Evidence, text("columns read", list(s.Reads)))
			}
			if q.Requests >= MinRequests && by[s.Table] >= MinClears && f.Weight >= MinWeight && per(q.Hits, q.Requests) < LowHitRate {
				f.Severity = Warning
			}
			found = append(found, f)
		}
	}
	return found
}
