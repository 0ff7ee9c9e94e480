package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet/cache"
)

// hitRate finds queries that go to Postgres too often, and says why: whatever explains most of what was not a hit.
func hitRate(e *Evidence) (found []Finding) {
	for i := range e.Queries {
		q := &e.Queries[i]
		if q.Requests < MinRequests || per(q.Hits, q.Requests) >= LowHitRate {
			continue
		}
		f := lowHitRate(e, q, mainCause(e, q))
		f.Subject, f.Weight, f.Severity = q.Name, e.weight(q), Warning
		if f.Weight < MinWeight {
			f.Severity = Info
		}
		f.Evidence = append([]Fact{
			ratio("hit rate", per(q.Hits, q.Requests)), count("requests", q.Requests), count("hits", q.Hits),
			count("misses", q.Misses), count("bypasses", q.bypassed()),
		}, f.Evidence...)
		found = append(found, f)
	}
	return found
}

// cause is why requests were not answered from the cache.
type cause int

const (
	bypassed cause = iota // the cache could not be used
	first                 // nobody had asked that before: each different request misses once
	cleared               // a change had taken the entry away
	expired               // the entry had come to the end of its TTL
	evicted               // Redis had taken it away
	unknown               // none of these explains it
)

// causes shares out the requests that were no hits. What is measured goes first; what is reckoned gets what is left.
func causes(e *Evidence, q *Query) map[cause]int64 {
	shares := map[cause]int64{bypassed: q.bypassed()}
	left := q.Misses
	take := func(c cause, n int64) {
		shares[c] = max(0, min(n, left))
		left -= shares[c]
	}
	if q.Expired >= 0 {
		take(expired, q.Expired)
	}
	take(first, q.Entries)
	by, shared := e.cleared(q)
	var n int64
	for _, of := range by {
		n += of
	}
	if !shared || q.Expired >= 0 {
		// Clears of others' entries explain nothing that the TTL could explain as well.
		take(cleared, n)
	}
	if q.Expired < 0 && q.TTL > 0 {
		take(expired, q.Entries*int64(e.Window/q.TTL)) // as often as each entry can have expired at most
		take(cleared, n)
	}
	if e.Redis != nil && e.Redis.Evicted > 0 {
		take(evicted, left)
	}
	shares[unknown] = left
	return shares
}

// mainCause is the cause that explains most.
func mainCause(e *Evidence, q *Query) cause {
	shares := causes(e, q)
	best := bypassed
	for c := bypassed; c <= unknown; c++ {
		if shares[c] > shares[best] {
			best = c
		}
	}
	return best
}

// lowHitRate words the finding for a cause.
func lowHitRate(e *Evidence, q *Query, c cause) Finding {
	rate := percent(per(q.Hits, q.Requests))
	switch c {
	case bypassed:
		return bypassFinding(q, rate)
	case first:
		return parametersFinding(q, rate)
	case cleared:
		return clearedFinding(e, q, rate)
	case expired:
		return expiredFinding(e, q, rate)
	case evicted:
		return Finding{
			ID: "hit-rate.evicted", Title: fmt.Sprintf("%s: %s hits, because Redis evicts its entries before they are asked for again", q.Name, rate),
			Evidence: []Fact{count("different requests", q.Entries), count("keys evicted since Redis was started", e.Redis.Evicted), size("maxmemory", e.Redis.Max)},
			Remedy:   Remedy{"Give Redis more memory.", "CONFIG SET maxmemory " + megabytes(max(2*e.Redis.Max, e.Redis.Used*3/2))},
		}
	}
	return Finding{
		ID: "hit-rate.unexplained", Title: fmt.Sprintf("%s: %s hits, and what is measured does not say why", q.Name, rate),
		Evidence: []Fact{count("different requests", q.Entries), count("misses not explained", causes(e, q)[unknown])},
		Remedy:   Remedy{"See which changes clear the buckets of one of its requests; give its parameters behind the name.", "freshet why " + q.Name + " --since 10m"},
	}
}

