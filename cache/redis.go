package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is the store of a cache in one Redis server (or Valkey). Its keys begin with the prefix:
//
//	freshet:watermark            the State
//	freshet:public.blogs:id=42   a bucket: field "token", and an entry a field
//
// Any key may vanish at any time (eviction, FLUSHALL, an operator's DEL): that costs only misses (rule 3). All keys must be on
// one server: the watermark vouches for the buckets that were cleared in the same step.
type Redis struct {
	client redis.UniversalClient
	prefix string
}

// DefaultPrefix begins every key.
const DefaultPrefix = "freshet:"

const fieldToken = "token"

var fieldCatalog = fieldShape + CatalogShape.String()

// maxEntries bounds the entries of a bucket: then it starts afresh.
const maxEntries = 1000

// NewRedis uses client, which stays the caller's. The prefix must end with a colon.
func NewRedis(client redis.UniversalClient, prefix string) *Redis {
	return &Redis{client: client, prefix: prefix}
}

// Bucket is the key of a tag.
func (r *Redis) Bucket(t Tag) string { return r.prefix + t.Name }

func (r *Redis) watermark() string { return r.prefix + "watermark" }

// look is what one round trip tells about an entry.
type look struct {
	found    bool // there is a watermark
	source   string
	sequence uint64
	mark     Mark
	at       time.Time
	// catalog is the generation of CatalogShape; "" if there is none.
	catalog string
	// bound is the chain, the random values of the generations and the tokens as they are now; "" where there is none, and for a
	// shape of which changes are not matched by all the columns that the request reads.
	bound []string
	entry []byte // nil if there is none
}

// active tells whether every shape is active.
func (l *look) active(tags int) bool {
	if slices.Contains(l.bound[1:1+tags], "") {
		return false
	}
	return l.found
}

// lookup reads the watermark and then the buckets, in one round trip. The order matters: a bucket that is still there after
// the watermark was read has not been cleared by anything at or below that watermark (cache/model: watermarkFirst).
func (r *Redis) lookup(ctx context.Context, tags []Tag, field string) (*look, error) {
	pipe := r.client.Pipeline()
	read := r.queueLookup(ctx, pipe, tags, field)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look up in Redis: %w", err)
	}
	return read()
}

// open reads the tokens, making those that are missing. Rule 2: this happens before the snapshot of the fill is taken.
func (r *Redis) open(ctx context.Context, tags []Tag, field string, expiry time.Duration) (*look, error) {
	pipe := r.client.Pipeline()
	for _, t := range tags {
		pipe.HSetNX(ctx, r.Bucket(t), fieldToken, NewToken())
		pipe.PExpire(ctx, r.Bucket(t), expiry)
	}
	read := r.queueLookup(ctx, pipe, tags, field)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("open buckets in Redis: %w", err)
	}
	return read()
}

// lookupAll is lookup, or open, of several entries. What it reads, it reads in one step: all of it is of one moment.
func (r *Redis) lookupAll(ctx context.Context, reqs []Request, open bool, expiry time.Duration) ([]*look, error) {
	pipe := r.client.TxPipeline()
	reads := make([]func() (*look, error), len(reqs))
	for i, req := range reqs {
		if open {
			for _, t := range req.Tags {
				pipe.HSetNX(ctx, r.Bucket(t), fieldToken, NewToken())
				pipe.PExpire(ctx, r.Bucket(t), expiry)
			}
		}
		reads[i] = r.queueLookup(ctx, pipe, req.Tags, req.Field)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look up in Redis: %w", err)
	}
	looks := make([]*look, len(reqs))
	for i, read := range reads {
		var err error
		if looks[i], err = read(); err != nil {
			return nil, err
		}
	}
	return looks, nil
}

func (r *Redis) queueLookup(ctx context.Context, pipe redis.Pipeliner, tags []Tag, field string) func() (*look, error) {
	fields := append(make([]string, 0, 7+len(tags)), fieldChain, fieldSequence, fieldTimeline, fieldPosition, fieldAt, fieldSource, fieldCatalog)
	for _, t := range tags {
		fields = append(fields, fieldShape+t.Shape.String())
	}
	mark := pipe.HMGet(ctx, r.watermark(), fields...)
	buckets := make([]*redis.SliceCmd, len(tags))
	for i, t := range tags {
		if i == 0 {
			buckets[i] = pipe.HMGet(ctx, r.Bucket(t), fieldToken, field)
		} else {
			buckets[i] = pipe.HMGet(ctx, r.Bucket(t), fieldToken)
		}
	}
	return func() (*look, error) { return readLook(tags, mark, buckets) }
}

