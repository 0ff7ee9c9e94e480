package api

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"freshet/cache"
	"freshet/internal/health"
	"freshet/internal/telemetry"
)

// LiveSample is the event "sample" of GET /performance/live: how things stand, each second.
type LiveSample struct {
	At time.Time `json:"at"`
	// Reads of the last second; null where there were none.
	ReadsPerSecond float64  `json:"reads_per_second"`
	HitRatio       *float64 `json:"hit_ratio"`
	P50            *float64 `json:"p50_ms"`
	P99            *float64 `json:"p99_ms"`
	Hits           uint64   `json:"hits"`
	Misses         uint64   `json:"misses"`
	Bypasses       uint64   `json:"bypasses"`
	// CommitToCleared is of the changes that were seen in the last minute; null if there were none.
	CommitToCleared *LiveSpread `json:"commit_to_cleared_ms"`
	// WatermarkAge is how far the cache is behind the database, in seconds; null while no watermark is known.
	WatermarkAge *float64 `json:"watermark_age_seconds"`
	Lag          LiveLag  `json:"lag"`
	Pool         LivePool `json:"pool"`
	// Watchers is how many watch.
	Watchers int `json:"watchers"`
}

// LiveSpread are figures of several changes.
type LiveSpread struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// LiveLag is how far each hop is behind the one before it; null where it is not known.
type LiveLag struct {
	// Slot is the WAL that Postgres keeps and cdc has not confirmed; CDCActive says that cdc is connected.
	Slot      *int64 `json:"slot_bytes"`
	CDCActive *bool  `json:"cdc_active"`
	// Messages and Seconds are the invalidator's, behind the log.
	Messages *uint64  `json:"invalidator_messages"`
	Seconds  *float64 `json:"invalidator_seconds"`
}

// LivePool is how the connections to Postgres are used.
type LivePool struct {
	InUse   int   `json:"in_use"`
	Max     int   `json:"max"`
	Waiting int64 `json:"waiting"`
}

// watcher works samples out.
type watcher struct {
	hub   *hub
	meter *telemetry.Meter
	kept  []clearedIn
}

// clearedIn is how long a change took to clear what it touches.
type clearedIn struct {
	at time.Time
	ms float64
}

// seen notes a step.
func (w *watcher) seen(payload string) {
	var l cache.Live
	if json.Unmarshal([]byte(payload), &l) != nil {
		return // of another version
	}
	now := time.Now()
	for _, c := range l.Changes {
		w.kept = append(w.kept, clearedIn{now, c.Milliseconds})
	}
	if n := len(w.kept) - liveKept; n > 0 {
		w.kept = slices.Delete(w.kept, 0, n)
	}
}

func (w *watcher) sample(ctx context.Context) LiveSample {
	a := w.hub.api
	state, reads := a.State(ctx), w.meter.Look()
	s := LiveSample{
		At: time.Now().UTC(), ReadsPerSecond: float64(reads.Requests) / max(reads.Covered.Seconds(), 0.001),
		Lag: w.lag(ctx), Watchers: w.hub.watchers(),
		Pool: LivePool{InUse: state.PoolInUse, Max: state.PoolMax, Waiting: state.GateWaiting},
	}
	answers := answersOf(reads)
	s.Hits, s.Misses, s.Bypasses = answers.Of(telemetry.StatusHit), answers.Of(telemetry.StatusMiss), answers.Of(telemetry.StatusBypass)
	if ratio, known := answers.HitRatio(); known {
		s.HitRatio = &ratio
	}
	if reads.Requests > 0 {
		s.P50, s.P99 = millis(reads.P50), millis(reads.P99)
	}
	if state.WatermarkAge >= 0 {
		seconds := state.WatermarkAge.Seconds()
		s.WatermarkAge = &seconds
	}
	s.CommitToCleared = w.spread()
	return s
}

func millis(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// spread sums up what was seen in the last minute.
func (w *watcher) spread() *LiveSpread {
	oldest := time.Now().Add(-liveMemory)
	w.kept = slices.DeleteFunc(w.kept, func(c clearedIn) bool { return c.at.Before(oldest) })
	if len(w.kept) == 0 {
		return nil
	}
	all := make([]float64, len(w.kept))
	for i, c := range w.kept {
		all[i] = c.ms
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1)+0.5)] }
	return &LiveSpread{N: len(all), P50: at(0.5), P99: at(0.99), Max: all[len(all)-1]}
}

// lag is how far each hop is behind, as the background checks have seen it.
func (w *watcher) lag(ctx context.Context) LiveLag {
	var lag LiveLag
	if slot, ok := w.hub.api.monitor.Result(health.CheckSlot).Details.(health.Slot); ok {
		lag.Slot, lag.CDCActive = &slot.UnconfirmedBytes, &slot.Active
	}
	ctx, cancel := context.WithTimeout(ctx, telemetry.StateTimeout)
	defer cancel()
	statuses, err := w.hub.api.cfg.Store.Statuses(ctx)
	if err != nil {
		return lag
	}
	for _, status := range statuses { // of several the one that has come furthest is what readers see
		if status.Log != nil && (lag.Messages == nil || status.Log.LagMessages < *lag.Messages) {
			lag.Messages, lag.Seconds = &status.Log.LagMessages, &status.Log.LagSeconds
		}
	}
	return lag
}

// LiveQuery is a query that was read in the last minute.
type LiveQuery struct {
	Name     string   `json:"name"`
	Reads    uint64   `json:"reads"`
	HitRatio *float64 `json:"hit_ratio"`
	P50      *float64 `json:"p50_ms"`
	P99      *float64 `json:"p99_ms"`
}

// topQueries are the queries that were read most often.
func (a *API) topQueries() []LiveQuery {
	top := []LiveQuery{} // not nil: in JSON it is a list, also when it is empty
	for _, q := range a.Stats(liveMemory).Queries {
		if !q.Reads || q.Requests == 0 {
			continue
		}
		one := LiveQuery{Name: q.Name, Reads: q.Requests, P50: millis(q.P50), P99: millis(q.P99)}
		if ratio, known := q.Answers.HitRatio(); known {
			one.HitRatio = &ratio
		}
		top = append(top, one)
	}
	slices.SortStableFunc(top, func(x, y LiveQuery) int { return cmp.Compare(y.Reads, x.Reads) })
	return top[:min(len(top), liveTop)]
}