func expiredFinding(e *Evidence, q *Query, rate string) Finding {
	f := Finding{
		ID: "hit-rate.ttl", Title: fmt.Sprintf("%s: %s hits, because its entries expire before they are asked for again", q.Name, rate),
		Evidence: []Fact{count("misses of expired entries", causes(e, q)[expired]), count("different requests", q.Entries), duration("ttl", q.TTL)},
	}
	if interval := q.interval(e.Window); interval > 0 {
		f.Evidence = append(f.Evidence, duration("time between two requests of one entry", interval))
	}
	if q.Analysis.Timed {
		f.Remedy = Remedy{Text: fmt.Sprintf("The result depends on the time, so the TTL decides how old it may be: raise it in %s as far as that is "+
			"right, or pass the time as a parameter that is rounded, and take now() out of the statement.", q.where())}
		return f
	}
	f.Remedy = Remedy{
		fmt.Sprintf("Raise the TTL in the header of %s. Nothing gets staler: changes clear the entries, the TTL only frees memory.", q.where()),
		"-- ttl: " + short(q.longerTTL(e.Window)),
	}
	return f
}

// interval is the mean time between two requests of one entry.
func (q *Query) interval(window time.Duration) time.Duration {
	return time.Duration(float64(window) * per(q.Entries, q.Requests))
}

// longerTTL lets an entry be asked for twenty times before it expires: 95 % hits, if nothing else is in the way.
func (q *Query) longerTTL(window time.Duration) time.Duration {
	return max(roundUp(20*q.interval(window)), roundUp(2*q.TTL))
}

func parametersFinding(q *Query, rate string) Finding {
	best := 1 - per(q.Entries, q.Requests)
	f := Finding{
		ID: "hit-rate.parameters", Title: fmt.Sprintf("%s: %s hits, because its requests have too many different parameters", q.Name, rate),
		Evidence: []Fact{count("different requests", q.Entries), ratio("hit rate if each missed only once", max(best, 0))},
	}
	f.Remedy.Text = fmt.Sprintf("Each different request misses once, so let fewer be different: take parameters out of %s that change nothing, and round or "+
		"bound the others. Where they must be as many (a search, a far page), the cache does not help, and an index has to.", q.where())
	for _, p := range q.Analysis.Params {
		if narrow := p.narrower(); narrow != "" {
			f.Evidence = append(f.Evidence, p.fact())
			f.Remedy.Code += narrow + "\n"
		}
	}
	return f
}

// wideParam is how many values a number may have before it is proposed to narrow it.
const wideParam = 20

// narrower is a declaration that admits fewer values; "" where only people can say which are needed.
func (p *Param) narrower() string {
	if p.Type != "int" && p.Type != "bigint" || p.Values > 0 && p.Values <= wideParam {
		return ""
	}
	switch p.Name {
	case "offset":
		return "-- param: offset " + p.Type + " = 0, min 0, max 1000"
	case "limit":
		return "-- param: limit " + p.Type + " = 20, min 20, max 20"
	}
	return ""
}

func (p *Param) fact() Fact {
	if p.Values == 0 {
		return text("parameter "+p.Name, "has no bound")
	}
	return count("values that "+p.Name+" may have", p.Values)
}

func clearedFinding(e *Evidence, q *Query, rate string) Finding {
	by, shared := e.cleared(q)
	tables := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	worst := tables[0]
	f := Finding{
		ID: "hit-rate.cleared", Title: fmt.Sprintf("%s: %s hits, because changes of %s clear its entries", q.Name, rate, worst),
		Evidence: []Fact{duration("window", e.Window)},
	}
	name := "entries cleared by changes of "
	if shared {
		name = "buckets of any query cleared by changes of "
	}
	for _, t := range tables {
		if by[t] > 0 {
			f.Evidence = append(f.Evidence, count(name+t, by[t]))
		}
	}
	for _, s := range q.Analysis.Shapes {
		if s.Table != worst {
			continue
		}
		f.Evidence = append(f.Evidence, text("depends on", s.Name))
		if s.Flaw != "" {
			f.Evidence = append(f.Evidence, text("because", s.Reason))
			f.Remedy = s.Remedy
			f.Remedy.Text = "A change clears more than it has to. " + f.Remedy.Text
			return f
		}
		f.Evidence = append(f.Evidence, text("columns read", list(s.Reads)))
	}
	f.Remedy = Remedy{
		fmt.Sprintf("A change that alters none of the columns read clears nothing. See which changes they are; where a column changes often and is not "+
			"needed (a counter, a last-seen time), leave it out of %s or move it to a table of its own.", q.where()),
		"freshet why " + q.Name + " --since 10m",
	}
	return f
}

