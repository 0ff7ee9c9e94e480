package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	groupSize     = 10 // rows of a group
	writerCount   = 2  // writers by SQL
	writerGroups  = 4  // groups that each of them owns
	sessionCount  = 4  // sessions: each owns a group, and writes it by HTTP
	readerCount   = 10
	groupCount    = writerCount*writerGroups + sessionCount
	maxStaleness  = time.Second      // of the api's processes
	staleIfError  = 20 * time.Second // of the query "tolerant"
	afterFailure  = 5 * time.Millisecond
	linearizable  = "Cache-Control: no-cache"
	positionTitle = "Freshet-Position"
)

// counts are what happened during one fault.
type counts struct {
	reads, hits, misses, bypassed, stale, writes, failed atomic.Int64
	// outOfDate are the reads that went to Postgres because the watermark was too old.
	outOfDate atomic.Int64
	// lastFailure is one of the failures, for the message should there be none.
	lastFailure atomic.Pointer[failedError]
}

// load is everybody who reads and writes.
type load struct {
	*client
	all      []string                 // of the api's processes
	urls     atomic.Pointer[[]string] // those that are asked, as a load balancer would have it
	database func(ctx context.Context) (conn, error)
	counts   *counts
	pace     time.Duration // of each writer by SQL

	readers  []*reader
	sessions []*session
	writers  []*writer
}

// groupIDs are the rows of a group.
func groupIDs(group int) []int64 {
	ids := make([]int64, groupSize)
	for i := range ids {
		ids[i] = int64(group*groupSize + i + 1)
	}
	return ids
}

func newLoad(urls []string, database func(ctx context.Context) (conn, error), seed uint64) *load {
	var ids []int64
	for group := range groupCount {
		ids = append(ids, groupIDs(group)...)
	}
	l := &load{
		client: newClient(newHistory(ids), readerCount+sessionCount), all: urls, database: database, counts: &counts{}, pace: 6 * time.Millisecond,
	}
	l.urls.Store(&urls)
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	for i := range readerCount {
		l.readers = append(l.readers, &reader{load: l, id: i, random: random(uint64(i)), known: map[int64]remembered{}})
	}
	for i := range sessionCount {
		l.sessions = append(l.sessions, &session{
			load: l, id: readerCount + i, random: random(uint64(100 + i)), owns: groupIDs(writerCount*writerGroups + i), seen: map[int64]int64{},
			next: map[int64]int64{},
		})
	}
	for i := range writerCount {
		w := &writer{load: l, random: random(uint64(200 + i)), next: map[int64]int64{}}
		for g := range writerGroups {
			w.groups = append(w.groups, i*writerGroups+g)
		}
		l.writers = append(l.writers, w)
	}
	return l
}

// run lets everybody work until ctx ends, or a promise is broken.
func (l *load) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range l.readers {
		g.Go(func() error { return l.loop(ctx, r.step) })
	}
	for _, s := range l.sessions {
		g.Go(func() error { return l.loop(ctx, s.step) })
	}
	for _, w := range l.writers {
		g.Go(func() error { return w.run(ctx) })
	}
	return g.Wait()
}

