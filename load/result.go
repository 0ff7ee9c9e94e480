package load

import (
	"slices"
	"strings"
	"time"
)

// Result is what the users saw, and how it is judged.
type Result struct {
	URL     string    `json:"url"`
	API     string    `json:"api"` // its version
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"` // that were measured
	WarmUp  float64   `json:"warm_up_seconds"`
	Users   int       `json:"users"`
	Pause   float64   `json:"pause_seconds"` // of a user between two requests, at the mean
	Writes  int       `json:"writes_percent"`
	Edits   int       `json:"edits_percent"` // of the writes
	Seed    uint64    `json:"seed"`
	// Interrupted is true of a run that did not come to its end. It passes nothing.
	Interrupted bool `json:"interrupted"`

	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	PerSecond float64 `json:"requests_per_second"` // those that were answered without an error
	ErrorRate float64 `json:"error_rate"`          // from 0 to 1, as all rates

	// Hits, Misses and Bypassed are of the reads that did not ask for an answer from Postgres.
	Hits     int64   `json:"hits"`
	Misses   int64   `json:"misses"`
	Bypassed int64   `json:"bypassed"`
	HitRate  float64 `json:"hit_rate"`
	// Bypasses says why the cache was passed by, Failures what failed.
	Bypasses map[string]int64 `json:"bypasses"`
	Failures map[string]int64 `json:"failures"`

	Health       Distribution `json:"health"`
	HealthErrors int64        `json:"health_errors"`
	Cached       Distribution `json:"cached"`
	Uncached     Distribution `json:"uncached"`
	Database     Distribution `json:"database"` // reads with no-store
	Written      Distribution `json:"written"`

	// Without is the same load without the cache; nil: not measured.
	Without *Without `json:"without_cache"`

	Queries     []QueryResult   `json:"queries"`
	Connections *ConnectionsUse `json:"connections"` // nil: not measured
	// NotCounted says why the connections were not measured.
	NotCounted string `json:"connections_not_measured,omitempty"`

	Targets []Verdict `json:"targets"`
	Pass    bool      `json:"pass"`
}

// Distribution is that of times in milliseconds.
type Distribution struct {
	N   int64   `json:"n"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// QueryResult is what was seen of one query.
type QueryResult struct {
	Query    string       `json:"query"`
	Cached   Distribution `json:"cached"`
	Uncached Distribution `json:"uncached"`
	Database Distribution `json:"database"`
	HitRate  float64      `json:"hit_rate"`
	// Crowd compares hits with the answers of the same load without the cache, Alone the two when nobody else asks.
	Crowd Comparison `json:"crowd"`
	Alone Comparison `json:"alone"`
}

// Without is a load whose reads are all asked past the cache.
type Without struct {
	Seconds   float64 `json:"seconds"`
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	PerSecond float64 `json:"requests_per_second"`
}

// Comparison is of answers from the cache and from Postgres to the same questions.
type Comparison struct {
	Cached   Distribution `json:"cached"`
	Database Distribution `json:"database"`
	// SpeedUp is the median from Postgres over that from the cache; 0 if one of them is missing.
	SpeedUp float64 `json:"speed_up"`
}

// ConnectionsUse is how many connections the api used.
type ConnectionsUse struct {
	Samples int     `json:"samples"`
	Mean    float64 `json:"mean"`
	P99     int     `json:"p99"`
	Peak    int     `json:"peak"`
	Most    int     `json:"most"` // the limit of the pool
}

func compare(cached, database Distribution) Comparison {
	c := Comparison{Cached: cached, Database: database}
	if cached.N > 0 && database.N > 0 {
		c.SpeedUp = database.P50 / cached.P50
	}
	return c
}

// result puts together what was recorded.
func (l *Load) result(rec *recorder, u *usage, elapsed time.Duration) *Result {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r := &Result{
		URL: l.cfg.URL, API: l.version, Began: l.began.UTC(), Seconds: elapsed.Seconds(), WarmUp: l.cfg.WarmUp.Seconds(),
		Users: l.cfg.Users, Pause: l.cfg.Pause.Seconds(), Writes: l.cfg.Writes, Edits: l.cfg.Edits, Seed: l.cfg.Seed,
		Requests: rec.requests.Load(), Errors: rec.errors.Load(),
		Hits: rec.hits.Load(), Misses: rec.misses.Load(), Bypassed: rec.bypassed.Load(),
		Bypasses: rec.bypasses, Failures: rec.failures,
		Health: rec.health.distribution(), HealthErrors: rec.healthErrors.Load(),
	}
	if elapsed > 0 {
		r.PerSecond = float64(r.Requests-r.Errors) / elapsed.Seconds()
	}
	r.ErrorRate = share(r.Errors, r.Requests)
	r.HitRate = share(r.Hits, r.Hits+r.Misses+r.Bypassed)
	cached, uncached, database, written := newHistogram(), newHistogram(), newHistogram(), newHistogram()
	for _, q := range reads {
		of := rec.reads[q.query]
		cached.merge(of.cached)
		uncached.merge(of.uncached)
		database.merge(of.database)
		one := QueryResult{Query: q.query, Cached: of.cached.distribution(), Uncached: of.uncached.distribution(), Database: of.database.distribution()}
		one.HitRate = share(one.Cached.N, one.Cached.N+one.Uncached.N)
		r.Queries = append(r.Queries, one)
	}
	for _, h := range rec.writes {
		written.merge(h)
	}
	r.Cached, r.Uncached, r.Database, r.Written = cached.distribution(), uncached.distribution(), database.distribution(), written.distribution()
	r.Connections, r.NotCounted = u.summary()
	return r
}

// compareWith puts beside the result what was recorded without the cache.
func (r *Result) compareWith(rec *recorder, elapsed time.Duration) {
	r.Without = &Without{Seconds: elapsed.Seconds(), Requests: rec.requests.Load(), Errors: rec.errors.Load()}
	r.Without.PerSecond = float64(r.Without.Requests-r.Without.Errors) / elapsed.Seconds()
	for i := range r.Queries {
		q := &r.Queries[i]
		q.Crowd = compare(q.Cached, rec.reads[q.Query].database.distribution())
	}
}

func (u *usage) summary() (use *ConnectionsUse, not string) {
	switch {
	case u.source == nil:
		return nil, "no database URL was given"
	case u.err != nil:
		return nil, u.err.Error()
	case len(u.samples) == 0:
		return nil, "there was no time to"
	}
	slices.Sort(u.samples)
	n, sum := len(u.samples), 0
	for _, n := range u.samples {
		sum += n
	}
	return &ConnectionsUse{
		Samples: n, Mean: float64(sum) / float64(n), P99: u.samples[(99*n+99)/100-1], Peak: u.samples[n-1], Most: u.most,
	}, ""
}

// baseTitle is a title without what an earlier edit of ours added, so that titles do not grow from run to run.
func baseTitle(title string) string {
	base, _, _ := strings.Cut(title, " (revision ")
	return base
}