func bypassFinding(q *Query, rate string) Finding {
	reasons := slices.SortedFunc(maps.Keys(q.Bypasses), func(a, b string) int {
		return cmp.Or(cmp.Compare(q.Bypasses[b], q.Bypasses[a]), cmp.Compare(a, b))
	})
	f := Finding{
		ID: "hit-rate.bypass", Title: fmt.Sprintf("%s: %s hits, because the cache could not be used (%s)", q.Name, rate, reasons[0]),
	}
	for _, r := range reasons {
		f.Evidence = append(f.Evidence, count("bypasses: "+r, q.Bypasses[r]))
	}
	f.Remedy = bypassRemedy(q, reasons[0])
	return f
}

// longTransactions lists what a registration waits for.
const longTransactions = "SELECT pid, now() - xact_start AS age, state, application_name FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 5;"

func bypassRemedy(q *Query, reason string) Remedy {
	switch reason {
	case cache.ReasonStale, cache.ReasonNoWatermark:
		return Remedy{"The watermark does not advance: see that cdc, NATS and the invalidator are running.", "curl -s http://127.0.0.1:8080/health/detailed"}
	case cache.ReasonBehind:
		return Remedy{"These requests ask for more than a bounded age (Cache-Control: no-cache or Freshet-Position), and the watermark did not get there in time: " +
			"ask for max-age where a bound is enough.", "Cache-Control: max-age=1"}
	case cache.ReasonInactive:
		return Remedy{"Its shapes wait until every transaction that was in progress at their registration has ended. Find the oldest, and end it if it hangs.", longTransactions}
	case cache.ReasonUnavailable:
		return Remedy{"Redis does not answer: see that it is running, and reachable from the api.", "redis-cli --latency"}
	case cache.ReasonForeign:
		return Remedy{"The Redis holds the cache of another source: give each source a Redis (or a database) of its own.", "FRESHET_SOURCE and REDIS_URL"}
	case cache.ReasonSchema:
		return Remedy{"A definition changes again and again, and each time the queries are analyzed anew: look for a job that runs DDL (CREATE TABLE, ALTER, temporary views).",
			"ALTER SYSTEM SET log_statement = 'ddl'; SELECT pg_reload_conf();"}
	case cache.ReasonUntagged:
		return Remedy{"Requests with more values in a list than a query may have buckets are not cached: bound the list in its declaration.", "-- param: ids text[], max 64"}
	case cache.ReasonNoMark:
		return Remedy{"The primary did not say where its WAL ends: see that it is reachable, and its connections are not used up.", "SELECT pg_current_wal_insert_lsn();"}
	case "no-store":
		return Remedy{"These requests send Cache-Control: no-store: ask for a bound on the age instead.", "Cache-Control: max-age=1"}
	}
	return Remedy{"The query is refused: check says why, and what would help.", "freshet check " + cmp.Or(q.File, q.Name)}
}

// where names a query's file, or the query.
func (q *Query) where() string { return cmp.Or(q.File, "the query "+q.Name) }

// idleTTL finds queries whose TTL decides nothing: a change always takes the entry first, long before.
func idleTTL(e *Evidence) (found []Finding) {
	for i := range e.Queries {
		q := &e.Queries[i]
		n := e.own(q)
		if n < MinClears || q.Entries == 0 || q.Analysis.Timed || q.Expired > 0 {
			continue
		}
		life := time.Duration(float64(e.Window) * per(q.Entries, n))
		if q.TTL < IdleTTL*life {
			continue
		}
		found = append(found, Finding{
			ID: "ttl.idle", Subject: q.Name, Severity: Info, Weight: e.weight(q),
			Title:    fmt.Sprintf("%s: its ttl of %s decides nothing, as changes clear an entry after %s", q.Name, short(q.TTL), short(life)),
			Evidence: []Fact{duration("ttl", q.TTL), duration("mean life of an entry", life), count("entries cleared", n), count("different requests", q.Entries)},
			Remedy: Remedy{fmt.Sprintf("A longer one would gain nothing. A shorter one in %s frees the memory of what nobody asks for again.", q.where()),
				"-- ttl: " + short(min(roundUp(IdleTTL*life/2), q.TTL))},
		})
	}
	return found
}
