package load

import "fmt"

// The targets of the example application.
const (
	healthLimit     = 50.0 // ms, as all of latency
	cachedLimit     = 100.0
	databaseLimit   = 200.0
	uncachedLimit   = 500.0
	rateLimit       = 1000.0 // requests a second
	hitRateLimit    = 80.0   // per cent, as what follows
	errorRateLimit  = 0.1
	connectionLimit = 80.0
)

// Verdict is a target and whether it is met.
type Verdict struct {
	Target string `json:"target"`
	// Value is what was measured, in Unit; meaningless if it was not.
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Limit must not be reached if Relation is "<", must be exceeded if it is ">", and at least reached if it is ">=".
	Limit    float64 `json:"limit"`
	Relation string  `json:"relation"`
	Status   Status  `json:"status"`
	Note     string  `json:"note,omitempty"`
}

// Status is that of a target.
type Status string

// What is not measured is not met: nobody knows.
const (
	Pass        Status = "pass"
	Fail        Status = "fail"
	NotMeasured Status = "not measured"
)

// Judge compares the result with the targets of the example application.
//
// Latencies are judged by their 99th percentile. The median is met by a service that leaves half of its users waiting, and at the 95th a
// person who opens twenty pages may still expect one slow one; the maximum is one request's bad luck and says more about the machine.
// The connections are judged in the same way: at 99 of 100 looks they are below the limit.
func Judge(r *Result) []Verdict {
	latency := func(name string, d Distribution, limit float64) Verdict {
		return verdict(name+", p99", d.P99, "ms", "<", limit, d.N > 0, fmt.Sprintf("%d requests", d.N))
	}
	asked := r.Hits + r.Misses + r.Bypassed
	all := []Verdict{
		latency("health", r.Health, healthLimit),
		latency("cached (a hit)", r.Cached, cachedLimit),
		latency("database (no-store)", r.Database, databaseLimit),
		latency("uncached (a miss)", r.Uncached, uncachedLimit),
		verdict("throughput", r.PerSecond, "req/s", ">=", rateLimit, r.Requests > 0, fmt.Sprintf("%d users", r.Users)),
		verdict("hit rate", 100*r.HitRate, "%", ">", hitRateLimit, asked > 0, fmt.Sprintf("%d of %d reads", r.Hits, asked)),
		// An api whose health cannot be asked for has failed too.
		verdict("errors", 100*share(r.Errors+r.HealthErrors, r.Requests+r.HealthErrors), "%", "<", errorRateLimit, r.Requests > 0,
			fmt.Sprintf("%d of %d requests", r.Errors+r.HealthErrors, r.Requests+r.HealthErrors)),
	}
	connections := verdict("connections, p99", 0, "% of the pool", "<", connectionLimit, false, r.NotCounted)
	if c := r.Connections; c != nil && c.Most > 0 {
		connections = verdict("connections, p99", 100*float64(c.P99)/float64(c.Most), "% of the pool", "<", connectionLimit, true,
			fmt.Sprintf("%d of %d in use; mean %.1f, peak %d", c.P99, c.Most, c.Mean, c.Peak))
	}
	return append(all, connections)
}

func verdict(target string, value float64, unit, relation string, limit float64, measured bool, note string) Verdict {
	v := Verdict{Target: target, Value: value, Unit: unit, Relation: relation, Limit: limit, Status: Fail, Note: note}
	met := map[string]bool{"<": value < limit, ">": value > limit, ">=": value >= limit}[relation]
	switch {
	case !measured:
		v.Status = NotMeasured
	case met:
		v.Status = Pass
	}
	return v
}

// judge completes the result. A run that did not come to its end passes nothing, whatever it saw.
func (r *Result) judge() {
	r.Targets = Judge(r)
	r.Pass = !r.Interrupted && Failed(r.Targets) == 0
}

// Failed counts the targets that are not met, those that were not measured among them.
func Failed(all []Verdict) (n int) {
	for _, v := range all {
		if v.Status != Pass {
			n++
		}
	}
	return n
}