func readLook(tags []Tag, mark *redis.SliceCmd, buckets []*redis.SliceCmd) (*look, error) {
	l := &look{bound: make([]string, 0, 1+2*len(buckets))}
	vals, err := mark.Result()
	if err != nil {
		return nil, fmt.Errorf("read the watermark: %w", err)
	}
	l.bound = append(l.bound, text(vals[0]))
	l.found = l.parseHead(text(vals[1]), text(vals[2]), text(vals[3]), text(vals[4])) && l.bound[0] != ""
	l.source, l.catalog = text(vals[5]), text(vals[6])
	for i, generation := range vals[7:] {
		token, reads := splitGeneration(text(generation))
		if !tags[i].Shape.covered(reads) {
			token = ""
		}
		l.bound = append(l.bound, token)
	}
	for i, cmd := range buckets {
		vals, err := cmd.Result()
		if err != nil {
			return nil, fmt.Errorf("read a bucket: %w", err)
		}
		l.bound = append(l.bound, text(vals[0]))
		if i == 0 && vals[1] != nil {
			l.entry = []byte(text(vals[1]))
		}
	}
	return l, nil
}

func (l *look) parseHead(sequence, timeline, position, at string) bool {
	var err error
	if l.sequence, err = strconv.ParseUint(sequence, 10, 64); err != nil {
		return false
	}
	if l.mark, err = parseMark(timeline, position); err != nil {
		return false
	}
	micros, err := strconv.ParseInt(at, 10, 64)
	l.at = timeOf(micros)
	return err == nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// put stores an entry. It needs no condition: if the bucket was cleared meanwhile, the entry's token is dead.
func (r *Redis) put(ctx context.Context, t Tag, field string, e *Entry, expiry time.Duration) error {
	pipe := r.client.Pipeline()
	pipe.HSet(ctx, r.Bucket(t), field, e.encode())
	pipe.PExpire(ctx, r.Bucket(t), expiry)
	size := pipe.HLen(ctx, r.Bucket(t))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("store in Redis: %w", err)
	}
	if size.Val() > maxEntries+1 {
		if err := r.client.Unlink(ctx, r.Bucket(t)).Err(); err != nil {
			return fmt.Errorf("start a full bucket afresh: %w", err)
		}
	}
	return nil
}

// Catalog reads the generation of CatalogShape; "" if there is none.
func (r *Redis) Catalog(ctx context.Context) (string, error) {
	generation, err := r.client.HGet(ctx, r.watermark(), fieldCatalog).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("read the catalog's generation: %w", err)
	}
	return generation, nil
}

// mark reads how far the log was applied; the zero Mark if there is no watermark.
func (r *Redis) mark(ctx context.Context) (Mark, error) {
	vals, err := r.client.HMGet(ctx, r.watermark(), fieldTimeline, fieldPosition).Result()
	if err != nil {
		return Mark{}, fmt.Errorf("read the watermark: %w", err)
	}
	if vals[1] == nil {
		return Mark{}, nil
	}
	return parseMark(text(vals[0]), text(vals[1]))
}

// Load reads the state. found is false if there is none: then everything must be cleared, and a new chain begun.
func (r *Redis) Load(ctx context.Context) (s State, found bool, err error) {
	fields, err := r.client.HGetAll(ctx, r.watermark()).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // overwritten by other hands: no hash, let alone a state
		fields, err = map[string]string{"": ""}, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("read the watermark: %w", err)
	}
	if s, found = parseState(fields); !found && len(fields) > 0 {
		// Mangled by other hands. Without a watermark nothing is served, and a new chain can begin. If somebody has begun one
		// since, it is lost: that costs only misses.
		if err := r.client.Unlink(ctx, r.watermark()).Err(); err != nil {
			return State{}, false, fmt.Errorf("drop a watermark that cannot be read: %w", err)
		}
	}
	return s, found, nil
}

// Batch is what Apply does in one step.
type Batch struct {
	// Clear are the tags whose buckets go.
	Clear []Tag
	// Next is the state afterwards. Its Generations are those that change; the others stay.
	Next State
	// Retire are shapes that are no longer active.
	Retire []string
}

//go:embed apply.lua
var applyLua string

var applyScript = redis.NewScript(applyLua)

