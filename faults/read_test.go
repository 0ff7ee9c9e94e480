package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of the queries, and by how much their answers may be behind: a query's own max_staleness, or that of the api's processes.
const (
	plain        = "register"
	slow         = "slow"     // its answer lands late
	tolerant     = "tolerant" // it may be answered out of date while Postgres is down
	groupList    = "group_list"
	patientBound = 4 * time.Second  // of plain
	maxStaleness = time.Second      // of the others
	staleIfError = 20 * time.Second // of tolerant
	togetherPath = "/query"
)

var paths = map[string]string{plain: "/registers/", slow: "/slow/", tolerant: "/tolerant/", groupList: "/groups/"}

// question is one query with its parameter.
type question struct {
	query string
	id    int64
	group place // for group_list
}

func (q question) path() string {
	if q.query == groupList {
		return paths[q.query] + strconv.Itoa(int(q.group))
	}
	return paths[q.query] + strconv.FormatInt(q.id, 10)
}

func (q question) bound() time.Duration {
	if q.query == plain {
		return patientBound
	}
	return maxStaleness
}

// ask is one request for one or more answers, and what it asks for. More than one are those of one moment.
type ask struct {
	questions []question
	headers   []string
	strict    bool // it asks for a linearizable answer
	maxAge    time.Duration
	// least gives the version of each row that has to be seen; nil for none.
	least map[int64]int64
	known *remembered // of If-None-Match
}

// says adds a header.
func (q *ask) says(header string) { q.headers = append(q.headers, header) }

// linearizable asks for an answer that reflects whatever was acknowledged before.
func (q *ask) linearizable(header string) {
	q.strict = true
	q.says(header)
}

// youngerThan asks for an answer that is at most so many seconds behind.
func (q *ask) youngerThan(seconds int) {
	q.maxAge = time.Duration(seconds) * time.Second
	q.says("Cache-Control: max-age=" + strconv.Itoa(seconds))
}

// send sends the request.
func (q *ask) send(ctx context.Context, c *client, url string) (*answer, error) {
	if len(q.questions) == 1 {
		return c.do(ctx, http.MethodGet, url+q.questions[0].path(), nil, q.headers...)
	}
	return c.do(ctx, http.MethodPost, url+togetherPath, together(q.questions), q.headers...)
}

func (q *ask) String() string {
	name := togetherPath
	if len(q.questions) == 1 {
		name = q.questions[0].path()
	}
	return name + " " + strings.Join(q.headers, ", ")
}

// together is the body of a request for several answers of one moment.
func together(questions []question) []byte {
	b := []byte(`{"queries":[`)
	for i, q := range questions {
		if i > 0 {
			b = append(b, ',')
		}
		if q.query == groupList {
			b = fmt.Appendf(b, `{"name":%q,"params":{"grp":%d}}`, q.query, q.group)
		} else {
			b = fmt.Appendf(b, `{"name":%q,"params":{"id":%d}}`, q.query, q.id)
		}
	}
	return append(b, "]}"...)
}

// read makes a read and judges what it shows.
func (l *load) read(ctx context.Context, client int, url string, q *ask) (*answer, []sight, error) {
	a, err := q.send(ctx, l.client, url)
	if err != nil {
		return a, nil, err
	}
	var shown [][]row
	if a.status == http.StatusNotModified {
		if q.known == nil {
			return a, nil, &staleError{what: q.String() + ": 304 without a condition"}
		}
		shown = [][]row{{{ID: q.questions[0].id, Value: q.known.value}}}
	} else if shown, err = a.results(q.questions); err != nil {
		return a, nil, err
	}
	how := q.String() + ": " + a.cacheStatus()
	l.count(a, q, shown)
	sights, err := l.sights(q, shown)
	if err == nil {
		err = q.promised(a, sights)
	}
	if err != nil {
		return a, nil, &staleError{what: fmt.Sprintf("%s, Age %s: %s\n%s", how, a.header.Get("Age"), err, a.body)}
	}
	return a, sights, l.history.judge(sights, observation{client: client, began: a.began, ended: a.ended, how: how})
}

