package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
)

// site is what there is to ask for. It is read from the api and not known beforehand: a database that somebody has worked with has other
// rows than the seed. The order of each list is that of popularity, which has nothing to do with that of the ids.
type site struct {
	blogs   []blog
	authors []string
	tags    []string
	topics  []string
	quizzes []int64
	users   []int64
}

// blog is a row of the list of blogs.
type blog struct {
	ID     int64    `json:"id"`
	Slug   string   `json:"slug"`
	Title  string   `json:"title"`
	Author string   `json:"author"`
	Tags   []string `json:"tags"`
}

const (
	// pageSize is the most rows that the list of blogs gives.
	pageSize = 50
	// maxBlogs bounds what is asked for: enough that its popular part does not fit into anything by chance.
	maxBlogs = 10_000
	maxUsers = 4096
)

// apiVersion asks the api who it is.
func apiVersion(ctx context.Context, c *client) (string, error) {
	var health struct{ Version string }
	if err := fetch(ctx, c, "/health", &health); err != nil {
		return "", fmt.Errorf("reach the api at %s: %w", c.server.addr, err)
	}
	return health.Version, nil
}

// checkToken writes something that is refused in any case, and looks at why.
func checkToken(ctx context.Context, c *client) error {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/attempts", body: []byte("{}")})
	switch {
	case err != nil:
		return fmt.Errorf("reach the api at %s: %w", c.server.addr, err)
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return fmt.Errorf("the api refuses the admin token (status %d), and the load needs it to write", a.status)
	case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed:
		return errNotExample
	}
	return nil
}

var errNotExample = fmt.Errorf("the api does not serve the example application: %q is for that only (freshet dev)", "freshet load")

// discover reads what there is.
func discover(ctx context.Context, c *client, seed uint64) (*site, error) {
	s := &site{}
	authors, tags := map[string]bool{}, map[string]bool{}
	for _, status := range []string{"published", "draft", "archived"} {
		for offset := 0; offset < maxBlogs; offset += pageSize {
			var page []blog
			if err := fetch(ctx, c, fmt.Sprintf("/blogs?status=%s&limit=%d&offset=%d", status, pageSize, offset), &page); err != nil {
				return nil, fmt.Errorf("read the blogs: %w", err)
			}
			for _, b := range page {
				s.blogs = append(s.blogs, b)
				authors[b.Author] = true
				for _, tag := range b.Tags {
					tags[tag] = true
				}
			}
			if len(page) < pageSize {
				break
			}
		}
	}
	var quizzes []struct {
		ID    int64
		Topic string
	}
	if err := fetch(ctx, c, "/quizzes", &quizzes); err != nil {
		return nil, fmt.Errorf("read the quizzes: %w", err)
	}
	topics := map[string]bool{}
	for _, q := range quizzes {
		s.quizzes = append(s.quizzes, q.ID)
		topics[q.Topic] = true
	}
	var err error
	if s.users, err = findUsers(ctx, c); err != nil {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	s.authors, s.tags, s.topics = sorted(authors), sorted(tags), sorted(topics)
	if len(s.blogs) == 0 || len(s.users) == 0 || len(s.quizzes) == 0 {
		return nil, fmt.Errorf("the example application has no data: %d blogs, %d users, %d quizzes", len(s.blogs), len(s.users), len(s.quizzes))
	}
	s.shuffle(seed)
	return s, nil
}

// findUsers finds the last user by bisection: the seed numbers them from 1 and nothing removes any, but no route lists them.
func findUsers(ctx context.Context, c *client) (users []int64, err error) {
	n := sort.Search(maxUsers, func(i int) bool {
		if err != nil {
			return true
		}
		var a answer
		a, err = c.do(ctx, request{method: http.MethodGet, path: fmt.Sprintf("/users/%d/dashboard", i+1)})
		return a.status == http.StatusNotFound
	})
	for id := range n {
		users = append(users, int64(id+1))
	}
	return users, err
}

// shuffle decides who is popular.
func (s *site) shuffle(seed uint64) {
	r := randomness(seed, 1<<32)
	r.Shuffle(len(s.blogs), func(i, j int) { s.blogs[i], s.blogs[j] = s.blogs[j], s.blogs[i] })
	r.Shuffle(len(s.users), func(i, j int) { s.users[i], s.users[j] = s.users[j], s.users[i] })
	r.Shuffle(len(s.quizzes), func(i, j int) { s.quizzes[i], s.quizzes[j] = s.quizzes[j], s.quizzes[i] })
	for _, names := range [][]string{s.authors, s.tags, s.topics} {
		for i := range names {
			names[i] = url.PathEscape(names[i])
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	}
}

func fetch(ctx context.Context, c *client, path string, into any) error {
	a, err := c.get(ctx, path)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusNotFound:
		return errNotExample
	case !a.ok():
		return fmt.Errorf("GET %s was answered with status %d", path, a.status)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