// Apply clears buckets and advances the watermark in one atomic step, if the stored state still is last: rule 4. ok is false
// if it is not, and then nothing was done. The next state needs a new Stamp. cleared counts the buckets that were there.
func (r *Redis) Apply(ctx context.Context, last State, b Batch) (cleared int, ok bool, err error) {
	tables, ok, err := r.ApplyByTable(ctx, last, b)
	for _, n := range tables {
		cleared += n
	}
	return cleared, ok, err
}

// ApplyByTable is Apply that says of which tables, by schema and name, the cleared buckets were.
func (r *Redis) ApplyByTable(ctx context.Context, last State, b Batch) (cleared map[[2]string]int, ok bool, err error) {
	return r.apply(ctx, last, b, false)
}

// Begin starts a new chain, which clears everything: the whole state becomes next, if the stored one is last (the zero State:
// if there is none, or none that can be read).
func (r *Redis) Begin(ctx context.Context, last, next State) (ok bool, err error) {
	_, ok, err = r.apply(ctx, last, Batch{Next: next}, true)
	return ok, err
}

func (r *Redis) apply(ctx context.Context, last State, b Batch, begin bool) (map[[2]string]int, bool, error) {
	next := b.Next
	if next.Stamp == "" || next.Stamp == last.Stamp {
		return nil, false, errors.New("apply to Redis: each write needs a stamp of its own")
	}
	groups := map[[2]string][]string{}
	for _, t := range b.Clear {
		table := [2]string{t.Shape.Schema, t.Shape.Table}
		groups[table] = append(groups[table], r.Bucket(t))
	}
	keys := append(make([]string, 0, 1+len(b.Clear)), r.watermark())
	tables := make([][2]string, 0, len(groups))
	args := append(make([]any, 0, 20+len(groups)+2*len(next.Generations)+len(b.Retire)), last.Stamp, begin, len(groups))
	for table, buckets := range groups {
		keys, tables, args = append(keys, buckets...), append(tables, table), append(args, len(buckets))
	}
	args = append(args, len(b.Retire))
	for _, shape := range b.Retire {
		args = append(args, fieldShape+shape)
	}
	args = append(args, fieldStamp, next.Stamp, fieldSource, next.Source, fieldChain, next.Chain, fieldSession, next.Session,
		fieldSequence, strconv.FormatUint(next.Sequence, 10), fieldTimeline, strconv.FormatUint(uint64(next.Timeline), 10),
		fieldPosition, next.Position.String(), fieldAt, strconv.FormatInt(unixMicro(next.At), 10))
	for shape, generation := range next.Generations {
		args = append(args, fieldShape+shape, generation)
	}
	counts, err := applyScript.Run(ctx, r.client, keys, args...).Int64Slice()
	if err != nil {
		return nil, false, fmt.Errorf("apply to Redis: %w", err)
	}
	if len(counts) > 0 && counts[0] < 0 {
		return nil, false, nil
	}
	if len(counts) != len(tables) {
		return nil, false, fmt.Errorf("apply to Redis: counts of %d tables, expected %d", len(counts), len(tables))
	}
	cleared := make(map[[2]string]int, len(tables))
	for i, table := range tables {
		cleared[table] = int(counts[i])
	}
	return cleared, true, nil
}

// Sweep deletes the buckets whose names begin with tagPrefix ("" for all): memory that a new chain or generation has made
// useless. Deleting a bucket is always safe.
func (r *Redis) Sweep(ctx context.Context, tagPrefix string) (deleted int, err error) {
	scan := r.client.Scan(ctx, 0, r.prefix+globEscape(tagPrefix)+"*", 500).Iterator()
	keys := make([]string, 0, 500)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		n, err := r.client.Unlink(ctx, keys...).Result()
		deleted += int(n)
		keys = keys[:0]
		return err
	}
	for scan.Next(ctx) {
		if key := scan.Val(); key != r.watermark() {
			keys = append(keys, key)
		}
		if len(keys) == cap(keys) {
			if err := flush(); err != nil {
				return deleted, fmt.Errorf("sweep Redis: %w", err)
			}
		}
	}
	if err := errors.Join(scan.Err(), flush()); err != nil {
		return deleted, fmt.Errorf("sweep Redis: %w", err)
	}
	return deleted, nil
}

// globEscape quotes what Redis's patterns treat specially (stringmatchlen in Redis's src/util.c).
func globEscape(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch s[i] {
		case '*', '?', '[', ']', '\\':
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(out)
}