// loop repeats a step. What has begun is finished: an answer that nobody waited for would be an operation of unknown end.
func (l *load) loop(ctx context.Context, step func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		err := step(context.WithoutCancel(ctx))
		if failed, ok := errors.AsType[*failedError](err); ok {
			l.counts.failed.Add(1)
			l.counts.lastFailure.Store(failed)
			pause(ctx, afterFailure)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// pause lets some time pass.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// count notes how a read was answered; rows is how many results it had.
func (l *load) count(a *answer, rows int) {
	n := int64(rows)
	l.counts.reads.Add(n)
	switch {
	case a.stale():
		l.counts.stale.Add(n)
	case a.hit():
		l.counts.hits.Add(n)
	case strings.Contains(a.cacheStatus(), "fwd=bypass"):
		l.counts.bypassed.Add(n)
		if strings.HasSuffix(a.cacheStatus(), "watermark-stale") {
			l.counts.outOfDate.Add(1)
		}
	default:
		l.counts.misses.Add(n)
	}
}

// ask is one read, and what it asks for.
type ask struct {
	method, path string
	body         []byte
	headers      []string
	demand       demand
	// least gives the version of each row that has to be seen; nil for none.
	least map[int64]int64
	group bool // the rows are all those of a group
}

// read makes a read and judges what it shows.
func (l *load) read(ctx context.Context, client int, url string, q ask) (*answer, []row, error) {
	a, err := l.do(ctx, q.method, url+q.path, q.body, q.headers...)
	if err != nil {
		return a, nil, err
	}
	if a.status == http.StatusNotModified {
		l.count(a, 1)
		return a, nil, nil
	}
	if a.status != http.StatusOK {
		return a, nil, &staleError{what: fmt.Sprintf("%s: status %d (%s), and the row was never gone", q.path, a.status, a.cacheStatus())}
	}
	rows, err := a.rows()
	if err != nil {
		return a, nil, err
	}
	l.count(a, len(rows))
	return a, rows, l.judgeAll(client, a, rows, q)
}

// judgeAll judges each row, and that they are of one moment.
func (l *load) judgeAll(client int, a *answer, rows []row, q ask) error {
	d, err := promised(a, q.demand)
	if err != nil {
		return err
	}
	how := q.path + " " + strings.Join(q.headers, ", ") + ": " + a.cacheStatus()
	for _, r := range rows {
		d.least = q.least[r.ID]
		if err := l.history.judge(r.ID, r.Value, d, observation{client: client, began: a.began, ended: a.ended, how: how}); err != nil {
			return err
		}
		if r.Epoch != rows[0].Epoch && q.group {
			return &staleError{what: fmt.Sprintf("%s showed rows of different transactions: %v", how, rows)}
		}
	}
	if q.group && len(rows) != groupSize {
		return &staleError{what: fmt.Sprintf("%s showed %d rows of %d: %v", how, len(rows), groupSize, rows)}
	}
	return nil
}

// promised adds to what was asked for what the answer says of itself.
func promised(a *answer, d demand) (demand, error) {
	age, err := a.age()
	if err != nil {
		return d, err
	}
	if a.stale() {
		d.within = maxStaleness + staleIfError
	}
	d.within = min(d.within, age)
	return d, nil
}

// reader reads in every way there is without a memory.
type reader struct {
	*load
	id     int
	random *rand.Rand
	known  map[int64]remembered
}

// remembered is an answer that the reader can be told not to have changed.
type remembered struct {
	etag  string
	value int64
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

func (r *reader) step(ctx context.Context) error {
	group := r.random.IntN(groupCount)
	id := pick(r.random, groupIDs(group))
	path := "/registers/" + strconv.FormatInt(id, 10)
	bounded, strict := demand{within: maxStaleness}, demand{linearizable: true, within: maxStaleness}
	q := ask{method: http.MethodGet, path: path, demand: bounded}
	switch n := r.random.IntN(20); n {
	case 0, 1, 2, 3, 4: // as it comes
	case 5, 6, 7, 8:
		q.headers, q.demand = []string{linearizable}, strict
	case 9:
		q.headers = []string{"Cache-Control: max-age=1"}
	case 10:
		q.headers, q.demand = []string{"Cache-Control: no-store"}, strict
	case 11:
		return r.onlyIfCached(ctx, q)
	case 12:
		return r.notModified(ctx, q, id)
	case 13:
		q.path = "/slow/" + strconv.FormatInt(id, 10)
		if r.random.IntN(2) == 0 {
			q.headers, q.demand = []string{linearizable}, strict
		}
	case 14:
		q.path = "/tolerant/" + strconv.FormatInt(id, 10)
	case 15, 16:
		q.path, q.group = "/groups/"+strconv.Itoa(group), true
		if r.random.IntN(2) == 0 {
			q.headers, q.demand = []string{linearizable}, strict
		}
	default:
		q.method, q.path, q.body, q.group = http.MethodPost, "/query", together(groupIDs(group)), true
		if n == 17 {
			q.headers, q.demand = []string{linearizable}, strict
		}
	}
	_, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	return err
}

// together is the body of a request for several rows at one position.
func together(ids []int64) []byte {
	var b strings.Builder
	b.WriteString(`{"queries":[`)
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"register","params":{"id":%d}}`, id)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// onlyIfCached takes 504 for an answer.
func (r *reader) onlyIfCached(ctx context.Context, q ask) error {
	q.headers = []string{"Cache-Control: only-if-cached"}
	a, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	if a != nil && a.status == http.StatusGatewayTimeout {
		return nil
	}
	if err == nil && !a.hit() {
		return &staleError{what: q.path + " with only-if-cached was answered by Postgres: " + a.cacheStatus()}
	}
	return err
}

// notModified says which answer it has already. A 304 must be given only where the full answer would be.
func (r *reader) notModified(ctx context.Context, q ask, id int64) error {
	known := r.known[id]
	if known.etag != "" {
		q.headers = []string{"If-None-Match: " + known.etag}
	}
	a, rows, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	if err != nil {
		return err
	}
	if a.status == http.StatusNotModified {
		return r.judgeAll(r.id, a, []row{{ID: id, Value: known.value}}, q)
	}
	r.known[id] = remembered{a.header.Get("ETag"), rows[0].Value}
	return nil
}

// session is a user: it writes its own rows by HTTP, reads any, and sends along the position that the last answer had.
type session struct {
	*load
	id     int
	random *rand.Rand
	owns   []int64
	next   map[int64]int64
	seen   map[int64]int64
	mark   string
}

func (s *session) step(ctx context.Context) error {
	url := pick(s.random, *s.urls.Load()) // each request may reach another process
	if s.random.IntN(8) == 0 {
		return s.write(ctx, url)
	}
	q := ask{method: http.MethodGet, demand: demand{within: maxStaleness}, least: s.still()}
	if s.mark != "" {
		q.headers = []string{positionTitle + ": " + s.mark}
	}
	group := s.random.IntN(groupCount)
	switch s.random.IntN(8) {
	case 0, 1, 2:
		q.path = "/registers/" + strconv.FormatInt(pick(s.random, s.owns), 10)
	case 3, 4:
		q.path = "/registers/" + strconv.FormatInt(pick(s.random, groupIDs(group)), 10)
	case 5:
		q.path, q.group = "/groups/"+strconv.Itoa(group), true
	default:
		q.method, q.path, q.body, q.group = http.MethodPost, "/query", together(groupIDs(group)), true
	}
	a, rows, err := s.read(ctx, s.id, url, q)
	if err != nil {
		return err
	}
	s.saw(a, rows)
	return nil
}

// still is what it has seen, less what the database has lost since.
func (s *session) still() map[int64]int64 {
	for id, version := range s.seen {
		if s.history.wasLost(id, version) {
			delete(s.seen, id)
		}
	}
	return s.seen
}

// saw remembers what it has seen, and the position of it.
func (s *session) saw(a *answer, rows []row) {
	for _, r := range rows {
		if !s.history.wasLost(r.ID, r.Value) {
			s.seen[r.ID] = max(s.seen[r.ID], r.Value)
		}
	}
	if mark := a.header.Get(positionTitle); mark != "" {
		s.mark = mark
	}
}

func (s *session) write(ctx context.Context, url string) error {
	id := pick(s.random, s.owns)
	s.next[id]++
	version := s.next[id]
	w := s.history.begin(id, version)
	a, err := s.do(ctx, http.MethodPut, fmt.Sprintf("%s/registers/%d", url, id), fmt.Appendf(nil, `{"value":%d}`, version))
	if err != nil {
		return err // unknown
	}
	rows, err := a.rows()
	if err != nil || a.status != http.StatusOK || rows[0].Value != version {
		return fmt.Errorf("the write of version %d of row %d was answered with status %d: %s (%w)", version, id, a.status, a.body, err)
	}
	s.history.end(id, w, committed)
	s.counts.writes.Add(1)
	s.saw(a, rows)
	return nil
}
