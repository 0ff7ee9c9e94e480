package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// blockWrites is how many writes one side has before it is the other's turn.
	blockWrites = 50
	// writers is how many connections write: a commit that takes longer than the pace must not delay the next.
	writers = 4
	// clearPatience is how long a key may stay before the run is given up.
	clearPatience = 10 * time.Second
	// seededBlogs is how many blogs the example has.
	seededBlogs = 2000
)

// arm is one side of the comparison: writes to a table, and keys that must go.
type arm struct {
	name  string
	table string
	key   func(id int) string
	// fill makes the keys of these rows.
	fill    func(ctx context.Context, ids []int) error
	next    int
	latency []time.Duration // from the acknowledgement to the cleared key
	commit  []time.Duration // the write itself, as its client sees it
	early   int             // keys that were gone before the acknowledgement
}

// measureLatency measures the time from a commit's acknowledgement to the cleared key, in blocks that alternate between
// Freshet and the prototype.
func measureLatency(ctx context.Context, r *rig, o options, rep *report) error {
	if err := r.startOther("prototype"); err != nil {
		return err
	}
	gone, err := watchDeletes(ctx, r.redis.Addr())
	if err != nil {
		return err
	}
	defer gone.close()
	ours, bare := r.freshetArm(), r.prototypeArm()
	r.progress.beginf("waiting for the prototype")
	for _, a := range []*arm{ours, bare} {
		if err := warm(ctx, r, a, gone, o.rate); err != nil {
			return err
		}
	}
	total := max(2*blockWrites, int(o.duration.Seconds()*float64(o.rate)))
	r.progress.beginf("commit to cleared key: %d writes on each side at %d/s", total, o.rate)
	for done := 0; done < total; done += blockWrites {
		for _, a := range []*arm{ours, bare} {
			if err := a.block(ctx, r, gone, min(blockWrites, total-done), o.rate); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			r.progress.count(len(ours.latency)+len(bare.latency), 2*total)
		}
	}
	reportLatency(rep, ours, bare, o.rate)
	return r.stopOthers()
}

