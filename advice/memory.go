package advice

import (
	"fmt"
	"strings"
)

// memory finds a Redis that has little left.
func memory(e *Evidence) []Finding {
	r := e.Redis
	if r == nil {
		return nil
	}
	if r.Max == 0 {
		return unlimited(r)
	}
	use := per(r.Used, r.Max)
	if use < NearMemory && r.Evicted == 0 {
		return nil
	}
	f := Finding{
		ID: "redis.memory", Subject: "redis", Severity: Warning, Weight: 1,
		Title:    fmt.Sprintf("Redis uses %s of the memory that it may use", percent(use)),
		Evidence: []Fact{ratio("use", use), size("used_memory", r.Used), size("maxmemory", r.Max), text("maxmemory-policy", r.Policy), count("keys evicted", r.Evicted)},
		Remedy: Remedy{"Give it more, here and in redis.conf. Entries that nobody asks for again go earlier with a shorter ttl.",
			"CONFIG SET maxmemory " + megabytes(max(r.Max*3/2, r.Used*2))},
	}
	if r.Evicted > 0 && r.Uptime > 0 {
		perHour := float64(r.Evicted) / r.Uptime.Hours()
		f.Evidence = append(f.Evidence, Fact{Name: "keys evicted in an hour", Value: perHour, Unit: "count", Text: grouped(int64(perHour))})
	}
	switch {
	case use < NearMemory:
		f.Severity = Info
		f.Title = fmt.Sprintf("Redis has evicted %s keys since it was started: entries went before their time", grouped(r.Evicted))
	case use >= FullMemory && r.refuses():
		f.Severity = Critical
		f.Title += ", and refuses writes beyond: nothing is stored, and the watermark does not advance"
	}
	return []Finding{f}
}

// unlimited is about a Redis that may grow until the machine has no memory left.
func unlimited(r *Redis) []Finding {
	if r.Host == 0 || per(r.Used, r.Host) < HostMemory {
		return nil
	}
	return []Finding{{
		ID: "redis.unlimited", Subject: "redis", Severity: Warning, Weight: 1,
		Title:    fmt.Sprintf("Redis has no limit and uses %s of the machine's memory", percent(per(r.Used, r.Host))),
		Evidence: []Fact{size("used_memory", r.Used), size("memory of the machine", r.Host), size("maxmemory", r.Max)},
		Remedy: Remedy{"Set a limit, here and in redis.conf, so that it evicts entries before the system ends it.",
			fmt.Sprintf("CONFIG SET maxmemory %s\nCONFIG SET maxmemory-policy allkeys-lru", megabytes(max(r.Host/2, r.Used)))},
	}}
}

// refuses tells whether a full Redis refuses writes, as it finds nothing that it may evict.
func (r *Redis) refuses() bool {
	return r.Policy == "noeviction" || strings.HasPrefix(r.Policy, "volatile-") && r.fewExpire()
}

// fewExpire tells whether a volatile policy finds too little: Freshet's buckets all have a time to live, so the rest is somebody else's.
func (r *Redis) fewExpire() bool { return r.Keys > 0 && per(r.Expiring, r.Keys) < CanExpire }

// evictionPolicy finds a policy that evicts the wrong keys, or none.
func evictionPolicy(e *Evidence) []Finding {
	r := e.Redis
	if r == nil || r.Max == 0 {
		return nil // without a limit nothing is ever evicted
	}
	why := r.policyHurts()
	if why == "" {
		return nil
	}
	f := Finding{
		ID: "redis.policy", Subject: "redis", Severity: Info, Weight: 1,
		Title: fmt.Sprintf("The eviction policy %s %s", r.Policy, why),
		Evidence: []Fact{
			size("maxmemory", r.Max), size("used_memory", r.Used), count("keys", r.Keys), count("keys with a time to live", r.Expiring),
			duration("mean time to live", r.MeanTTL), count("keys evicted", r.Evicted),
		},
		Remedy: Remedy{"Evict what was used longest ago, here and in redis.conf. Eviction costs only misses: no key of Freshet's has to stay.",
			"CONFIG SET maxmemory-policy allkeys-lru"},
	}
	if strings.HasPrefix(r.Policy, "volatile-") && r.fewExpire() {
		f.Remedy.Text = "Give Freshet a Redis of its own; what is there without a time to live is somebody else's, and would be evicted too by this:"
	}
	if r.Evicted > 0 || per(r.Used, r.Max) >= NearMemory {
		f.Severity = Warning
	}
	return []Finding{f}
}

// policyHurts says how, as the end of a sentence; "" if it does not.
func (r *Redis) policyHurts() string {
	switch {
	case r.Policy == "noeviction":
		return "makes a full Redis refuse writes: nothing is stored any more, and the watermark cannot advance"
	case strings.HasPrefix(r.Policy, "volatile-") && r.fewExpire():
		return fmt.Sprintf("can evict only the %s of the keys that have a time to live; when they are gone, writes are refused", percent(per(r.Expiring, r.Keys)))
	case r.Policy == "volatile-ttl":
		return "evicts the buckets that were filled longest ago, also those that are read most: a hit does not prolong a bucket's life"
	case strings.HasSuffix(r.Policy, "-random"):
		return "evicts any key, also those that are read most"
	}
	return ""
}
