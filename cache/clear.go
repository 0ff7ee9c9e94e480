package cache

import (
	"context"
	"fmt"
	"strings"
)

// What an operator clears is cleared as a change clears it (rule 3): buckets are deleted, with their tokens. A fill that is under way
// then lands under a dead token, whatever it saw. Nothing else is touched: not the watermark, which says what was applied to this
// server, and no key that is not a bucket's.
//
// A bucket that is opened while a search goes on may be found or not. If it is not, whatever is in it was filled after the clearing
// began: SCAN returns every key that is there from its beginning to its end.

// ClearAll deletes every bucket, and returns how many there were.
func (r *Redis) ClearAll(ctx context.Context) (cleared int, err error) {
	return r.clear(ctx, "*", isBucket)
}

// ClearTable deletes the buckets of a table.
func (r *Redis) ClearTable(ctx context.Context, schema, table string) (cleared int, err error) {
	return r.clear(ctx, globEscape(NewShape(schema, table).Tag().Name)+"*", isBucket)
}

// ClearShapes deletes the buckets of shapes.
func (r *Redis) ClearShapes(ctx context.Context, shapes ...Shape) (cleared int, err error) {
	for _, s := range shapes {
		glob := globEscape(string(s.appendTable(nil)) + ":")
		if len(s.Columns) > 0 {
			glob += globEscape(escape(s.Columns[0])+"=") + "*"
		}
		n, err := r.clear(ctx, glob, s.names)
		if cleared += n; err != nil {
			return cleared, err
		}
	}
	return cleared, nil
}

// ClearTag deletes the bucket of a tag, if it is there.
func (r *Redis) ClearTag(ctx context.Context, t Tag) (cleared int, err error) {
	n, err := r.client.Unlink(ctx, r.Bucket(t)).Result()
	if err != nil {
		return 0, fmt.Errorf("clear a bucket in Redis: %w", err)
	}
	return int(n), nil
}

// ClearMatching deletes the buckets of the tags whose names match a pattern of Redis: * for any text, ? for a character, [ab] for one
// of several. Names are those of keys, with special characters as %XX, so that a pattern never means a character of a value.
func (r *Redis) ClearMatching(ctx context.Context, pattern string) (cleared int, err error) {
	return r.clear(ctx, pattern, isBucket)
}

// clearBatch is how many keys one command deletes, and how many the server looks at in one step of a search.
const clearBatch = 500

// clear deletes the keys behind the prefix that match and are to go.
func (r *Redis) clear(ctx context.Context, glob string, goes func(tag string) bool) (cleared int, err error) {
	var cursor uint64
	for {
		keys, next, err := r.client.Scan(ctx, cursor, globEscape(r.prefix)+glob, clearBatch).Result()
		if err != nil {
			return cleared, fmt.Errorf("find buckets in Redis: %w", err)
		}
		buckets := keys[:0]
		for _, key := range keys {
			if goes(strings.TrimPrefix(key, r.prefix)) {
				buckets = append(buckets, key)
			}
		}
		if len(buckets) > 0 {
			n, err := r.client.Unlink(ctx, buckets...).Result()
			if cleared += int(n); err != nil {
				return cleared, fmt.Errorf("clear buckets in Redis: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return cleared, nil
		}
	}
}

// isBucket tells a tag's name from whatever else has our prefix: it begins with a table and its schema, which are separated by the only
// dot before the colon.
func isBucket(name string) bool {
	table, _, ok := strings.Cut(name, ":")
	return ok && strings.Count(table, ".") == 1
}

// names tells whether a tag of the shape has that name.
func (s Shape) names(tag string) bool {
	table, values, _ := strings.Cut(tag, ":")
	if table != string(s.appendTable(nil)) {
		return false
	}
	if len(s.Columns) == 0 {
		return values == ""
	}
	pins := strings.Split(values, "&")
	if len(pins) != len(s.Columns) {
		return false
	}
	for i, pin := range pins {
		if column, _, ok := strings.Cut(pin, "="); !ok || column != escape(s.Columns[i]) {
			return false
		}
	}
	return true
}
