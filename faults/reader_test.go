package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
)

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

// target is what somebody reads: rows of one owner, and the groups that they are in.
type target struct {
	groups []place
	ids    []int64
}

// target picks a group, or a pair of them.
func (l *load) target(random *rand.Rand) target {
	if random.IntN(4) == 0 {
		p := pick(random, l.pairs)
		return target{p.groups[:], p.ids}
	}
	group := place(random.IntN(groupCount))
	return target{[]place{group}, l.members[group]}
}

// one is the question for one row.
func (t target) one(random *rand.Rand, query string) []question {
	return []question{{query: query, id: pick(random, t.ids)}}
}

// list is the question for all rows of a group.
func (t target) list(random *rand.Rand) []question {
	return []question{{query: groupList, group: pick(random, t.groups)}}
}

// all are the questions for each row, and where rows move for both groups: each row has to be in one of them, or nowhere.
func (t target) all() []question {
	var all []question
	for _, id := range t.ids {
		all = append(all, question{query: plain, id: id})
	}
	if len(t.groups) > 1 {
		for _, group := range t.groups {
			all = append(all, question{query: groupList, group: group})
		}
	}
	return all
}

func (r *reader) step(ctx context.Context) error {
	t := r.target(r.random)
	q := &ask{questions: t.one(r.random, plain)}
	switch n := r.random.IntN(21); n {
	case 0, 1, 2, 3: // as it comes
	case 4, 5, 6, 7:
		q.linearizable(linearizable)
	case 8, 9:
		q.youngerThan(1 + r.random.IntN(3))
	case 10:
		return r.notCached(ctx, q)
	case 11:
		return r.onlyIfCached(ctx, q)
	case 12:
		return r.notModified(ctx, q)
	case 13:
		q.questions = t.one(r.random, slow)
		r.mayInsist(q)
	case 14:
		q.questions = t.one(r.random, tolerant)
		r.mayInsist(q)
	case 15, 16, 17:
		q.questions = t.list(r.random)
		r.mayInsist(q)
	default:
		q.questions = t.all()
		r.mayInsist(q)
	}
	_, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	return err
}

// mayInsist has half of the readers ask for more than the query's policy gives.
func (r *reader) mayInsist(q *ask) {
	switch r.random.IntN(6) {
	case 0, 1:
		q.linearizable(linearizable)
	case 2:
		q.youngerThan(1 + r.random.IntN(3))
	}
}

// notCached must not be answered by the cache, nor where max-age=0 asks for an answer of this moment.
func (r *reader) notCached(ctx context.Context, q *ask) error {
	if r.random.IntN(3) == 0 {
		q.linearizable("Cache-Control: max-age=0")
		_, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
		return err
	}
	q.linearizable("Cache-Control: no-store")
	a, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	if err == nil && a.cacheStatus() != "freshet; fwd=bypass; detail=no-store" {
		return &staleError{what: q.String() + " was answered with " + a.cacheStatus()}
	}
	return err
}

// onlyIfCached takes 504 for an answer.
func (r *reader) onlyIfCached(ctx context.Context, q *ask) error {
	q.says("Cache-Control: only-if-cached")
	a, _, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	if a != nil && a.status == http.StatusGatewayTimeout {
		return nil
	}
	if err == nil && !a.hit() {
		return &staleError{what: q.String() + " was answered by Postgres: " + a.cacheStatus()}
	}
	return err
}

// notModified says which answer it has already. A 304 must be given only where the full answer would be.
func (r *reader) notModified(ctx context.Context, q *ask) error {
	id := q.questions[0].id
	if known, found := r.known[id]; found {
		q.known = &known
		q.says("If-None-Match: " + known.etag)
	}
	a, sights, err := r.read(ctx, r.id, pick(r.random, *r.urls.Load()), q)
	switch {
	case err != nil || a.status == http.StatusNotModified:
		return err
	case a.status == http.StatusNotFound:
		delete(r.known, id)
		return nil
	case a.header.Get("ETag") == "":
		return errors.New(q.String() + ": no header ETag")
	}
	r.known[id] = remembered{a.header.Get("ETag"), sights[0].version}
	return nil
}

// session is a user: it writes its own rows by HTTP, reads any, and sends along the position that the last answer had.
type session struct {
	*load
	id     int
	random *rand.Rand
	group  place // its own
	next   map[int64]int64
	seen   map[int64]int64
	mark   string
}

func (s *session) step(ctx context.Context) error {
	url := pick(s.random, *s.urls.Load()) // each request may reach another process
	if s.random.IntN(8) == 0 {
		return s.write(ctx, url)
	}
	q := &ask{least: s.still()}
	if s.mark != "" {
		q.says(positionTitle + ": " + s.mark)
	}
	t, own := s.target(s.random), target{[]place{s.group}, s.members[s.group]}
	switch s.random.IntN(8) {
	case 0, 1, 2:
		q.questions = own.one(s.random, plain)
	case 3, 4:
		q.questions = t.one(s.random, plain)
	case 5:
		q.questions = t.list(s.random)
	default:
		q.questions = t.all()
	}
	a, sights, err := s.read(ctx, s.id, url, q)
	if err != nil {
		return err
	}
	s.saw(a, sights)
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
func (s *session) saw(a *answer, sights []sight) {
	for _, one := range sights {
		if !s.history.wasLost(one.id, one.found) {
			s.seen[one.id] = max(s.seen[one.id], one.found)
		}
	}
	if mark := a.header.Get(positionTitle); mark != "" {
		s.mark = mark
	}
}

func (s *session) write(ctx context.Context, url string) error {
	id := pick(s.random, s.members[s.group])
	s.next[id]++
	version := s.next[id]
	tx := s.history.begin(map[int64]state{id: {version, s.group}})
	a, err := put(ctx, s.client, url, id, version)
	if err != nil {
		return err // unknown
	}
	s.history.end(tx, committed)
	s.counts.writes.Add(1)
	s.saw(a, []sight{{id: id, found: version}})
	return nil
}

// put writes a row through the api.
func put(ctx context.Context, c *client, url string, id, version int64) (*answer, error) {
	a, err := c.do(ctx, http.MethodPut, fmt.Sprintf("%s/registers/%d", url, id), fmt.Appendf(nil, `{"value":%d}`, version))
	if err != nil {
		return nil, err
	}
	shown, err := a.results([]question{{query: plain, id: id}})
	if err != nil || a.status != http.StatusOK || shown[0][0].Value != version {
		return nil, fmt.Errorf("the write of version %d of row %d was answered with status %d: %s (%w)", version, id, a.status, a.body, err)
	}
	return a, nil
}
