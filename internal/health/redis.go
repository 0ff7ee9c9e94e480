package health

import (
	"context"
	"time"

	"freshet/cache"
)

// Redis asks Redis for one field of the cache.
func Redis(store *cache.Redis) Check {
	return Check{Name: CheckRedis, Look: func(ctx context.Context) (any, error) {
		_, err := store.Catalog(ctx)
		return nil, err
	}}
}

// Watermark is what the check of the watermark shows.
type Watermark struct {
	Source   string `json:"source"`
	Position string `json:"position"`
	Timeline uint32 `json:"timeline"`
	// At is the time, by the clock of Postgres, that the cache is true of; AgeMS how long ago that was when it was looked at.
	At       time.Time `json:"at,omitzero"`
	AgeMS    float64   `json:"age_ms"`
	Sequence uint64    `json:"sequence"`
	// ActiveShapes is how many shapes may be cached under.
	ActiveShapes int `json:"active_shapes"`
	// State is all of it.
	State cache.State `json:"-"`
}

var (
	errNoWatermark = &PublicError{Text: "no watermark: is the invalidator running?"}
	errOld         = &PublicError{Text: "the watermark is too old: are cdc and the invalidator running?"}
)

// WatermarkOf looks at the cache's watermark, whose age fails the check if it is above maxAge. now is the time by the clock of Postgres.
func WatermarkOf(store *cache.Redis, now func() time.Time, maxAge time.Duration) Check {
	return Check{Name: CheckWatermark, Look: func(ctx context.Context) (any, error) {
		state, found, err := store.Peek(ctx)
		switch {
		case err != nil:
			return nil, &PublicError{Text: "no answer from Redis: reads go to Postgres", Err: err}
		case !found:
			return nil, errNoWatermark
		}
		w := Watermark{
			Source: state.Source, Position: state.Position.String(), Timeline: state.Timeline, At: state.At.UTC(),
			Sequence: state.Sequence, ActiveShapes: len(state.Generations), State: state,
		}
		if _, catalog := state.Generations[cache.CatalogShape.String()]; catalog {
			w.ActiveShapes-- // of no table
		}
		if state.At.IsZero() {
			return w, errOld
		}
		age := now().Sub(state.At)
		w.AgeMS = milliseconds(age)
		if age > maxAge {
			return w, errOld
		}
		return w, nil
	}}
}