func reportLatency(rep *report, ours, bare *arm, rate int) {
	for _, q := range []struct {
		name string
		of   float64
		goal float64 // ms
	}{{"median", 0.5, 1}, {"p90", 0.9, 0}, {"p99", 0.99, 3}, {"max", 1, 0}} {
		f := rep.add("commit -> key gone, "+q.name, "ms", ms(quantile(ours.latency, q.of)), bare.name, ms(quantile(bare.latency, q.of)))
		if q.goal > 0 {
			f.atMost(q.goal)
		}
	}
	rep.add("the UPDATE itself, median", "ms", ms(quantile(ours.commit, 0.5)), "the prototype's table", ms(quantile(bare.commit, 0.5)))
	rep.notef("commit -> key gone: %d writes on each side at %d/s in turns of %d, from the acknowledgement of COMMIT to the arrival of Redis's "+
		"notification; %d and %d keys were gone before the acknowledgement and count as 0.",
		len(ours.latency), rate, blockWrites, ours.early, bare.early)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the smallest value that at least that share of them does not exceed.
func quantile(all []time.Duration, of float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	at := int(of*float64(len(sorted)) + 0.999999)
	return sorted[min(max(at, 1), len(sorted))-1]
}

// freshetArm fills by reads through the api: the bucket of blogs(id) with the answer in it.
func (r *rig) freshetArm() *arm {
	return &arm{
		name: "Freshet", table: "blogs",
		key: func(id int) string { return "freshet:public.blogs:id=" + strconv.Itoa(id) },
		fill: func(ctx context.Context, ids []int) error {
			paths := make([]string, len(ids))
			for i, id := range ids {
				paths[i] = "/blogs/" + strconv.Itoa(id)
			}
			_, err := getAll(ctx, r.apiAddr, paths)
			return err
		},
	}
}

// prototypeArm fills keys of the same form and about the same size.
func (r *rig) prototypeArm() *arm {
	key := func(id int) string { return prototypeKey + strconv.Itoa(id) }
	body := make([]byte, 2048)
	return &arm{
		name: "bare prototype", table: prototypeTable, key: key,
		fill: func(ctx context.Context, ids []int) error {
			pipe := r.client.Pipeline()
			for _, id := range ids {
				pipe.HSet(ctx, key(id), "token", "abcdefghijklmnop", "entry", body)
			}
			_, err := pipe.Exec(ctx)
			return err
		},
	}
}

// warm writes until a key of the arm goes: everything behind it runs, and has prepared its statements.
func warm(ctx context.Context, r *rig, a *arm, gone *deletes, rate int) error {
	ctx, cancel := context.WithTimeout(ctx, 3*clearPatience)
	defer cancel()
	for {
		if err := a.fill(ctx, []int{1}); err != nil {
			return err
		}
		watch := gone.expect([]string{a.key(1)})
		if _, err := a.write(ctx, r, 1); err != nil {
			return err
		}
		select {
		case <-watch.done:
			// One block that does not count: every connection has prepared its statement then.
			err := a.block(ctx, r, gone, blockWrites, rate)
			a.latency, a.commit, a.early = nil, nil, 0
			return err
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s clears nothing: %w", a.name, context.Cause(ctx))
		}
	}
}

// block fills keys, writes their rows at the rate and waits until all the keys are gone.
func (a *arm) block(ctx context.Context, r *rig, gone *deletes, n, rate int) error {
	ids, keys := make([]int, n), make([]string, n)
	for i := range ids {
		a.next++
		ids[i] = 1 + a.next%seededBlogs
		keys[i] = a.key(ids[i])
	}
	if err := a.fill(ctx, ids); err != nil {
		return err
	}
	switch there, err := r.client.Exists(ctx, keys...).Result(); {
	case err != nil:
		return err
	case int(there) != n:
		return fmt.Errorf("only %d of %d keys were filled", there, n)
	}
	watch := gone.expect(keys)
	acked := make([]time.Time, n)
	took := make([]time.Duration, n)
	g, wctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	began := time.Now()
	for i, id := range ids {
		if err := sleepUntil(wctx, began.Add(time.Duration(i)*time.Second/time.Duration(rate))); err != nil {
			break // g.Wait says why
		}
		g.Go(func() (err error) {
			sent := time.Now()
			acked[i], err = a.write(wctx, r, id)
			took[i] = acked[i].Sub(sent)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	cleared, err := watch.wait(ctx)
	if err != nil {
		return err
	}
	a.record(keys, acked, took, cleared)
	return nil
}

func (a *arm) record(keys []string, acked []time.Time, took []time.Duration, cleared map[string]time.Time) {
	for i, key := range keys {
		d := cleared[key].Sub(acked[i])
		if d < 0 {
			a.early++
			d = 0
		}
		a.latency = append(a.latency, d)
		a.commit = append(a.commit, took[i])
	}
}

// write commits one update and returns the time of its acknowledgement.
func (a *arm) write(ctx context.Context, r *rig, id int) (time.Time, error) {
	tag, err := r.pool.Exec(ctx, "UPDATE "+a.table+" SET views = views + 1, updated_at = now() WHERE id = $1", id)
	acked := time.Now()
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("%s has no row %d", a.table, id)
	}
	return acked, err
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deletes notes when keys are deleted. Redis tells it (keyspace notifications): nothing is polled, and the only cost is one
// message a key. What is noted is the arrival of the message, one hop after the deletion.
type deletes struct {
	pubsub *redis.PubSub
	client *redis.Client
	ended  chan struct{}

	mu    sync.Mutex
	watch *watch
}

// watch is a set of keys that are expected to go.
type watch struct {
	mu      sync.Mutex
	waiting map[string]bool
	cleared map[string]time.Time
	done    chan struct{} // closed when all are gone
}

// deletedChannel is where Redis says which keys of database 0 were deleted.
const deletedChannel = "__keyevent@0__:del"

func watchDeletes(ctx context.Context, addr string) (*deletes, error) {
	d := &deletes{client: redis.NewClient(&redis.Options{Addr: addr}), ended: make(chan struct{})}
	d.pubsub = d.client.Subscribe(ctx, deletedChannel)
	if _, err := d.pubsub.Receive(ctx); err != nil {
		return nil, fmt.Errorf("subscribe to Redis's notifications: %w", err)
	}
	go func() { // ends with close
		defer close(d.ended)
		for {
			m, err := d.pubsub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			d.deleted(m.Payload, time.Now())
		}
	}()
	return d, nil
}

func (d *deletes) close() {
	_ = d.pubsub.Close() // the connection's goroutine ends by it
	<-d.ended
	_ = d.client.Close()
}

// expect begins to wait for keys, instead of those before.
func (d *deletes) expect(keys []string) *watch {
	w := &watch{waiting: map[string]bool{}, cleared: map[string]time.Time{}, done: make(chan struct{})}
	for _, key := range keys {
		w.waiting[key] = true
	}
	d.mu.Lock()
	d.watch = w
	d.mu.Unlock()
	return w
}

func (d *deletes) deleted(key string, at time.Time) {
	d.mu.Lock()
	w := d.watch
	d.mu.Unlock()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting[key] {
		return
	}
	delete(w.waiting, key)
	w.cleared[key] = at
	if len(w.waiting) == 0 {
		close(w.done)
	}
}

// wait returns when each key went.
func (w *watch) wait(ctx context.Context) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, clearPatience)
	defer cancel()
	select {
	case <-w.done:
		return w.cleared, nil
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		return nil, fmt.Errorf("%d keys are still there after %s: %w", len(w.waiting), clearPatience, context.Cause(ctx))
	}
}