// count notes how a read was answered; each row of a result counts, and a result without any.
func (l *load) count(a *answer, q *ask, shown [][]row) {
	var n int64
	for _, rows := range shown {
		n += int64(max(1, len(rows)))
	}
	l.counts.reads.Add(n)
	switch {
	case a.stale():
		l.counts.stale.Add(n)
	case a.hit():
		l.counts.hits.Add(n)
	case strings.Contains(a.cacheStatus(), "fwd=bypass"):
		l.counts.bypassed.Add(n)
		if strings.HasSuffix(a.cacheStatus(), "watermark-stale") && q.questions[0].bound() == patientBound && q.maxAge == 0 {
			l.counts.outOfDate.Add(1)
		}
	default:
		l.counts.misses.Add(n)
	}
}

// sights are what the results show of each row that they are about: also of those that are not there.
func (l *load) sights(q *ask, shown [][]row) ([]sight, error) {
	var all []sight
	for i, asked := range q.questions {
		if asked.query != groupList {
			s := sight{id: asked.id, version: unseen, in: anywhere}
			if len(shown[i]) > 0 {
				s.version = shown[i][0].Value
				if shown[i][0].ID != asked.id {
					return nil, fmt.Errorf("it shows row %d for %d", shown[i][0].ID, asked.id)
				}
			}
			all = append(all, s)
			continue
		}
		var last int64
		for _, r := range shown[i] {
			if !slices.Contains(l.members[asked.group], r.ID) || r.ID <= last {
				return nil, fmt.Errorf("group %d has no row %d, or has it twice", asked.group, r.ID)
			}
			last = r.ID
		}
		for _, id := range l.members[asked.group] {
			s := sight{id: id, version: unseen, in: asked.group}
			if j := slices.IndexFunc(shown[i], func(r row) bool { return r.ID == id }); j >= 0 {
				s.version = shown[i][j].Value
			}
			all = append(all, s)
		}
	}
	for i := range all {
		all[i].least = q.least[all[i].id]
	}
	return all, q.oneEpoch(shown)
}

// oneEpoch checks that no transaction which has changed all rows of a group is seen in some of them only. The history knows that too,
// but not of versions that the database has lost.
func (q *ask) oneEpoch(shown [][]row) error {
	if len(q.questions) == 1 && q.questions[0].query != groupList || q.known != nil {
		return nil
	}
	var first *row
	for _, rows := range shown {
		for i := range rows {
			if first == nil {
				first = &rows[i]
			}
			if rows[i].Epoch != first.Epoch {
				return fmt.Errorf("the rows %d and %d are of different transactions", first.ID, rows[i].ID)
			}
		}
	}
	return nil
}

// promised says how far behind what is shown may be: as far as was asked for, as the query's policy allows, and as the answer itself
// says.
func (q *ask) promised(a *answer, sights []sight) error {
	age, err := a.age()
	switch {
	case err != nil:
		return err
	case a.header.Get(positionTitle) == "":
		return fmt.Errorf("no header %s", positionTitle)
	}
	bound := q.questions[0].bound()
	for _, asked := range q.questions {
		bound = min(bound, asked.bound())
	}
	if q.maxAge > 0 {
		bound = min(bound, q.maxAge)
	}
	if a.stale() {
		if q.questions[0].query != tolerant || len(q.questions) > 1 || q.strict || q.maxAge > 0 {
			return fmt.Errorf("nobody has allowed for a stale answer")
		}
		bound += staleIfError
	}
	if age > bound {
		return fmt.Errorf("it is older than %s", bound)
	}
	for i := range sights {
		sights[i].linearizable, sights[i].within = q.strict, min(bound, age+time.Second)
	}
	return nil
}
