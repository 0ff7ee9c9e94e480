package cache

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Peek reads the state as Load does, and leaves everything as it is: what cannot be read is not found. It is for those who only look.
func (r *Redis) Peek(ctx context.Context) (s State, found bool, err error) {
	fields, err := r.client.HGetAll(ctx, r.watermark()).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // overwritten by other hands
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("read the watermark: %w", err)
	}
	s, found = parseState(fields)
	return s, found, nil
}

// ActiveIn tells whether entries may be cached under the shape in a cache of that state: changes of its table are matched there, by at
// least the columns that the shape reads (rule 5).
func (s Shape) ActiveIn(state State) bool {
	token, reads := splitGeneration(state.Generations[s.String()])
	return token != "" && s.covered(reads)
}
