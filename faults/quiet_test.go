package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"
)

// values are those of the database.
func (s *site) values() (map[int64]state, error) {
	c, err := s.primary(s.t.Context())
	if err != nil {
		return nil, err
	}
	defer closeConn(c)
	rows, err := c.Query(s.t.Context(), "SELECT id, value, grp FROM registers WHERE grp < $1 UNION ALL SELECT id, value, grp FROM ledger", groupCount)
	if err != nil {
		return nil, err
	}
	all := map[int64]state{}
	var id int64
	var one state
	_, err = pgx.ForEachRow(rows, []any{&id, &one.version, &one.place}, func() error {
		all[id] = one
		return nil
	})
	return all, err
}

// compare checks, while everybody rests, that whatever is cached equals the database. It returns how many answers were cached.
func (s *site) compare() (cached int, err error) {
	for _, url := range s.all {
		a, err := s.do(s.t.Context(), http.MethodGet, url+"/position?timeout=20s", nil)
		if err != nil {
			return 0, fmt.Errorf("the watermark does not come: %w", err)
		}
		if a.status != http.StatusOK {
			return 0, fmt.Errorf("the watermark does not come: status %d: %s", a.status, a.body)
		}
	}
	groups, err := s.groups()
	if err != nil {
		return 0, err
	}
	there := map[int64]row{}
	for _, rows := range groups {
		for _, r := range rows {
			there[r.ID] = r
		}
	}
	for group, ids := range s.members {
		n, err := s.equal(question{query: groupList, group: group}, groups[group])
		if cached += n; err != nil {
			return cached, err
		}
		for _, id := range ids {
			var want []row
			if r, found := there[id]; found {
				want = []row{r}
			}
			for _, query := range []string{plain, slow, tolerant} {
				n, err := s.equal(question{query: query, id: id}, want)
				if cached += n; err != nil {
					return cached, err
				}
			}
		}
	}
	return cached, nil
}

// groups are the rows of each group in the database.
func (s *site) groups() (map[place][]row, error) {
	c, err := s.primary(s.t.Context())
	if err != nil {
		return nil, err
	}
	defer closeConn(c)
	found, err := c.Query(s.t.Context(), "SELECT grp, json_agg(json_build_object('ID', id, 'Value', value, 'Epoch', epoch) ORDER BY id)::text FROM registers GROUP BY grp")
	if err != nil {
		return nil, err
	}
	groups := map[place][]row{}
	var group place
	var text string
	_, err = pgx.ForEachRow(found, []any{&group, &text}, func() error {
		var all []row
		err := json.Unmarshal([]byte(text), &all)
		groups[group] = all
		return err
	})
	return groups, err
}

// equal compares what is cached for a question. It returns how many of the api's processes had it.
func (s *site) equal(asked question, want []row) (cached int, err error) {
	for _, url := range s.all {
		q := &ask{questions: []question{asked}, headers: []string{"Cache-Control: only-if-cached"}}
		a, err := q.send(s.t.Context(), s.client, url)
		if a != nil && a.status == http.StatusGatewayTimeout {
			continue
		}
		if err != nil {
			return cached, err
		}
		got, err := a.results(q.questions)
		switch {
		case err != nil:
			return cached, err
		case !a.hit():
			return cached, errors.New(q.String() + " was answered by Postgres: " + a.cacheStatus())
		case !slices.Equal(got[0], want):
			return cached, &staleError{what: fmt.Sprintf("after quiet %s is cached as %v, and the database has %v", asked.path(), got[0], want)}
		}
		cached++
	}
	return cached, nil
}
